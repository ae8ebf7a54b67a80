"""How alarms stand, the runbook's key metrics, and a verdict on each cause, from records and from CloudWatch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import agentflow
from agentflow.core.errors import AgentFlowError
from agentflow.ops.alarm_states import alarm_states, crossings
from agentflow.ops.deployment.config import Thresholds
from agentflow.ops.diagnosis.finding import CAUSES
from agentflow.ops.diagnosis.next_steps import next_steps
from agentflow.ops.diagnosis.seen import Seen, seen_of
from agentflow.ops.diagnosis.verdicts import ISSUES, OTHERS, cause_verdicts
from agentflow.ops.drills import rehearse
from agentflow.ops.incident.incident import open_incident
from agentflow.ops.key_metrics import dashboard, key_metrics
from agentflow.ops.records import Records, as_frame
from tests.endpoint import Endpoint
from tests.ops.conftest import Aws
from tests.ops.lines import Line, run_lines, runs, written

NOW = datetime(2026, 11, 25, 12, 4, tzinfo=UTC)


def seen_at(*groups: tuple[int, int, float]) -> Seen:
    """Return records of runs at `NOW`: how many went well and failed, so many minutes before."""
    lines: list[Line] = []
    for group, (ok, failed, minutes) in enumerate(groups):
        for number in range(ok + failed):
            status = "ok" if number < ok else "failed"
            bad = {} if number < ok else {"error": "ValueError", "error_type": "ValueError"}
            begin = NOW - timedelta(minutes=minutes)
            lines += run_lines(f"r-{group}-{number}", begin, status=status, **bad)
    read = Records(as_frame(lines), "lines")
    return seen_of(read, NOW - timedelta(hours=1), None, NOW, Thresholds())


@pytest.mark.parametrize(
    ("groups", "word", "said"),
    [
        ([(5, 5, 7.0), (5, 5, 2.0)], "poor", "over in 2 of the last 2 periods"),
        ([(10, 0, 7.0), (5, 5, 2.0)], "warning", "50% (workflows fail); over in 1"),
        ([(5, 5, 30.0), (10, 0, 2.0)], "ok", "0% (workflows fail)"),
        ([(1, 3, 2.0)], "not checked", "nothing to measure"),  # fewer than five say nothing
    ],
)
def test_an_alarm_is_on_where_each_of_the_last_periods_is_over(
    groups: list[tuple[int, int, float]], word: str, said: str
) -> None:
    states = {verdict.check: verdict for verdict in alarm_states(seen_at(*groups))}
    alarm = states["agentflow-high-error-rate"]
    assert alarm.verdict == word
    assert said in alarm.figure
    assert alarm.limits == "> 5%"
    assert alarm.fix == ("" if word in ("ok", "not checked") else
                         "agentflow diagnose --since 30m --alarm agentflow-high-error-rate")  # fmt: skip
    assert states["agentflow-nothing-ran"].verdict == "ok"
    assert "agentflow-cost" not in states  # the runbook has no figure for it


def test_the_first_period_over_a_threshold_is_found() -> None:
    crossed = crossings(seen_at((10, 0, 40.0), (5, 5, 20.0), (0, 10, 10.0)))
    assert crossed["agentflow-high-error-rate"] == datetime(2026, 11, 25, 11, 40, tzinfo=UTC)
    assert "agentflow-high-latency" not in crossed
    assert crossings(seen_at((0, 4, 10.0))) == {}


def test_cloudwatch_says_how_its_alarms_stand(aws: Aws, tmp_path: Path) -> None:
    cloudwatch = aws.client("cloudwatch")
    with_all = {"MetricName": "a", "Namespace": "AgentFlow", "Statistic": "Sum", "Period": 60, "Threshold": 1.0}
    for name in ("agentflow-high-latency", "agentflow-high-error-rate", "others"):
        cloudwatch.put_metric_alarm(
            AlarmName=name, EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold", **with_all
        )
    cloudwatch.set_alarm_state(AlarmName="agentflow-high-error-rate", StateValue="ALARM", StateReason="50% > 5%")
    cloudwatch.set_alarm_state(AlarmName="agentflow-high-latency", StateValue="OK", StateReason="fine")
    states = {verdict.check: verdict for verdict in alarm_states(seen_at(), "cloudwatch")}
    assert {name: verdict.verdict for name, verdict in states.items()} == {
        "agentflow-high-error-rate": "poor",
        "agentflow-high-latency": "ok",
    }
    assert "ALARM since " in states["agentflow-high-error-rate"].figure
    assert "(50% > 5%)" in states["agentflow-high-error-rate"].figure
    assert states["agentflow-high-error-rate"].fix.endswith("--alarm agentflow-high-error-rate")
    cloudwatch.delete_alarms(AlarmNames=["agentflow-high-latency", "agentflow-high-error-rate", "others"])
    [none] = alarm_states(seen_at(), "cloudwatch")
    assert (none.verdict, none.figure) == ("poor", "there are none")


def test_no_credentials_are_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AgentFlowError, match="CloudWatch cannot be asked: Unable to locate credentials"):
        alarm_states(seen_at(), "cloudwatch")


def test_the_key_metrics_are_the_runbooks_with_figure_and_threshold(scripted: Endpoint) -> None:
    rehearse("throttling", scripted)
    seen = agentflow.diagnose().seen
    assert seen is not None
    metrics = {verdict.check: verdict for verdict in key_metrics(seen)}
    assert len(metrics) == 11  # the rows of the runbook's three tables
    assert metrics["Workflow · Success Rate"].figure == "100% (workflows succeed)"
    assert metrics["Workflow · Success Rate"].limits == "alert < 95%"
    throttled = metrics["Bedrock · Throttling Rate"]
    assert (throttled.verdict, throttled.limits) == ("poor", "alert > 1%")
    assert throttled.fix == "agentflow diagnose --alarm agentflow-throttling-rate"
    assert metrics["Bedrock · Token Usage"].limits == "monitor for cost"
    titles = [axes.get_title(loc="left") for axes in dashboard(seen).axes]
    assert titles[0] == "Workflow Success/Failure"
    assert len(titles) == 8


def test_no_records_are_not_checked_and_no_error() -> None:
    seen = seen_at()
    assert {verdict.verdict for verdict in key_metrics(seen)} == {"not checked", "ok"}  # "ok": nothing is active
    assert len(dashboard(seen).axes) == 8


def test_each_cause_has_a_verdict_with_its_evidence(scripted: Endpoint) -> None:
    rehearse("access_denied", scripted)
    found = agentflow.diagnose()
    issues, others = cause_verdicts(found, ISSUES), cause_verdicts(found, OTHERS)
    assert [verdict.check.partition(": ")[0] for verdict in issues] == [f"Issue {number}" for number in range(1, 6)]
    assert [verdict.verdict for verdict in issues] == ["found", *["not found"] * 4]
    assert "AccessDeniedException" in issues[0].figure
    assert "0 of 3 requests throttled" in issues[1].figure
    assert {verdict.verdict for verdict in others} == {"not found"}
    assert len(issues) + len(others) == len(CAUSES)
    steps = next_steps(found)
    assert f"agentflow open {found.findings[0].affected_runs[-1]}" in steps
    assert max(map(len, steps.splitlines())) < 200


def test_without_records_no_cause_is_checked() -> None:
    found = agentflow.diagnose()
    assert {verdict.verdict for verdict in cause_verdicts(found)} == {"not checked"}
    assert "Nothing was found" in next_steps(found)


def test_what_to_do_next_runs_nothing_of_others(tmp_path: Path) -> None:
    failure = {"error": "AccessDeniedException: a\nrm -rf /", "error_type": "AccessDeniedError", "fix": "b\nrm -rf /"}
    path = written(tmp_path / "a b.jsonl", run_lines("r-1; rm -rf /", datetime.now(UTC), status="failed", **failure))
    steps = next_steps(agentflow.diagnose(source=path), str(path)).splitlines()
    assert f"agentflow diagnose --run 'r-1; rm -rf /' --source '{path}'" in steps
    assert not [line for line in steps if line.startswith("rm")]


def test_the_history_of_alarms_may_be_refused(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path))
    found = agentflow.diagnose(since="1h", source=written(tmp_path / "log.jsonl", runs(3, 3)))
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    from agentflow.ops.incident.incident import Incident

    told = [event.what for event in Incident(found, with_alarms_of_cloudwatch=True).timeline()]
    assert "CloudWatch did not tell the history of its alarms: EndpointConnectionError" in told
    assert open_incident(since="1h", source=tmp_path / "log.jsonl").id == Incident(found).id
