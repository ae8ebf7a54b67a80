"""The regular tasks of the runbook as verdicts: against moto, and with no AWS at all."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentflow.ops import upkeep
from tests.ops.moto_server import Client, aws
from tests.ops.test_usage import NOW, frame, run

__all__ = ["aws"]  # a fixture

CONFIG = Path(__file__).parents[2] / "config/deployment_config.yaml"


@pytest.fixture
def account(aws: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Moto as the AWS that AgentFlow finds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(aws("sts").meta.endpoint_url))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return aws


def test_without_credentials_nothing_is_claimed() -> None:
    for verdict in (upkeep.alarms(), upkeep.key_age()):
        assert (verdict.verdict, verdict.figure) == ("not checked", "no AWS credentials here")


def test_an_aws_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    found = upkeep.alarms()
    assert found.verdict == "not checked"
    assert "cannot be asked" in found.figure


def test_an_alarm_that_is_on_is_named_with_its_diagnosis(account: Client) -> None:
    assert upkeep.alarms().figure == "there are none"
    cloudwatch = account("cloudwatch")
    for name in ("agentflow-high-latency", "agentflow-high-error-rate", "others"):
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="AgentFlow", MetricName="WorkflowDuration", Statistic="Average", Period=300,
            EvaluationPeriods=2, Threshold=1, ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
    found = upkeep.alarms()
    assert (found.verdict, found.figure) == ("ok", "2 alarms, none on")
    for name in ("agentflow-high-latency", "others"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="tested")
    found = upkeep.alarms()
    assert (found.verdict, found.figure) == ("poor", "2 alarms, agentflow-high-latency on")
    assert found.fix == "agentflow diagnose --since 30m --alarm agentflow-high-latency"


class Answers:
    """A client that gives one answer."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self._answers[name]


@pytest.mark.parametrize(("days", "verdict"), [(1, "ok"), (90, "ok"), (91, "poor")])
def test_an_old_key_is_to_be_changed(days: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto's caller has no keys of an age."""
    keys = [{"CreateDate": NOW - timedelta(days=days, minutes=1)}, {"CreateDate": NOW}]
    clients = {
        "sts": Answers(get_caller_identity={"Arn": "arn:aws:iam::123456789012:user/ada"}),
        "iam": Answers(list_access_keys={"AccessKeyMetadata": keys}),
    }
    monkeypatch.setattr(upkeep, "aws_client", clients.__getitem__)
    found = upkeep.key_age()
    assert (found.verdict, bool(found.fix)) == (verdict, verdict == "poor")
    assert found.figure == f"{days} day{'s' if days > 1 else ''} (2 keys)"


def test_temporary_credentials_have_no_age(monkeypatch: pytest.MonkeyPatch) -> None:
    role = Answers(get_caller_identity={"Arn": "arn:aws:sts::123456789012:assumed-role/runner/session"})
    monkeypatch.setattr(upkeep, "aws_client", lambda _: role)
    assert upkeep.key_age().verdict == "ok"


def test_fewer_successes_than_the_alarm_asks_for_are_poor() -> None:
    assert upkeep.success(frame()).verdict == "not checked"
    assert upkeep.success(frame(*[run(1)] * 19, run(1, status="failed"))).verdict == "ok"  # 95%
    found = upkeep.success(frame(*[run(1)] * 18, *[run(1, status="failed")] * 2, run(1, status="interrupted")))
    assert (found.verdict, found.figure) == ("poor", "90.0% of 20 runs that have ended")


def test_what_pip_says_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert upkeep.outdated(0).figure == "not asked"

    def pip(program: str) -> None:
        """Put a program in the place of Python, which runs pip."""
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    pip("""echo '[{"name": "boto3", "version": "1.44.5", "latest_version": "1.44.8"}]'""")
    assert (upkeep.outdated(10).verdict, upkeep.outdated(10).figure) == (
        "acceptable",
        "1 package: boto3 1.44.5 → 1.44.8",
    )
    pip("echo '[]'")
    assert upkeep.outdated(10).verdict == "ok"
    pip("exit 1")
    assert upkeep.outdated(10).figure == "pip cannot tell"
    pip("exec sleep 30")
    assert upkeep.outdated(0.1).figure == "no answer of the package index in 0.1 s"


def test_runs_that_nobody_needs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = frame(run(1), run(89), run(91))
    found = upkeep.retention(runs, 90)
    assert (found.verdict, found.figure) == ("acceptable", "1 run to prune; runs are kept for ever")
    monkeypatch.setenv("AGENTFLOW_RETENTION_DAYS", "30")
    assert upkeep.retention(frame(run(1)), 90).figure == "0 runs to prune; runs are kept for 30 days"


def test_a_peak_near_the_connections_is_said() -> None:
    assert upkeep.capacity(8, 10).verdict == "ok"
    assert upkeep.capacity(9, 10).verdict == "acceptable"


def test_a_restore_is_tried(tmp_path: Path) -> None:
    assert upkeep.restore_test(CONFIG).verdict == "ok"
    assert upkeep.restore_test(tmp_path / "nowhere/deployment_config.yaml").verdict == "poor"
