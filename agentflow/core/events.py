"""The typed events of a run, and how code inside a step reports into the run's stream.

Times `at` are seconds of `time.perf_counter`; differences of two are durations.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from agentflow.core.model import Attempt, Reply

RunStatus = Literal["running", "ok", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins; nothing was called yet."""

    run_id: str
    workflow: str
    step_ids: tuple[str, ...]
    started_at: datetime
    at: float


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step has its inputs and starts."""

    step_id: str
    at: float


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """A request to a model was answered or failed; a failed one may be followed by another."""

    step_id: str
    attempt: Attempt
    model_id: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A model call was answered."""

    step_id: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step has its output."""

    step_id: str
    output: Any
    at: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step raised."""

    step_id: str
    error: BaseException
    at: float


@dataclass(frozen=True, slots=True)
class StepCancelled:
    """A step was stopped before its end: a sibling failed, the time was up, or somebody interrupted.

    A request that was already sent may still be answered and billed.
    """

    step_id: str
    at: float


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended; `error` says why where it did not end well."""

    status: RunStatus
    error: Exception | None
    at: float


Event = (
    RunStarted | StepStarted | AttemptFinished | CallFinished | StepFinished | StepFailed | StepCancelled | RunFinished
)


@dataclass(frozen=True, slots=True)
class StepScope:
    """Whose step the current code runs in, and where its events go."""

    step_id: str
    emit: Callable[[Event], None]


current_step: ContextVar[StepScope | None] = ContextVar("agentflow_current_step", default=None)


def report_attempt(attempt: Attempt, model_id: str) -> None:
    """Tell the current step's run of an attempt; does nothing outside of a run."""
    if scope := current_step.get():
        scope.emit(AttemptFinished(scope.step_id, attempt, model_id))


def report_reply(reply: Reply) -> None:
    """Tell the current step's run of an answer; does nothing outside of a run."""
    if scope := current_step.get():
        scope.emit(CallFinished(scope.step_id, reply))
