"""What kept a step from running to its end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from textwrap import shorten

from agentflow.core.errors import AgentFlowError, message_of
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts
from agentflow.core.step_row import StepRow, StepStatus

_MOST_CHARS = 300  # of an error


def held_back(result: RunResult, step: str, row: StepRow, holder: RunResult) -> str:
    """Return, as a sentence, why a step did not run to its end; it names the step that failed or was skipped.

    Parameters
    ----------
    step : its path.
    holder : the result that has its row: the run's own, or that of a workflow that is a step.
    """
    if row.status is StepStatus.SKIPPED:
        return f"It was skipped: {row.reason}."
    if row.status is StepStatus.RUNNING:
        return "It is still running."
    if row.status is StepStatus.CANCELLED:
        return f"It was stopped before its end: {_what_ended(result, row, holder)}"
    if failed := _failed_before(result, step, holder):
        return f"It did not run: it needs step {failed.step!r}, which failed: {_words(failed.error)}"
    return (
        "It has not run yet." if result.status == "running" else f"It did not run: {_what_ended(result, row, holder)}"
    )


def _what_ended(result: RunResult, row: StepRow, holder: RunResult) -> str:
    """Return what ended the run before the step had ended."""
    rows = [*holder.rows.values(), *result.rows.values()]
    failures = [other for other in rows if other.error is not None and other is not row]
    if failures:
        first = min(failures, key=lambda other: (other.started_ms or 0.0) + (other.latency_ms or 0.0))
        return f"step {first.step!r} failed, which ended the run: {_words(first.error)}"
    return "the run was interrupted." if result.error is None else _words(result.error)


def _words(error: BaseException | None) -> str:
    return shorten(message_of(error), _MOST_CHARS, placeholder=" ...") if error else ""


def _failed_before(result: RunResult, step: str, holder: RunResult) -> StepRow | None:
    """Return a step that failed, and that a step needs, directly or through others; None where none is known."""
    if result._evidence is None:
        return None
    with suppress(AgentFlowError):  # the journal cannot be read, or has the run no more
        if beside := PastInputs(result._evidence.past_run(result)).beside(step):
            return _failed_upstream(*beside, holder.rows)
    return None


def _failed_upstream(steps: Mapping[str, StepParts], step_id: str, rows: Mapping[str, StepRow]) -> StepRow | None:
    waiting, seen = [step_id], {step_id}
    while waiting:
        parts = steps[waiting.pop()]
        sources = [str(source[1]) for source in (*parts.wiring.values(), parts.when) if source[:1] == ("step",)]
        for needed in (*sources, *parts.depends_on):
            if rows[needed].status is StepStatus.FAILED:
                return rows[needed]
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return None
