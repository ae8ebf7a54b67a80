"""The log of runs: one record for each request to a model, for each end of a step, for each start and end of a run.

The fields are those that the operation runbook's queries use (`utils.logging.FIELDS`) and more. What a query counts
stands on one record each: a billed answer's tokens and model on the record of the attempt that was answered, a failed
run on the one record at ERROR, `attempt` on the records of attempts alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from agentflow.core.errors import StepError
from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    ReplyRejected,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepSkipped,
    StepStarted,
    ToolCalled,
)
from agentflow.ops.places import Placed
from agentflow.ops.record_fields import Memory, billed_answer, failed_attempt, failure, step_fields
from agentflow.utils.env import setting
from agentflow.utils.logging import KNOWN_FIELDS

logger = logging.getLogger("agentflow.runs")

_LONGEST_OUTPUT = 10_000  # characters, where content is logged at all


class RunLog:
    """Writes the events of runs to the log `agentflow.runs`."""

    def __init__(self) -> None:
        self._with_content = False
        self._memory = Memory()
        self._writes: Mapping[type[Event], Callable[[Placed, Any], None]] = {
            RunStarted: self._run_started,
            RunFinished: self._run_finished,
            StepStarted: self._step_started,
            StepFinished: self._step_finished,
            StepFailed: self._step_failed,
            StepSkipped: self._step_skipped,
            StepCancelled: self._step_cancelled,
            AttemptFinished: self._attempt_finished,
            CallFinished: self._call_finished,
            ReplyRejected: self._reply_rejected,
            ToolCalled: self._tool_called,
        }

    def write(self, place: Placed) -> None:
        """Write the record of an event, where it has one."""
        if write := self._writes.get(type(place.event)):
            write(place, place.event)

    def _run_started(self, place: Placed, event: RunStarted) -> None:
        if not place.prefix:
            self._with_content = setting("AGENTFLOW_LOG_CONTENT").value == "1"
        verb = "goes on" if event.resumed else "started"
        level = logging.INFO if place.counts else logging.DEBUG
        fields = _run_fields(place) | self._memory.fields()
        _record(level, place, "run_started", f"workflow {event.workflow!r} {verb}", fields)

    def _run_finished(self, place: Placed, event: RunFinished) -> None:
        run = place.inner
        fields = _run_fields(place) | {"status": event.status, "execution_time": round(run.duration_ms, 3)}
        fields |= self._memory.fields()
        took = f"in {run.duration_ms:,.0f} ms"
        if event.status in ("failed", "budget_exceeded"):
            why = failure(event.error, with_content=self._with_content) if event.error else {"error": event.status}
            where = f"step {event.error.step_id!r}: " if isinstance(event.error, StepError) else ""
            level = logging.ERROR if place.counts else logging.WARNING
            message = f"workflow {run.workflow!r} failed {took}: {where}{why['error']}"
            _record(level, place, "run", message, fields | why)
            return
        level = logging.WARNING if event.status == "interrupted" else logging.INFO if place.counts else logging.DEBUG
        if (cost := run.cost_usd) is not None:
            fields["cost_usd"] = float(cost)
        word = f"was {run.how_interrupted}" if event.status == "interrupted" else "ended well"
        _record(level, place, "run", f"workflow {run.workflow!r} {word} {took}", fields)

    def _step_started(self, place: Placed, event: StepStarted) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            step, fields = _step(place, event.step_id, event.item)
            _record(logging.DEBUG, place, "step_started", f"step {step} started", fields)

    def _step_finished(self, place: Placed, event: StepFinished) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        step, fields = _step(place, event.step_id, event.item)
        took = _took(place, event, fields)
        if version := place.inner.fingerprints.get(event.step_id):
            fields["version"] = version
        if self._with_content:
            fields["output"] = str(event.output)[:_LONGEST_OUTPUT]
        _record(logging.INFO, place, "step", f"step {step} ended well{took}", fields)

    def _step_failed(self, place: Placed, event: StepFailed) -> None:
        step, fields = _step(place, event.step_id, event.item)
        fields |= failure(event.error, with_content=self._with_content) | self._memory.fields()
        if version := place.inner.fingerprints.get(event.step_id):
            fields["version"] = version
        took = _took(place, event, fields)
        _record(logging.WARNING, place, "step", f"step {step} failed{took}: {fields['error']}", fields)

    def _step_skipped(self, place: Placed, event: StepSkipped) -> None:
        step, fields = _step(place, event.step_id, None)
        message = f"step {step} was skipped: {event.reason}"
        _record(logging.INFO, place, "step_skipped", message, fields | {"reason": event.reason})

    def _step_cancelled(self, place: Placed, event: StepCancelled) -> None:
        step, fields = _step(place, event.step_id, event.item)
        took = _took(place, event, fields)
        _record(logging.WARNING, place, "step_cancelled", f"step {step} was stopped{took}", fields)

    def _attempt_finished(self, place: Placed, event: AttemptFinished) -> None:
        """Write a failed attempt down; one that was answered is written down with its answer, which comes next."""
        attempt = event.attempt
        if attempt.error_code is None:
            return
        step, fields = _step(place, event.step_id, event.item)
        fields |= failed_attempt(attempt, event.model_id)
        then = f"; again in {attempt.wait_ms:,.0f} ms" if attempt.wait_ms else ""
        message = (
            f"step {step}, attempt {attempt.number}: {attempt.error_code} after {attempt.latency_ms:,.0f} ms{then}"
        )
        _record(logging.WARNING, place, "attempt", message, fields)

    def _call_finished(self, place: Placed, event: CallFinished) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        step, fields = _step(place, event.step_id, event.item)
        reply = event.reply
        if self._with_content:
            prompt = event.request.prompt if event.request else None
            fields |= {"prompt": str(prompt)[:_LONGEST_OUTPUT], "answer": reply.text[:_LONGEST_OUTPUT]}
        if reply.origin is not None:
            message = f"step {step}: the answer was there before, and cost nothing"
            _record(logging.INFO, place, "cached_answer", message, fields | {"cached": True})
            return
        usage, cost = reply.usage, reply.cost_usd
        answer = billed_answer(reply, event.request.max_tokens if event.request else None)
        dollars = "at an unknown price" if cost is None else f"for ${cost:.6f}"
        message = (
            f"step {step}, attempt {answer['attempt']}: {reply.model} answered in {reply.latency_ms:,.0f} ms, "
            f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens {dollars}"
        )
        _record(logging.INFO, place, "attempt", message, fields | answer)

    def _reply_rejected(self, place: Placed, event: ReplyRejected) -> None:
        step, fields = _step(place, event.step_id, event.item)
        _record(logging.WARNING, place, "answer_rejected", f"step {step} cannot use the answer", fields)

    def _tool_called(self, place: Placed, event: ToolCalled) -> None:
        step, fields = _step(place, event.step_id, event.item)
        call = event.call
        fields |= {"tool": call.name, "execution_time": round(call.latency_ms, 3)}
        if self._with_content:
            fields["output"] = call.output[:_LONGEST_OUTPUT]
        word = "failed" if call.is_error else "ended well"
        level = logging.WARNING if call.is_error else logging.INFO
        _record(level, place, "tool", f"step {step}: tool {call.name!r} {word} in {call.latency_ms:,.0f} ms", fields)


def _run_fields(place: Placed) -> dict[str, Any]:
    return step_fields(place.prefix.rstrip("."), None) if place.prefix else {}


def _step(place: Placed, step_id: str, item: int | None) -> tuple[str, dict[str, Any]]:
    """Return how a message names a step, and the fields that do so."""
    fields = step_fields(place.path(step_id), item)
    if "item" not in fields:
        return repr(fields["step_id"]), fields
    return f"{fields['step_id']!r}, item {fields['item']},", fields


def _took(place: Placed, event: StepFinished | StepFailed | StepCancelled, fields: dict[str, Any]) -> str:
    """Put the time that a step took into the fields, and return it in words."""
    row = place.row(event.step_id, event.item)
    if row is None or row.latency_ms is None:
        return ""
    fields["execution_time"] = round(row.latency_ms, 3)
    return f" in {row.latency_ms:,.0f} ms"


_BLANK = logging.LogRecord(logger.name, logging.INFO, __file__, 0, "", None, None).__dict__
_new = logging.LogRecord.__new__


def _record(level: int, place: Placed, event: str, message: str, fields: Mapping[str, Any]) -> None:
    """Write a record, without the search for the line of code that a `logger.log` makes."""
    if not logger.isEnabledFor(level):
        return
    run_id, now = place.root.run_id, time.time()
    known = {
        "workflow_id": run_id,
        "workflow_name": (place.inner if place.counts else place.root).workflow,
        **fields,
        "event": event,
        "run_id": run_id,
    }
    record = _new(logging.LogRecord)  # its constructor takes longer than all of this
    attributes = record.__dict__
    attributes.update(_BLANK)
    attributes.update(known)
    attributes[KNOWN_FIELDS] = known
    attributes["created"], attributes["msecs"] = now, now % 1 * 1000
    attributes["msg"], attributes["levelno"], attributes["levelname"] = message, level, logging.getLevelName(level)
    logger.handle(record)
