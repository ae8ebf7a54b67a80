"""The alarms: the runbook's thresholds, and what they say of no runs, of one, and of a thousand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentflow.ops.deployment.alarms import alarms
from agentflow.ops.deployment.config import DeploymentConfig, Thresholds
from agentflow.ops.deployment.dashboard import dashboard
from agentflow.ops.deployment.policy import Calls
from tests.ops.metric_math import evaluate, goes_off

Period = Mapping[str, Sequence[float]]  # samples by the names of metrics

CONFIG = DeploymentConfig(workflows=(Path("any.yaml"),))

# Names of metrics, comparison and threshold, as the runbook's three tables and its two alarms have them.
RUNBOOK: dict[str, tuple[set[str], str, float]] = {
    "agentflow-low-success-rate": ({"WorkflowSuccess", "WorkflowFailure"}, "<", 95),
    "agentflow-high-error-rate": ({"WorkflowSuccess", "WorkflowFailure"}, ">", 5),
    "agentflow-workflow-duration": ({"WorkflowDuration"}, ">", 300_000),
    "agentflow-high-latency": ({"WorkflowDuration"}, ">", 30_000),
    "agentflow-active-workflows": ({"ActiveWorkflows"}, ">", 100),
    "agentflow-agent-execution-time": ({"AgentExecutionTime"}, ">", 30_000),
    "agentflow-agent-retry-rate": ({"AgentRetryRate"}, ">", 10),
    "agentflow-agent-error-rate": ({"AgentErrorRate"}, ">", 5),
    "agentflow-bedrock-latency": ({"BedrockLatency"}, ">", 10_000),
    "agentflow-throttling-rate": ({"ThrottlingRate"}, ">", 1),
    "agentflow-model-error-rate": ({"ModelErrorRate"}, ">", 2),
    "agentflow-nothing-ran": ({"WorkflowSuccess", "WorkflowFailure"}, "<", 1),
}


def made(**limits: Any) -> dict[str, dict[str, Any]]:
    config = CONFIG.model_copy(update={"alarms": Thresholds(**limits)})
    return {alarm["AlarmName"]: alarm for alarm in alarms(config, "TOPIC")}


def going_off(period: Period, **limits: Any) -> set[str]:
    return {name.removeprefix("agentflow-") for name, alarm in made(**limits).items() if goes_off(alarm, period)}


def test_each_threshold_of_the_runbook_has_its_alarm() -> None:
    found = {}
    for name, alarm in made().items():
        sums = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", [])[:-1]] or [alarm]
        assert all(metric["Namespace"] == "AgentFlow" and "Dimensions" not in metric for metric in sums)
        sign = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}[alarm["ComparisonOperator"]]
        found[name] = ({metric["MetricName"] for metric in sums}, sign, alarm["Threshold"])
    assert found == RUNBOOK


@pytest.mark.parametrize("name", RUNBOOK)
def test_an_alarm_says_how_to_diagnose_it(name: str) -> None:
    alarm = made()[name]
    assert alarm["AlarmDescription"].endswith(f"agentflow diagnose --since 30m --source cloudwatch --alarm {name}")
    assert alarm["AlarmActions"] == ["TOPIC"]
    assert alarm["TreatMissingData"] == ("breaching" if name == "agentflow-nothing-ran" else "notBreaching")


@pytest.mark.parametrize("name", RUNBOOK)
def test_an_alarm_is_within_the_limits_of_cloudwatch(name: str) -> None:
    alarm = made(nothing_ran_hours=168)[name]
    metrics = alarm.get("Metrics", [])
    period = metrics[0]["MetricStat"]["Period"] if metrics else alarm["Period"]
    assert period * alarm["EvaluationPeriods"] <= (604_800 if period >= 3600 else 86_400)
    assert len(metrics) <= 10
    assert len(alarm["AlarmDescription"]) <= 1024
    assert not {"MetricName", "Namespace", "Statistic", "Period"} & alarm.keys() or not metrics


RATES = ("AgentRetryRate", "AgentErrorRate", "ThrottlingRate", "ModelErrorRate")


def rate(some: int, every: int) -> list[float]:
    """Return the samples of a rate: one for each execution or request."""
    return [100.0] * some + [0.0] * (every - some)


@pytest.mark.parametrize("period", [{}, {"WorkflowSuccess": [0.0], "WorkflowFailure": [0.0]}])
def test_where_nothing_runs_only_that_is_told(period: Period) -> None:
    assert going_off(period) == {"nothing-ran"}
    assert going_off(period, nothing_ran_hours=None) == set()


def test_one_run_that_fails_is_no_rate() -> None:
    assert going_off({"WorkflowFailure": [1], **{name: rate(1, 1) for name in RATES}}) == set()


def test_one_run_that_fails_is_a_rate_where_the_configuration_says_so() -> None:
    failed: Period = {"WorkflowFailure": [1], "WorkflowSuccess": [0], "AgentErrorRate": [100]}
    assert going_off(failed, minimum_count=1) == {"low-success-rate", "high-error-rate", "agent-error-rate"}
    assert going_off({"WorkflowSuccess": [1], "AgentErrorRate": [0]}, minimum_count=1) == set()


def test_a_thousand_runs_are_judged_at_the_thresholds() -> None:
    def a_thousand(more: int) -> Period:
        failed = 50 + more
        return {
            "WorkflowSuccess": [1] * (1000 - failed) + [0] * failed,
            "WorkflowFailure": [0] * (1000 - failed) + [1] * failed,
            "WorkflowDuration": [30_000 + more] * 1000,
            "ActiveWorkflows": [1, 100 + more, 2],
            "AgentExecutionTime": [30_000 + more] * 1000,
            "BedrockLatency": [10_000 + more] * 1000,
            "AgentRetryRate": rate(100 + more, 1000),
            "AgentErrorRate": rate(50 + more, 1000),
            "ThrottlingRate": rate(10 + more, 1000),
            "ModelErrorRate": rate(20 + more, 1000),
        }

    assert going_off(a_thousand(0)) == set()
    everything = {name.removeprefix("agentflow-") for name in RUNBOOK} - {"nothing-ran", "workflow-duration"}
    assert going_off(a_thousand(1)) == everything
    slow: Period = {"WorkflowSuccess": [1] * 1000, "WorkflowDuration": [300_001] * 1000}
    assert going_off(slow) == {"workflow-duration", "high-latency"}


def test_a_process_that_does_little_weighs_little() -> None:
    """One that failed its only run, beside one that ended 999 well: the average of their rates is 50%."""
    assert going_off({"WorkflowSuccess": [1] * 999, "WorkflowFailure": [1], "AgentErrorRate": rate(1, 1000)}) == set()


def test_the_rate_is_of_all_runs_and_a_missing_count_is_zero() -> None:
    expression = made()["agentflow-high-error-rate"]["Metrics"][-1]["Expression"]
    assert evaluate(expression, {"ok": 900, "failed": 100}) == 10
    assert evaluate(expression, {"ok": None, "failed": 1000}) == 100
    assert evaluate(expression, {"ok": 1000, "failed": None}) == 0
    assert evaluate(expression, {"ok": None, "failed": None}) == 0


def test_money_has_an_alarm_where_a_figure_is_given() -> None:
    assert going_off({"WorkflowSuccess": [1], "CostUSD": [5, 0.01]}, cost_usd_per_hour=5) == {"cost"}
    assert made(cost_usd_per_hour=5)["agentflow-cost"]["Period"] == 3600


def test_what_the_alarms_and_the_dashboard_are_of_is_published() -> None:
    published = pytest.importorskip("agentflow.ops.metrics").METRICS
    graphs = json.dumps(dashboard(CONFIG, Calls((), ()), "123456789012"))
    alarmed = {name for names, _, _ in RUNBOOK.values() for name in names} | {"CostUSD"}
    shown = set(re.findall(r'\["AgentFlow", "(\w+)"', graphs))
    assert len(shown) > 8
    assert alarmed | shown <= published.keys()
