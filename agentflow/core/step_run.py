"""One step, or one item of a mapped step, from its values to its output: its events, its time limit, its failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from agentflow.core.errors import BudgetExceeded, InputError
from agentflow.core.events import (
    Event,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepPrinted,
    StepScope,
    StepStarted,
    current_step,
)
from agentflow.core.journal import Encoded, RunJournal
from agentflow.core.outputs import Stored
from agentflow.core.plan import PlannedStep
from agentflow.core.recording import Recording
from agentflow.core.step_row import StepStatus
from agentflow.core.time_limit import TimeLimit
from agentflow.utils.threads import function_pool

FAILED: Any = object()  # in the place of an output, where there is none
REFUSED: Any = object()  # likewise: the step did not fail, but may call no more


class StepRunner:
    """Runs the steps of one run.

    Attributes
    ----------
    emit : takes an event in.
    stopped : whether the run is being stopped, so that nothing more counts.
    refused : why the budget lets no more calls through; None while it does.
    """

    def __init__(self, recording: Recording, large_output_bytes: int) -> None:
        self.emit: Callable[[Event], None] = recording.emit
        self.stopped = False
        self.refused: BudgetExceeded | None = None
        self._recording = recording
        self._large_output_bytes = large_output_bytes

    async def run(self, step: PlannedStep, values: dict[str, Any], item: int | None = None) -> Any:
        """Run a step, or an item of it, and return its output; `FAILED` where it raised, `REFUSED` for the budget."""
        step_id = step.step_id
        limit = None if step.timeout_seconds is None else TimeLimit(step.timeout_seconds)
        scope = StepScope(step_id, item, self._recording, limit)
        current_step.set(scope)
        self.emit(StepStarted(step_id, time.perf_counter(), item))
        try:
            run = step.agent.run(values)
            output = await (run if limit is None else limit.wait_for(run))
            if scope.has_printed:
                self._tell_printed(scope)
            if self._recording.journal is not None:
                return await self._keep(self._recording.journal, step_id, item, output)
        except GeneratorExit:
            raise
        except BaseException as error:  # whatever a step raises fails the step, and never ends the loop
            if scope.has_printed:
                self._tell_printed(scope)
            if isinstance(error, BudgetExceeded):
                self.refused = self.refused or error
                self.emit(StepCancelled(step_id, time.perf_counter(), item, "the budget does not cover its next call"))
                return REFUSED
            if self.stopped or (isinstance(error, asyncio.CancelledError) and _is_cancelled()):
                if self._recording.result.row(step_id, item).status is StepStatus.RUNNING:
                    self.emit(StepCancelled(step_id, time.perf_counter(), item))
                raise asyncio.CancelledError from error
            self.fail(step_id, item, error)
            return FAILED
        if self.stopped:
            raise asyncio.CancelledError  # it took longer to stop than anybody waited
        self.emit(StepFinished(step_id, output, time.perf_counter(), item))
        return output

    def _tell_printed(self, scope: StepScope) -> None:
        """Write down what a step has printed, once."""
        scope.has_printed = False
        printed = self._recording.result.row(scope.step_id, scope.item).printed
        self.emit(StepPrinted(scope.step_id, printed, scope.item))

    def fail(self, step_id: str, item: int | None, error: BaseException) -> None:
        """Write a failure down."""
        self.emit(StepFailed(step_id, error, time.perf_counter(), item))

    def finish(self, step_id: str, output: Any, encoded: Encoded) -> None:
        """Write an output down that is kept as `encoded` says."""
        self._recording.emit(StepFinished(step_id, output, time.perf_counter()), encoded)

    async def _keep(self, journal: RunJournal, step_id: str, item: int | None, output: Any) -> Any:
        """Write an output into the journal, and return it; where it is large, its place there."""
        at = time.perf_counter()  # what follows is no part of the step
        encoded = journal.encode_quickly(output)
        if encoded is None:
            encoded = await function_pool().run(partial(journal.encode, output))
        if self.stopped:
            raise asyncio.CancelledError
        result = self._recording.result
        if encoded.problem:
            result.warnings.append(
                f"The output of step {step_id!r} is not in the journal: {encoded.problem}. A resume runs it again."
            )
        self._recording.emit(StepFinished(step_id, output, at, item), encoded)
        size = len(encoded.data or "")
        if size <= self._large_output_bytes or not await function_pool().run(journal.wait_until_durable):
            return output
        stored = Stored(partial(self._recording.read_output, step_id, item), size)
        result.replace_output(step_id, item, stored)
        return stored


def _is_cancelled() -> bool:
    """Return whether the current task was cancelled; else a `CancelledError` is of something that the step awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def as_items(name: str, value: Any) -> list[Any]:
    """Return the items that a step is mapped over; those of a DataFrame are its rows, as dictionaries.

    Raises
    ------
    InputError
        The value is no list.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        rows: list[Any] = value.to_dict("records")
        return rows
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(
            f"The step is mapped over {name!r}, which is no list but of type {type(value).__name__}.",
            fix="Give a list, or a step whose output is one.",
        )
    return list(value)
