"""What `agentflow deploy` prints: CloudFormation that cfn-lint and moto take, and parts as the AWS CLI takes them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.core import get_rules

from agentflow.cli import main
from agentflow.core.definition.yaml_text import load_yaml
from agentflow.ops.deployment.config import DeploymentConfig, Permissions, Thresholds, read_deployment
from agentflow.ops.deployment.policy import calls_of, policy_documents
from agentflow.ops.query_texts import QUERIES
from tests.ops.moto_server import ACCOUNT, REGION, Client, aws

__all__ = ["aws"]  # a fixture

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config/deployment_config.yaml"
TOPIC = "arn:aws:sns:us-east-1:123456789012:agentflow-alerts"  # as the runbook has it
MODELS = {"us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-sonnet-5"}  # of the shipped workflows


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, config: Path = SHIPPED) -> str:
    assert main(["deploy", *arguments, "--config", str(config)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, config: Path = SHIPPED) -> str:
    assert main(["deploy", *arguments, "--config", str(config)]) == 1
    return capsys.readouterr().err


def edited(folder: Path, **settings: Any) -> Path:
    """Write the shipped configuration with other settings."""
    data = load_yaml(SHIPPED.read_text()) | settings
    data["workflows"] = [str(SHIPPED.parent / name) for name in data["workflows"]]
    path = folder / "deployment.yaml"
    path.write_text(json.dumps(data))  # which is YAML too
    return path


def resources(capsys: pytest.CaptureFixture[str], config: Path, kind: str) -> list[dict[str, Any]]:
    template = load_yaml(printed(capsys, "template", config=config))
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == kind]


def errors_and_warnings(template: str) -> list[str]:
    return [f"{match.rule.id}: {match.message}" for match in lint(template, _rules()) if match.rule.id[0] in "EW"]


@cache
def _rules() -> Any:
    return get_rules([], [], [])  # all of them


EVERYTHING = {
    "permissions": dict.fromkeys(("count_tokens", "health", "diagnosis", "api_key"), True),
    "alarms": {"cost_usd_per_hour": 5},
    "log_groups": {"production": 400, "staging": 7},
    "alert_emails": ["oncall@example.com", "lead@example.com"],
    "models": ["opus", "global.haiku", "nova-lite", "fable", "opus-4-8", "sonnet-5-5", "haiku-5-5"],
}


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_cfn_lint_finds_nothing(settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "template", config=edited(tmp_path, **settings))
    assert errors_and_warnings(text) == []
    assert len(text) < 51_200  # what CloudFormation takes without a bucket


def test_cfn_lint_would_find_something(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "template").replace("RetentionInDays: 30", "RetentionInDays: 31")
    [found] = errors_and_warnings(text)
    assert "31 is not one of" in found


@pytest.mark.filterwarnings("ignore:Tried to parse AWS")  # alarms and queries, which moto makes none of
def test_a_stack_has_all_that_moto_can_make(aws: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = edited(tmp_path, **EVERYTHING)
    text = printed(capsys, "template", config=config)
    cloudformation = aws("cloudformation")
    cloudformation.create_stack(StackName="agentflow", TemplateBody=text, Capabilities=["CAPABILITY_IAM"])
    [stack] = cloudformation.describe_stacks(StackName="agentflow")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    groups = aws("logs").describe_log_groups(logGroupNamePrefix="/aws/agentflow/")["logGroups"]
    assert {group["logGroupName"]: group["retentionInDays"] for group in groups} == {
        "/aws/agentflow/production": 400,
        "/aws/agentflow/staging": 7,
    }
    assert outputs["TopicArn"] == TOPIC
    subscriptions = aws("sns").list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]
    assert {entry["Endpoint"] for entry in subscriptions} == {"oncall@example.com", "lead@example.com"}

    body = json.loads(aws("cloudwatch").get_dashboard(DashboardName="AgentFlow")["DashboardBody"])
    assert body == json.loads(printed(capsys, "dashboard", config=config))
    statements = []
    for name in ("PolicyArn", "Policy2Arn"):  # so many models do not fit into one
        policy = aws("iam").get_policy(PolicyArn=outputs[name])["Policy"]
        version = aws("iam").get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
        statements += version["PolicyVersion"]["Document"]["Statement"]
    deployment = read_deployment(config)
    documents = policy_documents(deployment, calls_of(deployment), ACCOUNT)
    assert statements == [statement for document in documents for statement in document["Statement"]]
    assert "2 policies" in refused(capsys, "policy", config=config)


def test_cloudwatch_takes_each_alarm_of_the_template(
    aws: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moto's CloudFormation makes no alarms: they are put by the API, which has the same names."""
    config = edited(tmp_path, **EVERYTHING)
    asked = json.loads(printed(capsys, "alarms", config=config))
    assert [part | {"AlarmActions": [TOPIC]} for part in resources(capsys, config, "AWS::CloudWatch::Alarm")] == asked
    cloudwatch = aws("cloudwatch")
    for alarm in asked:
        cloudwatch.put_metric_alarm(**alarm)
    there = {alarm["AlarmName"]: alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert len(there) == 13
    for alarm in asked:
        found = there[alarm["AlarmName"]]
        expressions = [metric.get("Expression") for metric in found.get("Metrics", ())]
        assert expressions == [metric.get("Expression") for metric in alarm.pop("Metrics", ())]
        assert {setting: found[setting] for setting in alarm} == alarm


def test_the_saved_queries_are_the_runbooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Moto has no saved queries at all; cfn-lint has read their properties."""
    queries = resources(capsys, edited(tmp_path, **EVERYTHING), "AWS::Logs::QueryDefinition")
    assert {query["Name"]: query["QueryString"] for query in queries} == {
        f"AgentFlow/{name}": text for name, text in QUERIES.items()
    }
    groups = ["/aws/agentflow/production", "/aws/agentflow/staging"]
    assert all(query["LogGroupNames"] == groups for query in queries)
    assert (
        QUERIES["Failed Workflows"].splitlines()[1] == '| filter level = "ERROR" and @message like /workflow.*failed/'
    )


def test_the_parts_are_what_the_runbooks_commands_take(aws: Client, capsys: pytest.CaptureFixture[str]) -> None:
    cloudwatch = aws("cloudwatch")
    cloudwatch.put_dashboard(DashboardName="by-hand", DashboardBody=printed(capsys, "dashboard"))
    one = json.loads(printed(capsys, "alarms", "--name", "agentflow-high-latency"))
    assert one in json.loads(printed(capsys, "alarms"))
    cloudwatch.put_metric_alarm(**one | {"AlarmName": "by-hand"})
    [alarm] = cloudwatch.describe_alarms(AlarmNames=["by-hand"])["MetricAlarms"]
    # As the runbook's command has it.
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == (
        *("WorkflowDuration", "Average", 300, 2),
    )
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (30_000, "GreaterThanThreshold")
    assert alarm["AlarmActions"] == [TOPIC]
    aws("iam").create_policy(PolicyName="by-hand", PolicyDocument=printed(capsys, "policy"))


def test_the_dashboard_has_the_runbooks_graphs_under_the_real_names(capsys: pytest.CaptureFixture[str]) -> None:
    widgets = json.loads(printed(capsys, "dashboard"))["widgets"]
    by_title = {widget["properties"]["title"]: widget["properties"] for widget in widgets}
    assert [metric[:2] for metric in by_title["Workflow Success/Failure"]["metrics"]] == [
        ["AgentFlow", "WorkflowSuccess"],
        ["AgentFlow", "WorkflowFailure"],
    ]
    bedrock = by_title["Bedrock Metrics"]["metrics"]
    assert {(metric[1], metric[2], metric[3]) for metric in bedrock} == {
        (name, "ModelId", model) for name in ("Invocations", "InvocationLatency") for model in MODELS
    }
    tokens = {(metric[1], metric[3]) for metric in by_title["Tokens by Model"]["metrics"]}
    assert tokens >= {(name, model) for name in ("InputTokenCount", "OutputTokenCount") for model in MODELS}
    assert {"Cost (USD an hour)", "Throttles by Model", "Slow Steps", "Alarms"} <= by_title.keys()
    assert by_title["Slow Steps"]["query"].startswith("SOURCE '/aws/agentflow/production' | ")
    assert "ModelInvocationLatency" not in json.dumps(widgets)
    assert all(properties["region"] == REGION for properties in by_title.values() if "alarms" not in properties)
    assert len(by_title["Alarms"]["alarms"]) == len(json.loads(printed(capsys, "alarms")))


def test_no_widget_lies_over_another(capsys: pytest.CaptureFixture[str]) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in json.loads(printed(capsys, "dashboard"))["widgets"]:
        xs, ys = range(widget["x"], widget["x"] + widget["width"]), range(widget["y"], widget["y"] + widget["height"])
        cells = {(x, y) for x in xs for y in ys}
        assert not cells & taken
        assert max(xs) < 24
        taken |= cells


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"acount": "1"}, "There is no setting 'acount' (did you mean 'account'?)"),
        ({"alarms": {"minimum_cuont": 1}}, "'alarms.minimum_cuont' (did you mean 'minimum_count'?)"),
        ({"permissions": {"stream": True}}, "'permissions.stream' (did you mean 'streaming'?)"),
        ({"log_groups": {"production": 31}}, "log_groups.production=31: input should be 1, 3, 5, 7"),
        ({"alarms": {"workflow_failure_percent": 0}}, "alarms.workflow_failure_percent=0: input should be greater"),
        ({"region": "the moon"}, "region='the moon'"),
        ({"models": ["hiaku"]}, "'hiaku' is no model of the catalog (did you mean 'haiku'?)"),
    ],
)
def test_a_wrong_setting_is_named(
    settings: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, "template", config=edited(tmp_path, **settings))


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent.yaml" in refused(capsys, "template", config=tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").write_text("region: us-east-1")
    assert "'workflows' is missing" in refused(capsys, "template", config=tmp_path / "empty.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    assert "list.yaml cannot be used" in refused(capsys, "template", config=tmp_path / "list.yaml")
    (tmp_path / "gone.yaml").write_text("workflows: [nowhere.yaml]")
    assert "nowhere.yaml" in refused(capsys, "policy", config=tmp_path / "gone.yaml")
    assert "(did you mean 'agentflow-high-latency'?)" in refused(capsys, "alarms", "--name", "agentflow-hihg-latency")


def test_the_account_is_needed_by_the_parts_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = edited(tmp_path, account=None)
    assert "account" in refused(capsys, "alarms", config=config)
    assert ACCOUNT not in printed(capsys, "template", config=config)


def test_the_shipped_configuration_says_what_the_defaults_are() -> None:
    shipped = read_deployment(SHIPPED)
    given = load_yaml(SHIPPED.read_text())
    assert (shipped.alarms, shipped.permissions) == (Thresholds(), Permissions())
    assert given["alarms"].keys() == Thresholds.model_fields.keys()
    assert given["permissions"].keys() == Permissions.model_fields.keys()
    assert given.keys() == DeploymentConfig.model_fields.keys()
