"""The health check against real parts: the local endpoint and its faults, moto, servers that refuse or are silent."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.models.catalog import _warn_of_end
from agentflow.ops.deployment.config import Permissions, read_deployment
from agentflow.ops.deployment.policy import calls_of, policy_documents
from agentflow.ops.health import checkup, machine
from agentflow.ops.health.report import Check, Health
from tests.endpoint import HAIKU, Endpoint
from tests.ops.conftest import Aws
from tests.ops.gateway import gateway, silence

NAMES = [
    "bedrock_connectivity", "model_access", "cloudwatch_logs", "metrics", "credentials", "clock_skew", "region",
    "inference_profiles", "quota_headroom", "store", "disk", "versions", "retired_models",
]  # fmt: skip
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def local(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint, as the settings name it."""
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    return scripted


@pytest.fixture
def aws_and_sts(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
    return aws


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, and an AWS that cannot be reached."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)


async def test_all_that_is_set_up_is_well(local: Endpoint, aws_and_sts: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_and_sts.client("logs").create_log_group(logGroupName="/aws/agentflow/health")
    aws_and_sts.client("logs").put_retention_policy(logGroupName="/aws/agentflow/health", retentionInDays=30)
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/health")
    monkeypatch.setenv("AGENTFLOW_METRICS", "cloudwatch")
    health = await agentflow.health_check()
    assert list(health) == NAMES
    assert {name: check.state for name, check in health.items()} == dict.fromkeys(NAMES, "ok")
    assert all(health.values())
    assert health.ok
    figures = {name: check.figure for name, check in health.items()}
    assert figures["bedrock_connectivity"].startswith("local · scripted answered in ")
    assert figures["model_access"].startswith("local · scripted answered in ")
    assert figures["cloudwatch_logs"] == "/aws/agentflow/health takes records; they are kept for 30 days"
    assert figures["metrics"] == "PutMetricData took a sample in the namespace AgentFlow"
    assert "123456789012" in figures["credentials"]
    assert figures["region"] == "us-east-1 (AWS_REGION, environment)"
    assert figures["quota_headroom"] == "haiku-4-5: 100% of 5,000,000 tokens/min free"
    streams = aws_and_sts.client("logs").describe_log_streams(logGroupName="/aws/agentflow/health")["logStreams"]
    assert streams == []  # nothing was written


async def test_what_is_not_configured_is_false_and_no_failure(local: Endpoint) -> None:
    health = await agentflow.health_check()
    off = {name: check for name, check in health.items() if check.state == "not configured"}
    assert list(off) == ["cloudwatch_logs", "metrics", "credentials"]
    assert not any(off.values())
    assert off["cloudwatch_logs"].fix == "export AGENTFLOW_LOG_GROUP=/aws/agentflow/app"
    assert health.ok
    assert health.failed == ()


async def test_it_is_one_call_of_ten_tokens_and_never_an_answer_that_is_kept(local: Endpoint) -> None:
    local.follow(text="word " * 40)
    await agentflow.health_check()
    await agentflow.health_check()
    stats = local.stats()
    assert (stats["requests"], stats["billed"]["output_tokens"]) == (2, 20)


async def test_a_check_in_a_step_is_no_call_of_the_run_and_is_not_cached(local: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="checked", cache=True))
    workflow.add_step("check", agentflow.health_check)
    results = [await workflow.execute(), await workflow.execute()]
    assert [len(result.rows["check"].attempts) for result in results] == [0, 0]
    assert local.stats()["requests"] == 2


async def test_without_a_call_no_model_is_asked_and_it_says_so(local: Endpoint) -> None:
    health = await agentflow.health_check(call=False)
    assert local.stats()["requests"] == 0
    assert health["model_access"].state == "not checked"
    assert health["model_access"].figure == (
        "the account has haiku-4-5; no model was called, so whether this caller may is not known"
    )
    assert (bool(health["model_access"]), health.ok) == (False, True)
    assert health["bedrock_connectivity"]


class Red(NamedTuple):
    """A fault, the checks that it turns red, and what the first of them says and advises."""

    fault: str
    failed: tuple[str, ...]
    figure: str
    fix: str


@pytest.mark.parametrize(
    "red",
    [
        Red("model_access_denied", ("model_access",), "You have no access to us.anthropic", "(Model access)"),
        Red("iam_profile_denied", ("model_access",), "The IAM policy does not allow", '"bedrock:InvokeModel"'),
        Red("retired_model", ("model_access",), "is being retired", "Move to"),
        Red("throttled_requests", ("model_access",), "throttled the call", "raise the quota in Service Quotas"),
        Red("unavailable", ("model_access",), "Bedrock could not answer", "another region"),
        Red("expired_token", ("model_access", "credentials"), "have expired", "aws sso login"),
        Red("invalid_token", ("model_access", "credentials"), "does not accept the credentials", "aws sts"),
        Red("clock_skew", ("model_access", "clock_skew"), "clock is slow", "NTP"),
    ],
)
async def test_a_refused_call_is_red_with_its_fix_and_hides_nothing(local: Endpoint, red: Red) -> None:
    local.faults({"fault": red.fault})
    health = await agentflow.health_check()
    assert health.failed == red.failed
    first = health[red.failed[0]]
    assert red.figure in first.figure
    assert red.fix in first.fix
    assert local.stats()["requests"] == 1
    assert health["bedrock_connectivity"]
    assert health["inference_profiles"]


async def test_a_clock_that_aws_refuses_is_told_to_the_second(local: Endpoint) -> None:
    local.faults({"fault": "clock_skew"})
    check = (await agentflow.health_check())["clock_skew"]
    assert check.figure == "the clock is 600 s slow, and AWS refuses what it signs"


@pytest.mark.parametrize(
    ("clock", "state", "figure"),
    [(0, "ok", "within 1 s"), (90, "warning", "s slow; AWS refuses 5 min"), (-400, "failed", "s fast; AWS refuses")],
)
async def test_the_clock_is_compared_with_the_time_of_an_answer(
    monkeypatch: pytest.MonkeyPatch, clock: float, state: str, figure: str
) -> None:
    with gateway(clock=clock) as url:
        monkeypatch.setenv("BEDROCK_ENDPOINT_URL", url)
        check = (await agentflow.health_check(call=False))["clock_skew"]
    assert check.state == state
    assert figure in check.figure


async def test_a_region_that_is_down_is_red_where_it_matters(local: Endpoint) -> None:
    local.faults({"fault": "region_down"})
    health = await agentflow.health_check()
    assert health.failed == ("bedrock_connectivity", "model_access")
    assert "cannot be reached: [Errno 104] Connection reset by peer" in health["bedrock_connectivity"].figure
    unchecked = [name for name, check in health.items() if check.state == "not checked"]
    assert unchecked == ["clock_skew", "inference_profiles", "quota_headroom"]


async def test_an_endpoint_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", NOBODY)
    health = await agentflow.health_check()
    assert health.failed == ("bedrock_connectivity", "model_access")
    assert "127.0.0.1:9 cannot be reached" in health["bedrock_connectivity"].figure
    assert "BEDROCK_ENDPOINT_URL" in health["bedrock_connectivity"].fix


async def test_an_endpoint_that_is_silent_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(checkup, "LIMIT_SECONDS", 4.0)
    with silence() as url:
        monkeypatch.setenv("BEDROCK_ENDPOINT_URL", url)
        health = await agentflow.health_check()
    assert "there was no answer within" in health["model_access"].figure
    assert {"bedrock_connectivity", "model_access"} <= {*health.failed}
    assert health["store"]
    assert health["versions"]


async def test_a_model_that_takes_too_long_is_red_and_costs_one_call(
    local: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CALL_SECONDS", 2.0)
    local.faults({"fault": "latency", "delay_ms": 30_000})
    health = await agentflow.health_check()
    assert health.failed == ("model_access",)
    assert health["model_access"].figure == "a call of the fast model: there was no answer within 2 s"
    assert local.stats()["requests"] == 1


async def test_a_local_endpoint_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", "local")
    monkeypatch.setenv("AGENTFLOW_LOCAL_MODEL", "no-such.gguf")
    health = await agentflow.health_check()
    assert health.failed == ("bedrock_connectivity",)
    assert "no-such.gguf" in health["bedrock_connectivity"].figure
    assert health["model_access"].fix == "See bedrock_connectivity."
    assert health["store"]


@pytest.mark.usefixtures("_no_aws")
async def test_without_credentials_the_parts_that_can_work_do() -> None:
    health = await agentflow.health_check()
    assert health.failed == ("bedrock_connectivity", "model_access", "credentials")
    assert health["credentials"] == Check(
        "failed",
        "there are no AWS credentials",
        "Run `aws configure`, set AWS_PROFILE, or work offline with BEDROCK_ENDPOINT_URL=local.",
    )
    assert health["inference_profiles"].fix == "See credentials."
    assert all(health[name] for name in ("region", "store", "disk", "versions", "retired_models"))


async def test_a_missing_permission_of_the_control_plane_is_named_and_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with gateway() as url:
        monkeypatch.setenv("BEDROCK_ENDPOINT_URL", url)
        health = await agentflow.health_check(call=False)
    assert health["bedrock_connectivity"]
    assert health.ok
    for name, action in (
        ("model_access", "bedrock:GetFoundationModelAvailability"),
        ("inference_profiles", "bedrock:ListInferenceProfiles"),
        ("quota_headroom", "servicequotas:GetServiceQuota and servicequotas:GetAWSDefaultServiceQuota"),
    ):
        assert health[name].state == "not checked"
        assert health[name].fix == f"Add {action} to the caller's policy."


@pytest.fixture
def powerless(aws_and_sts: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """A caller whom moto's IAM allows nothing."""
    iam = aws_and_sts.client("iam")
    iam.create_user(UserName="powerless")
    key = iam.create_access_key(UserName="powerless")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    requests.post(f"{aws_and_sts.url}/moto-api/reset-auth", data=b"0", timeout=10)
    yield aws_and_sts
    requests.post(f"{aws_and_sts.url}/moto-api/reset-auth", data=b"inf", timeout=10)


async def test_a_caller_who_may_not_write_logs_or_metrics_is_told_the_action(
    local: Endpoint, powerless: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/denied")
    monkeypatch.setenv("AGENTFLOW_METRICS", "cloudwatch")
    health = await agentflow.health_check()
    assert health.failed == ("cloudwatch_logs", "metrics")
    assert health["cloudwatch_logs"].fix == "Add logs:PutLogEvents to the caller's policy."
    assert health["metrics"].fix == "Add cloudwatch:PutMetricData to the caller's policy."
    assert "user/powerless" in health["credentials"].figure


async def test_a_log_group_that_is_not_there_is_red_with_its_command(
    local: Endpoint, aws_and_sts: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/nowhere")
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")
    health = await agentflow.health_check()
    assert health.failed == ("cloudwatch_logs", "metrics")
    assert health["cloudwatch_logs"] == Check(
        "failed",
        "the log group /aws/agentflow/nowhere does not exist in us-east-1",
        "aws logs create-log-group --log-group-name /aws/agentflow/nowhere --region us-east-1",
    )
    assert health["metrics"].fix == "See cloudwatch_logs."


@pytest.mark.parametrize(
    ("name", "value", "check", "figure"),
    [
        ("AGENTFLOW_LOG_GROUP", "/aws/agentflow/my app", "cloudwatch_logs", "is no name of a log group"),
        ("AGENTFLOW_METRICS", "everywhere", "metrics", "AGENTFLOW_METRICS='everywhere' is unknown"),
        ("AWS_REGION", "us-esat-1", "region", "us-esat-1 (AWS_REGION, environment) is no region that has Bedrock (did"),
        ("AWS_PROFILE", "nobody", "credentials", "There is no such AWS profile"),
    ],
)
@pytest.mark.usefixtures("_no_aws")
async def test_a_wrong_setting_is_red_where_it_belongs(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str, figure: str
) -> None:
    monkeypatch.setenv(name, value)
    health = await agentflow.health_check(call=False)
    assert health[check].state == "failed"
    assert figure in health[check].figure
    assert health["store"]


async def test_a_setting_that_no_client_can_be_made_with_does_not_hide_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEDROCK_MAX_CONNECTIONS", "many")
    health = await agentflow.health_check()
    assert health.failed == ("bedrock_connectivity",)
    assert health["bedrock_connectivity"].figure.startswith("BEDROCK_MAX_CONNECTIONS=many (from environment)")
    assert health["cloudwatch_logs"].fix == "See bedrock_connectivity."
    assert all(health[name] for name in ("store", "disk", "versions"))
    assert list(health) == NAMES


@pytest.mark.parametrize(("minutes", "state"), [(180, "ok"), (5, "warning"), (-5, "failed")])
async def test_the_end_of_credentials_is_told_and_nothing_of_their_keys(
    local: Endpoint, aws_and_sts: Aws, monkeypatch: pytest.MonkeyPatch, minutes: int, state: str
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")  # something needs them
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", f"planted-{name}")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat())
    health = await agentflow.health_check()
    assert health["credentials"].state == state
    assert ("AWS_ACCESS_KEY_ID" in health["credentials"].fix) == (state != "ok")
    assert "planted" not in repr(health)


@pytest.mark.parametrize(("expires", "state"), [(43_200, "ok"), (60, "failed")])
@pytest.mark.usefixtures("_no_aws")
async def test_the_end_of_a_bedrock_key_is_told_and_nothing_of_the_key(
    monkeypatch: pytest.MonkeyPatch, expires: int, state: str
) -> None:
    signed = datetime.now(UTC) - timedelta(hours=1)
    url = f"bedrock.amazonaws.com/?X-Amz-Date={signed:%Y%m%dT%H%M%SZ}&X-Amz-Expires={expires}&X-Amz-Signature=planted"
    key = "bedrock-api-key-" + base64.b64encode(url.encode()).decode()
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    health = await agentflow.health_check(call=False)
    assert health["credentials"].state == state
    assert key[20:] not in repr(health)


@pytest.mark.filterwarnings("ignore:'sonnet-4' reached its end")
async def test_a_retired_model_of_a_recent_run_is_red_and_of_the_configuration(local: Endpoint, tmp_path: Path) -> None:
    _warn_of_end.cache_clear()
    workflow = Workflow("old")
    agent = SimpleAgent(AgentConfig(name="old", model_type="sonnet-4"), BedrockClient(), prompt_template="Hello")
    workflow.add_step("ask", agent)
    result = await workflow.execute()
    health = await agentflow.health_check(call=False)
    assert health.failed == ("retired_models",)
    assert "sonnet-4 reached its end of life on 2026-10-14" in health["retired_models"].figure
    assert result.run_id in health["retired_models"].figure
    assert health["retired_models"].fix == "Use sonnet-5 in the place of sonnet-4."
    assert health["store"].figure.startswith("1 run, ")

    workflow.to_yaml(tmp_path / "old.yaml")
    (tmp_path / "deployment.yaml").write_text("workflows: [old.yaml]\n")
    agentflow.prune_runs(run_ids=[result.run_id])
    health = await agentflow.health_check(call=False, config=tmp_path / "deployment.yaml")
    assert "sonnet-4 reached its end of life on 2026-10-14 (" in health["retired_models"].figure
    assert "deployment.yaml" in health["retired_models"].figure


async def test_a_configuration_that_cannot_be_read_is_said_and_stops_nothing(local: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/deployment_config.yaml").write_text("workflow: [old.yaml]\n")
    health = await agentflow.health_check(call=False)
    assert health["retired_models"].state == "warning"
    assert "There is no setting 'workflow' (did you mean 'workflows'?)" in health["retired_models"].fix
    assert health["inference_profiles"]


async def test_a_profile_that_the_region_does_not_have_is_red(local: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = Workflow("far")
    agent = SimpleAgent(AgentConfig(name="far", model_type=HAIKU), BedrockClient(), prompt_template="Hello")
    workflow.add_step("ask", agent)
    await workflow.execute()
    with sqlite3.connect(Path(".agentflow/agentflow.db")) as store:  # as if it had been of another region
        store.execute("UPDATE answers SET model_id = replace(model_id, 'us.', 'jp.')")
    check = (await agentflow.health_check(call=False))["inference_profiles"]
    assert check.state == "failed"
    assert "us-east-1 has no profile jp.anthropic.claude-haiku-4-5-20251001-v1:0 (run r" in check.figure
    assert check.fix == "Choose another: aws bedrock list-inference-profiles --region us-east-1"


async def test_a_quota_that_is_nearly_used_up_is_a_warning(local: Endpoint) -> None:
    local.follow(replies=[{"text": "ok", "usage": {"input_tokens": 1_895, "output_tokens": 1}}])
    workflow = Workflow("greedy")
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), BedrockClient(), prompt_template="Hello"))
    await workflow.execute()
    local.quotas({"us.anthropic.claude-haiku-*": {"tokens_per_minute": 2_000}})
    check = (await agentflow.health_check(call=False))["quota_headroom"]
    assert (check.state, check.figure) == ("warning", "haiku-4-5: 5% of 2,000 tokens/min free")
    assert check


async def test_a_store_that_cannot_be_used_is_red(local: Endpoint, tmp_path: Path) -> None:
    folder = tmp_path / ".agentflow"
    folder.mkdir()
    (folder / "agentflow.db").write_bytes(b"no database " * 1_000)
    health = await agentflow.health_check(call=False)
    assert health.failed == ("store",)
    assert "is no SQLite database" in health["store"].figure
    assert "AGENTFLOW_HOME" in health["store"].fix


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


async def test_a_check_makes_no_store(local: Endpoint, tmp_path: Path) -> None:
    assert (await agentflow.health_check())["store"].figure == f"no run yet; the first makes {tmp_path / '.agentflow'}"
    assert _entries(tmp_path) == []


@pytest.mark.parametrize(("free", "state"), [(5_000_000, "failed"), (500_000_000, "warning"), (5_000_000_000, "ok")])
def test_a_disk_that_is_nearly_full_is_told(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = shutil._ntuple_diskusage(10_000_000_000, 10_000_000_000 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check = machine.disk()
    assert check.state == state
    assert ("prune_runs" in check.fix) == (state != "ok")


def test_a_package_that_is_too_old_is_red_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: ["boto3>=999", "pytest>=1; extra == 'dev'"])
    check = machine.versions()
    assert check.state == "failed"
    assert check.fix == "pip install --upgrade 'boto3>=999'"


def test_the_deployed_policy_allows_what_a_check_asks() -> None:
    config = read_deployment(Path(__file__).parents[2] / "config/deployment_config.yaml")
    config = config.model_copy(update={"permissions": Permissions(health=True)})
    documents = policy_documents(config, calls_of(config), "123456789012")
    allowed = {action for document in documents for each in document["Statement"] for action in each["Action"]}
    assert allowed >= {
        "bedrock:GetFoundationModelAvailability", "bedrock:InvokeModel", "bedrock:ListInferenceProfiles",
        "cloudwatch:PutMetricData", "logs:DescribeLogGroups", "logs:PutLogEvents", "servicequotas:GetServiceQuota",
        "servicequotas:GetAWSDefaultServiceQuota",
    }  # fmt: skip


async def test_health_is_a_dictionary_and_a_table(local: Endpoint) -> None:
    health = await agentflow.health_check(call=False)
    assert isinstance(health, dict)
    frame = health.to_frame()
    assert list(frame.columns) == ["check", "ok", "state", "figure", "fix"]
    assert list(frame["check"]) == NAMES
    assert frame["ok"].dtype == "boolean"
    assert frame["fix"].isna().any()


def test_what_others_wrote_is_harmless_in_text_and_html() -> None:
    nasty: Any = "<b>\x1b[31m\nred"
    health = Health([("model_access", Check("failed", nasty, nasty))], nasty)
    assert "\x1b" not in repr(health)
    assert "<b>" not in health._repr_html_()
    assert "1 of 1 check failed: model_access." in repr(health)
