"""Runs as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from agentflow.core.explaining.backtest import Backtest
from agentflow.core.model import ABANDONED
from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow

_UNIT_BY_ENDING = {
    "_per_minute": "per minute",
    "_ms": "ms",
    "_usd": "USD",
    "_tokens": "tokens",
    "_at": "UTC",
    "_mb": "MB",
    "_s": "s",
}
_DTYPE_BY_UNIT = {
    "ms": "Float64",
    "s": "Float64",
    "per minute": "Float64",
    "USD": "Float64",
    "tokens": "Int64",
    "attempts": "Int64",
    "item": "Int64",
    "UTC": "datetime64[us, UTC]",
    "MB": "Float64",
    "count": "Int64",
    "yes or no": "boolean",
    "": "string",
}
_COUNTS = {
    "calls",
    "steps",
    "finished_steps",
    "pid",
    "attempt",
    "http_status",
    "size_bytes",
    "hits",
    "in_flight",
    "waiting",
    "throttled",
}
_RUN_COLUMNS = (
    "run_id", "workflow", "status", "started_at", "duration_ms", "steps", "finished_steps", "attempts", "input_tokens",
    "output_tokens", "cost_usd", "bedrock_usd", "error", "heartbeat_at", "memory_mb", "pid", "host",
)  # fmt: skip
_ANSWER_COLUMNS = (
    "key", "model", "place", "prompt", "kept_at", "used_at", "size_bytes", "hits", "saved_usd", "run_id", "step",
    "item",
)  # fmt: skip
_ATTEMPT_COLUMNS = (
    "run_id", "step", "item", "attempt", "status", "started_at", "latency_ms", "error_code", "http_status", "wait_ms",
    "region", "reason", "request_id", "model_id",
)  # fmt: skip
_TOOL_COLUMNS = (
    "run_id", "step", "item", "tool", "status", "started_at", "latency_ms", "arguments", "output",
)  # fmt: skip
_BACKTEST_COLUMNS = (
    "run_id", "item", "step", "before_status", "status", "changed", "before", "after", "before_cost_usd", "cost_usd",
    "before_latency_ms", "latency_ms",
)  # fmt: skip
_DIFF_COLUMNS = (
    "step", "item", "differs", "before_status", "status", "before_model", "model", "before", "after",
    "before_cost_usd", "cost_usd", "before_latency_ms", "latency_ms",
)  # fmt: skip
_MODEL_COLUMNS = (
    "model", "aliases", "model_id", "context_tokens", "max_output_tokens", "input_per_million_usd",
    "output_per_million_usd", "cache_read_per_million_usd", "price_date", "json_schema", "forced_tool", "sampling",
    "count_tokens", "batch", "cache_min_tokens", "end_of_life", "successor",
)  # fmt: skip
_HEALTH_COLUMNS = ("check", "ok", "state", "figure", "fix")
_YES_OR_NO = {"cached", "ok", "json_schema", "forced_tool", "sampling", "count_tokens", "batch"}
_OBJECTS = {"output", "arguments", "before", "after"}
_ATTEMPT_STATUS = {None: "answered", ABANDONED: "given up"}


def steps_frame(result: RunResult) -> pd.DataFrame:
    """Return one row a step, in the order in which the steps were added.

    Types and units follow from the names of the columns, so a new column of `RunResult.records()` needs nothing here.

    Returns
    -------
    DataFrame, the columns of `RunResult.records()` in their order
        `..._ms` and `..._usd` are Float64, `..._tokens` and `attempts` Int64, `started_at` datetime64[us, UTC],
        `output` object, all else string. What is unknown or does not apply is `<NA>` or `NaT`, never 0; the output
        of a step that has none is None. `.attrs["units"]` has the unit of every column that has one.
    """
    records = result.records()
    return _frame(list(records[0] if records else _names()), records)


def runs_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a run, as the journal lists them; types and units as in `steps_frame`."""
    return _frame(_RUN_COLUMNS, records)


def answers_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row an answer that is given again, as the store lists them; types and units as in `steps_frame`."""
    return _frame(_ANSWER_COLUMNS, records)


def attempts_frame(result: RunResult) -> pd.DataFrame:
    """Return one row a request that was sent to a model; types and units as in `steps_frame`."""
    records = [
        {
            "run_id": result.run_id,
            "step": step,
            "item": item,
            "attempt": attempt.number,
            "status": "rejected" if attempt in rejected else _ATTEMPT_STATUS.get(attempt.error_code, "failed"),
            "started_at": attempt.started_at,
            "latency_ms": attempt.latency_ms,
            "error_code": attempt.error_code,
            "http_status": attempt.http_status,
            "wait_ms": attempt.wait_ms,
            "region": attempt.region or (row.replies[-1].region if row.replies else None),
            "reason": attempt.reason or None,
            "request_id": attempt.request_id,
            "model_id": row.model_id,
        }
        for step, item, row in result.leaves()
        for rejected in [[attempt for reply in row.rejected for attempt in reply.attempts[-1:]]]
        for attempt in row.attempts
    ]
    return _frame(_ATTEMPT_COLUMNS, records)


def tools_frame(result: RunResult) -> pd.DataFrame:
    """Return one row a tool that was called; types and units as in `steps_frame`, arguments and outputs objects."""
    records = [
        {
            "run_id": result.run_id,
            "step": step,
            "item": item,
            "tool": call.name,
            "status": "failed" if call.is_error else "ok",
            "started_at": call.started_at,
            "latency_ms": call.latency_ms,
            "arguments": call.arguments,
            "output": call.output,
        }
        for step, item, row in result.leaves()
        for call in row.tool_calls
    ]
    return _frame(_TOOL_COLUMNS, records)


def quota_report_frame(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return one row a region and model, as a report of quotas lists them; types and units as in `steps_frame`."""
    return _frame(columns, records)


def backtest_frame(backtest: Backtest) -> pd.DataFrame:
    """Return one row a case and step; types and units as in `steps_frame`, `changed` boolean, answers objects."""
    return _frame(_BACKTEST_COLUMNS, backtest.records())


def diff_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a step of two runs; types and units as in `steps_frame`, what it returned is an object."""
    return _frame(_DIFF_COLUMNS, records)


def quote_frame(quote: Quote) -> pd.DataFrame:
    """Return one row a step of a quote; types and units as in `steps_frame`, and `..._s` is Float64."""
    return _frame(StepQuote.__slots__, quote.records())


def health_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a health check; types as in `steps_frame`, `ok` is boolean, and an empty fix `<NA>`."""
    return _frame(_HEALTH_COLUMNS, [{**record, "fix": record["fix"] or None} for record in records])


def models_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a model of the catalog; types and units as in `steps_frame`, what it can do is boolean."""
    return _frame(_MODEL_COLUMNS, records)


def _frame(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame({name: _column(name, [record[name] for record in records]) for name in names})
    frame.attrs["units"] = {name: unit for name in names if (unit := _unit(name))}
    return frame


def _names() -> Iterable[str]:
    return RunResult(rows={"": StepRow("")}).records()[0]


def _unit(name: str) -> str:
    if name in {"attempts", "item"}:
        return name
    if name in _COUNTS:
        return "count"
    if name in _YES_OR_NO:
        return "yes or no"
    return next((unit for ending, unit in _UNIT_BY_ENDING.items() if name.endswith(ending)), "")


def _column(name: str, values: list[Any]) -> pd.Series[Any]:
    if name in _OBJECTS:
        return pd.Series(values, dtype="object")
    if name == "changed":
        return pd.Series(values, dtype="boolean")
    unit = _unit(name)
    if unit == "USD":
        values = [None if value is None else float(value) for value in values]
    return pd.Series(values, dtype=_DTYPE_BY_UNIT[unit])
