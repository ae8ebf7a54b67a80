"""Records of runs of the store: what the log of them has said, or would have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from agentflow.core.journal import PastRun
from agentflow.core.model import DEFAULT_MAX_TOKENS
from agentflow.core.places import all_rows
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.ops.record_fields import Fields, billed_answer, failed_attempt, failure, step_fields

_ENDS = {
    StepStatus.OK: ("step", "INFO"),
    StepStatus.FAILED: ("step", "WARNING"),
    StepStatus.CANCELLED: ("step_cancelled", "WARNING"),
    StepStatus.RUNNING: ("step_started", "DEBUG"),
}
_LEVELS = {"ok": "INFO", "interrupted": "WARNING"}


def records_of(past: PastRun, about: Mapping[str, Any]) -> list[Fields]:
    """Return the records of a run, in the order of their `timestamp` (UTC).

    Parameters
    ----------
    about : the run as the journal lists it. Where the run has not ended, its last sign of life becomes a record of the
        event `heartbeat`, with the memory that its process held.
    """
    result = past.result
    same = {"workflow_id": result.run_id, "run_id": result.run_id, "workflow_name": result.workflow}
    records = [same | record for record in _records(past, about)]
    return sorted(records, key=lambda record: record["timestamp"])


def _records(past: PastRun, about: Mapping[str, Any]) -> Iterator[Fields]:
    result = past.result
    yield {"timestamp": result.started_at, "level": "INFO", "event": "run_started"}
    for (path, item), row, inner in all_rows(result):
        place = step_fields(path, item)
        started_at = result.started_at if inner is result else inner.started_at
        yield from (place | record for record in _calls(row, _max_tokens(past.parts, path)))
        if end := _end_of(row, inner, started_at):
            yield place | end
        if row.inner is not None and row.item is not None and row.inner.status != "running":
            yield place | _run_end(row.inner, row.inner.started_at) | {"workflow_name": row.inner.workflow}
    if result.status == "running" or past.is_gone:
        yield {
            "timestamp": about["heartbeat_at"],
            "level": "INFO",
            "event": "heartbeat",
            "status": "gone" if past.is_gone else "running",
            "memory_mb": about["memory_mb"],
            "memory_percent": _percent_of_this_machine(about),
        }
    else:
        yield _run_end(result, result.started_at)


def _calls(row: StepRow, max_tokens: int | None) -> Iterator[Fields]:
    replies = {reply.attempts[-1].started_at: reply for reply in row.own_replies if reply.attempts}
    for attempt in row.own_attempts:
        at = attempt.started_at + timedelta(milliseconds=attempt.latency_ms)
        if attempt.error_code is not None:
            fields = failed_attempt(attempt, row.model_id or "")
            yield {"timestamp": at, "level": "WARNING", "event": "attempt"} | fields
        elif (reply := replies.get(attempt.started_at)) and reply.origin is None:
            yield {"timestamp": at, "level": "INFO", "event": "attempt"} | billed_answer(reply, max_tokens)


def _end_of(row: StepRow, inner: RunResult, started_at: datetime) -> Fields | None:
    if row.status not in _ENDS or row.started_ms is None:
        return None
    event, level = _ENDS[row.status]
    fields: Fields = {
        "timestamp": started_at + timedelta(milliseconds=row.started_ms + (row.latency_ms or 0.0)),
        "level": level,
        "event": event,
        "version": inner.fingerprints.get(row.step),
    }
    if event != "step_started":
        fields["execution_time"] = row.latency_ms
    return fields | (failure(row.error, code=_code(row)) if row.error else {})


def _run_end(result: RunResult, started_at: datetime) -> Fields:
    cost = result.cost_usd
    return {
        "timestamp": started_at + timedelta(milliseconds=result.duration_ms),
        "level": _LEVELS.get(result.status, "ERROR"),
        "event": "run",
        "status": result.status,
        "execution_time": result.duration_ms,
        "cost_usd": None if cost is None else float(cost),
        **(_first_failure(result, result.error) if result.error else {}),
    }


def _first_failure(result: RunResult, error: Exception) -> Fields:
    """Return the error of a failed run: that of the step that failed first, where one did."""
    failed = [row for _, row, _ in all_rows(result) if row.status is StepStatus.FAILED and row.error and not row.inner]
    failed.sort(key=lambda row: (row.started_ms or 0.0) + (row.latency_ms or 0.0))
    row = failed[0] if failed else None
    return failure(row.error, code=_code(row)) if row and row.error else failure(error)


def _code(row: StepRow) -> str:
    """Return AWS's code of the last request of a step, which the error of an earlier process does not have."""
    return (row.own_attempts[-1].error_code or "") if row.own_attempts else ""


def _max_tokens(parts: Mapping[str, StepParts], path: str) -> int | None:
    """Return what a step asked for at most, where that is known."""
    steps, step = parts, None
    for name in path.split("."):
        step = steps.get(name.partition("[")[0])
        steps = step.steps if step else {}
    if step is None or step.kind != "prompt":
        return None
    return int(step.parameters.get("max_tokens", DEFAULT_MAX_TOKENS))


def _percent_of_this_machine(about: Mapping[str, Any]) -> float | None:
    """Return how much of the machine's memory a process held, where it was this machine."""
    import socket

    import psutil

    if about["host"] != socket.gethostname():
        return None
    return float(about["memory_mb"] * 1_000_000 / psutil.virtual_memory().total * 100)
