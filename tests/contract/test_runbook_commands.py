"""The operation runbook's command lines, as it writes them: AWS's own CLI, with moto and the local endpoint as AWS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentflow.ops.deployment.config import read_deployment
from agentflow.ops.metrics import METRICS
from tests.contract.runbook import RUNBOOK, block
from tests.endpoint import HAIKU, Endpoint
from tests.ops.moto_server import Client, aws

__all__ = ["aws"]  # a fixture
pytestmark = pytest.mark.foreign  # each line takes the AWS CLI some seconds: `make test-foreign`, `make soak`

ROOT = Path(__file__).parents[2]
ROLE = {"RoleName": "YourRole"}

Shell = Callable[..., str]


@pytest.fixture
def environment(aws: Client, scripted: Endpoint) -> dict[str, str]:
    """What makes moto and the local endpoint AWS for the CLI."""
    bedrock = ("BEDROCK", "BEDROCK_RUNTIME", "SERVICE_QUOTAS")
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": str(aws("sts").meta.endpoint_url),
        **{f"AWS_ENDPOINT_URL_{service}": scripted.url for service in bedrock},
        "AWS_PAGER": "",
    }


@pytest.fixture
def shell(environment: dict[str, str]) -> Shell:
    """Give what runs lines by bash, all of which have to work, and returns what they print."""

    def run(lines: str, given: str | None = None) -> str:
        command = ["bash", "-euo", "pipefail", "-c", lines]
        done = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def line(begin: str, within: str) -> str:
    """Return the one command of a block that begins so, over its continued lines."""
    [found] = re.findall(rf"^{re.escape(begin)}(?:.*\\\n)*.*$", block(within), re.MULTILINE)
    return str(found)


def test_the_credentials_are_configured(environment: dict[str, str], shell: Shell) -> None:
    shell("aws configure", "AKIDEXAMPLE\nsecret\neu-west-1\njson\n")
    assert "AKIDEXAMPLE" in Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).read_text()
    assert "region = eu-west-1" in Path(environment["AWS_CONFIG_FILE"]).read_text()


def test_bedrock_lists_its_models(shell: Shell) -> None:
    listed = shell(line("aws bedrock list-foundation-models", "| grep claude"))
    assert HAIKU.removeprefix("us.") in listed


def test_a_model_is_asked(shell: Shell, aws: Client, scripted: Endpoint, tmp_path: Path) -> None:
    """InvokeModel is of `bedrock-runtime`, and the runbook's model does not exist."""
    assert "InvokeModel" not in aws("bedrock").meta.service_model.operation_names
    scripted.follow(text="Hello yourself.")
    written = line("aws bedrock invoke-model", "aws configure")
    right = {"aws bedrock ": "aws bedrock-runtime ", "anthropic.claude-haiku-4-5-20250514": HAIKU}
    for wrong, replacement in right.items():
        assert wrong in written
        written = written.replace(wrong, replacement)
    shell(written)
    answer = json.loads((tmp_path / "output.json").read_text())
    assert answer["content"] == [{"type": "text", "text": "Hello yourself."}]


def test_the_policy_is_put_and_read(aws: Client, shell: Shell) -> None:
    policy = block('"Sid": "BedrockAccess"')
    aws("iam").create_policy(PolicyName="agentflow", PolicyDocument=policy)
    aws("iam").create_role(**ROLE, AssumeRolePolicyDocument="{}")
    aws("iam").put_role_policy(**ROLE, PolicyName="YourPolicy", PolicyDocument=policy)
    printed = json.loads(shell(line("aws iam get-role-policy", "aws iam")))
    assert printed["PolicyDocument"] == json.loads(policy)


def test_the_dashboard_is_taken(aws: Client) -> None:
    body = block('"widgets"')
    aws("cloudwatch").put_dashboard(DashboardName="runbook", DashboardBody=body)
    assert re.findall(r'\["AgentFlow", "(\w+)"', body) == ["WorkflowSuccess"]
    assert METRICS.keys() >= {"WorkflowSuccess", "WorkflowFailure"}
    assert '[".", "WorkflowFailure"' in body


def test_the_alarms_are_put(aws: Client, shell: Shell) -> None:
    expected = {
        "agentflow-high-error-rate": ("WorkflowFailureRate", 5.0),
        "agentflow-high-latency": ("WorkflowDuration", 30_000.0),
    }
    for name in expected:
        shell(block(f"--alarm-name {name}"))
    alarms = aws("cloudwatch").describe_alarms(AlarmNames=list(expected))["MetricAlarms"]
    assert {alarm["AlarmName"]: (alarm["MetricName"], alarm["Threshold"]) for alarm in alarms} == expected
    for alarm in alarms:
        assert (alarm["Namespace"], alarm["Statistic"], alarm["Dimensions"]) == ("AgentFlow", "Average", [])
        assert alarm["MetricName"] in METRICS


def test_the_metrics_are_exported(aws: Client, shell: Shell) -> None:
    at = datetime(2024, 1, 1, 12, 30, tzinfo=UTC)
    data = [{"MetricName": "WorkflowSuccess", "Timestamp": at, "Value": 1.0, "Unit": "Count"}] * 3
    aws("cloudwatch").put_metric_data(Namespace="AgentFlow", MetricData=data)
    [point] = json.loads(shell(line("aws cloudwatch get-metric-statistics", "Export metrics")))["Datapoints"]
    assert point["Sum"] == 3
    assert "WorkflowSuccess" in METRICS


def test_who_one_is_and_what_one_may_ask(shell: Shell) -> None:
    assert json.loads(shell(line("aws sts get-caller-identity", "aws sts")))["Account"] == "123456789012"
    quotas = json.loads(shell(line("aws service-quotas list-service-quotas", "aws sts")))["Quotas"]
    assert any("tokens per minute" in quota["QuotaName"] for quota in quotas)


def test_the_logs_are_tailed(aws: Client) -> None:
    """`logs tail` is of version 2 of the CLI alone, which is no Python package: this is the call that it repeats."""
    tool, service, command, group, follow = line("aws logs tail", "aws sts").split()
    assert (tool, service, command, follow) == ("aws", "logs", "tail", "--follow")
    logs = aws("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="app")
    now = int(time.time() * 1000)
    event = {"timestamp": now, "message": '{"level": "ERROR"}'}
    logs.put_log_events(logGroupName=group, logStreamName="app", logEvents=[event])
    [told] = logs.filter_log_events(logGroupName=group, startTime=now - 600_000)["events"]
    assert told["message"] == event["message"]
    assert group in read_deployment(ROOT / "config/deployment_config.yaml").log_group_names


def test_the_configuration_is_saved(aws: Client, shell: Shell, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    aws("s3").create_bucket(Bucket="your-backup-bucket")
    shell(block("tar -czf"))
    [saved] = aws("s3").list_objects_v2(Bucket="your-backup-bucket")["Contents"]
    assert re.fullmatch(r"agentflow-config-\d{8}\.tar\.gz", saved["Key"])
    aws("s3").download_file("your-backup-bucket", saved["Key"], str(tmp_path / "again.tar.gz"))
    with tarfile.open(tmp_path / "again.tar.gz") as archive:
        archive.extractall(tmp_path / "again", filter="data")
    for file in (ROOT / "config").iterdir():
        assert (tmp_path / "again/config" / file.name).read_bytes() == file.read_bytes()


def test_no_command_of_aws_is_left_out() -> None:
    commands = set(re.findall(r"^aws (\S+(?: (?!s3:)[a-z][a-z-]+)?)", RUNBOOK, re.MULTILINE))
    assert commands == {
        "bedrock list-foundation-models",
        "bedrock invoke-model",
        "cloudwatch get-metric-statistics",
        "cloudwatch put-metric-alarm",
        "configure",
        "iam get-role-policy",
        "logs tail",
        "s3 cp",
        "service-quotas list-service-quotas",
        "sts get-caller-identity",
    }
