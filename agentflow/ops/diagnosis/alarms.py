"""The alarms that `agentflow deploy alarms` makes, and what their figure is in a set of records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agentflow.ops.diagnosis.seen import FAILED, Seen, are_throttled

if TYPE_CHECKING:
    import pandas as pd


def _percent(part: pd.Series) -> float | None:
    return None if part.empty else float(100 * part.mean())


def _mean(values: pd.Series) -> float | None:
    return None if values.dropna().empty else float(values.mean())


def _failed(seen: Seen) -> pd.Series:
    return seen.new(seen.ended)["status"].isin(FAILED)


def _requests(seen: Seen) -> pd.Series:
    return seen.new(seen.attempts)["error"]


def _steps(seen: Seen) -> pd.DataFrame:
    steps = seen.new(seen.steps)
    return steps[steps["event"] == "step"]


def _retried(seen: Seen) -> pd.Series:
    attempts = seen.new(seen.attempts)
    return attempts.groupby(["run_id", "step_id", "item"], dropna=False)["attempt"].max() > 1


def _active(seen: Seen) -> float:
    new = seen.new(seen.records)
    started = set(new[new["event"] == "run_started"]["run_id"])
    return float(len(started - set(seen.runs["run_id"])))


def _cost(seen: Seen) -> float:
    return float(seen.new(seen.answered)["cost_usd"].sum())


# Name -> what it measures, its unit, how to find the figure, and the threshold's setting in `Thresholds`.
_Measure = tuple[str, str, Callable[[Seen], float | None], str]
ALARMS: Mapping[str, _Measure] = {
    "agentflow-low-success-rate": (
        "workflows succeed", "%", lambda seen: _percent(~_failed(seen)), "workflow_success_percent"),
    "agentflow-high-error-rate": (
        "workflows fail", "%", lambda seen: _percent(_failed(seen)), "workflow_failure_percent"),
    "agentflow-workflow-duration": (
        "workflows take", " min", lambda seen: _minutes(_mean(seen.new(seen.ended)["execution_time"])),
        "workflow_duration_minutes"),
    "agentflow-high-latency": (
        "workflows take", " ms", lambda seen: _mean(seen.new(seen.ended)["execution_time"]), "high_latency_ms"),
    "agentflow-active-workflows": ("workflows run now", "", _active, "active_workflows"),
    "agentflow-agent-execution-time": (
        "steps take", " s", lambda seen: _seconds(_mean(_steps(seen)["execution_time"])), "agent_execution_seconds"),
    "agentflow-bedrock-latency": (
        "requests take", " s", lambda seen: _seconds(_mean(seen.new(seen.answered)["execution_time"])),
        "bedrock_latency_seconds"),
    "agentflow-agent-retry-rate": ("steps are retried", "%", lambda seen: _percent(_retried(seen)),
        "agent_retry_percent"),
    "agentflow-agent-error-rate": (
        "steps fail", "%", lambda seen: _percent(_steps(seen)["error"].notna()), "agent_error_percent"),
    "agentflow-throttling-rate": (
        "requests are throttled", "%",
        lambda seen: _percent(are_throttled(_requests(seen))), "throttling_percent"),
    "agentflow-model-error-rate": (
        "requests fail", "%",
        lambda seen: _percent(_requests(seen).notna() & ~are_throttled(_requests(seen))),
        "model_error_percent"),
    "agentflow-cost": ("dollars were spent", "", _cost, "cost_usd_per_hour"),
    "agentflow-nothing-ran": ("runs have ended", "", lambda seen: float(len(seen.new(seen.ended))), ""),
}  # fmt: skip


def alarm_sentence(name: str, seen: Seen) -> str:
    """Return an alarm's figure in these records, beside its threshold."""
    what, unit, measure, setting = ALARMS[name]
    figure = measure(seen)
    threshold = getattr(seen.limits, setting) if setting else None
    limit = f", the threshold is {threshold:g}{unit}" if threshold is not None else ""
    return f"{name}: {'nothing to measure' if figure is None else f'{figure:,.4g}{unit} ({what})'}{limit}"


def _minutes(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 60_000


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
