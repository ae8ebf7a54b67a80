"""The typed events of a run, and how code inside a step reports into the run's stream.

Times `at` are seconds of `time.perf_counter`; differences of two are durations. `item` is the position in the list of
a mapped step, None for a step as a whole. Events are never changed; they are not declared frozen because frozen ones
take three times as long to make, and a run makes two a step.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from agentflow.core.model import Attempt, Reply, Request, ToolCall
from agentflow.core.orders import Order

if TYPE_CHECKING:
    from agentflow.core.recording import Recording
    from agentflow.core.time_limit import TimeLimit

RunStatus = Literal["running", "ok", "failed", "interrupted", "budget_exceeded"]


@dataclass(slots=True)
class RunStarted:
    """A run begins, or goes on where it was stopped (`resumed`); nothing was called yet.

    `again` are steps that had ended before and run again: they were changed, or their outputs could not be kept.
    """

    run_id: str
    workflow: str
    step_ids: tuple[str, ...]
    started_at: datetime
    at: float
    resumed: bool = False
    again: tuple[str, ...] = ()


@dataclass(slots=True)
class StepMapped:
    """A mapped step has its list; each of its items becomes a row."""

    step_id: str
    items: int
    at: float


@dataclass(slots=True)
class StepStarted:
    """A step, or an item of it, has its inputs and starts."""

    step_id: str
    at: float
    item: int | None = None


@dataclass(slots=True)
class AttemptStarted:
    """A request is about to be sent to a model; `most_usd` is the most that it can cost, None where nobody knows."""

    step_id: str
    number: int
    started_at: datetime
    most_usd: Decimal | None
    item: int | None = None


@dataclass(slots=True)
class AttemptFinished:
    """A request to a model was answered or failed; a failed one may be followed by another."""

    step_id: str
    attempt: Attempt
    model_id: str
    item: int | None = None


@dataclass(slots=True)
class CallFinished:
    """A model call was answered; `request` is what was asked, where the one who reports it knows."""

    step_id: str
    reply: Reply
    item: int | None = None
    request: Request | None = None


@dataclass(slots=True)
class ReplyRejected:
    """A step cannot use an answer, which has this `key`: it does not fit what was asked for."""

    step_id: str
    key: str
    item: int | None = None


@dataclass(slots=True)
class ToolCalled:
    """A tool that a step's model asked for has given its result, or failed."""

    step_id: str
    call: ToolCall
    item: int | None = None


@dataclass(slots=True)
class StepPrinted:
    """What a step, or an item of it, has printed, as far as that is kept; it comes when the step ends."""

    step_id: str
    text: str
    item: int | None = None


@dataclass(slots=True)
class TextDelta:
    """A piece of an answer, while it comes. Only those who ask for it are given it, and no record of a run has it.

    After an `AttemptFinished` with an error the answer begins anew.
    """

    step_id: str
    text: str
    item: int | None = None


@dataclass(slots=True)
class StepFinished:
    """A step, or an item of it, has its output."""

    step_id: str
    output: Any
    at: float
    item: int | None = None


@dataclass(slots=True)
class StepFailed:
    """A step, or an item of it, raised."""

    step_id: str
    error: BaseException
    at: float
    item: int | None = None


@dataclass(slots=True)
class StepSkipped:
    """A step is not wanted in this run, or needs one that is not; `reason` says which."""

    step_id: str
    reason: str
    at: float


@dataclass(slots=True)
class StepCancelled:
    """A step was stopped before its end: a sibling failed, the time was up, or somebody interrupted.

    A request that was already sent may still be answered and billed. `reason` says why the step was stopped where that
    is not the whole run's.
    """

    step_id: str
    at: float
    item: int | None = None
    reason: str = ""


@dataclass(slots=True)
class OrderTaken:
    """Somebody in another process told the run something; `refusal` says why it was not done, empty where it was."""

    order: Order
    at: float
    refusal: str = ""


@dataclass(slots=True)
class RunFinished:
    """A run ended; `error` says why where it did not end well."""

    status: RunStatus
    error: Exception | None
    at: float


@dataclass(slots=True)
class NestedEvent:
    """Something happened in the run of a workflow that is a step, or an item of a step, of this one."""

    step_id: str
    item: int | None
    event: Event


Event = (
    RunStarted
    | StepMapped
    | StepStarted
    | AttemptStarted
    | AttemptFinished
    | CallFinished
    | ReplyRejected
    | ToolCalled
    | StepPrinted
    | TextDelta
    | StepFinished
    | StepFailed
    | StepSkipped
    | StepCancelled
    | OrderTaken
    | RunFinished
    | NestedEvent
)


@dataclass(slots=True)
class StepScope:
    """Whose step the current code runs in, the record of its run, the time that it may take, whether it printed."""

    step_id: str
    item: int | None
    run: Recording
    limit: TimeLimit | None = None
    has_printed: bool = False


current_step: ContextVar[StepScope | None] = ContextVar("agentflow_current_step", default=None)


def report_attempt(attempt: Attempt, model_id: str) -> None:
    """Tell the current step's run of an attempt; does nothing outside of a run."""
    if scope := current_step.get():
        scope.run.emit(AttemptFinished(scope.step_id, attempt, model_id, scope.item))


def report_reply(reply: Reply, request: Request | None = None) -> None:
    """Tell the current step's run of an answer; does nothing outside of a run."""
    if scope := current_step.get():
        scope.run.emit(CallFinished(scope.step_id, reply, scope.item, request))


def report_rejected(reply: Reply) -> None:
    """Tell the current step's run that it cannot use an answer, which is then not given again."""
    if scope := current_step.get():
        scope.run.reject(scope, reply)
