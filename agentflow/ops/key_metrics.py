"""The key metrics of the operation runbook's three tables, from records of runs, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentflow.ops.alarm_states import figure, is_over, limit_text, written
from agentflow.ops.diagnosis.seen import Seen
from agentflow.views.verdicts import Verdict, Verdicts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The runbook's tables, with the alarm that each row is watched by; tokens are watched by no alarm.
_TABLES: Mapping[str, Mapping[str, str]] = {
    "Workflow": {
        "Success Rate": "agentflow-low-success-rate",
        "Duration": "agentflow-workflow-duration",
        "Failure Rate": "agentflow-high-error-rate",
        "Active Workflows": "agentflow-active-workflows",
    },
    "Agent": {
        "Execution Time": "agentflow-agent-execution-time",
        "Retry Rate": "agentflow-agent-retry-rate",
        "Error Rate": "agentflow-agent-error-rate",
    },
    "Bedrock": {
        "Model Invocation Latency": "agentflow-bedrock-latency",
        "Token Usage": "",
        "Throttling Rate": "agentflow-throttling-rate",
        "Model Error Rate": "agentflow-model-error-rate",
    },
}


def key_metrics(seen: Seen) -> Verdicts:
    """Return the runbook's key metrics over the window: figure, alert threshold and verdict of each.

    Times are averages, as in the runbook's alarms. What nothing was measured of is `not checked`.
    """
    rows = [(f"{table} · {metric}", alarm) for table, metrics in _TABLES.items() for metric, alarm in metrics.items()]
    return Verdicts(_metric(name, alarm, seen) if alarm else _tokens(name, seen) for name, alarm in rows)


def _metric(name: str, alarm: str, seen: Seen) -> Verdict:
    value = figure(alarm, seen)
    limits = f"alert {limit_text(alarm, seen.limits)}"
    if value is None:
        return Verdict(name, "not checked", written(alarm, value), limits=limits)
    is_bad = is_over(alarm, value, seen.limits)
    fix = f"agentflow diagnose --alarm {alarm}" if is_bad else ""
    return Verdict(name, "poor" if is_bad else "ok", written(alarm, value), fix, limits)


def _tokens(name: str, seen: Seen) -> Verdict:
    calls = seen.new(seen.answered)
    limits = "monitor for cost"
    if calls.empty:
        return Verdict(name, "not checked", "nothing to measure", limits=limits)
    read, made = calls["input_tokens"].sum(), calls["output_tokens"].sum()
    usd = calls["bedrock_usd"].fillna(calls["cost_usd"]).sum()
    return Verdict(name, "ok", f"{read:,.0f} in, {made:,.0f} out: ${usd:,.6f} at list price", limits=limits)


def dashboard(seen: Seen) -> Figure:
    """Draw the dashboard's graphs from the records of the window."""
    from agentflow.views.dashboard import dashboard_figure

    limits = {
        "duration": seen.limits.high_latency_ms,
        "latency": seen.limits.bedrock_latency_seconds * 1000,
        "step": seen.limits.agent_execution_seconds * 1000,
    }
    return dashboard_figure(seen.new(seen.records), limits)
