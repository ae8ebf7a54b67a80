"""RunResult: what remains of a run. The one fold over its events; tables, charts and totals all read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from agentflow.core import ports
from agentflow.core.errors import message_of
from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    RunFinished,
    RunStarted,
    RunStatus,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepStarted,
)
from agentflow.core.model import Attempt, Reply, Usage

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas as pd


class StepStatus(StrEnum):
    """How far a step came."""

    NOT_RUN = "not run"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class StepRow:
    """What is known of one step of a run; times in milliseconds, money in dollars.

    `started_ms` counts from the start of the run. `attempts` are those of all model calls that the step made,
    `replies` their answers. A step that calls no model has neither, and its costs and tokens are None.
    """

    step: str
    status: StepStatus = StepStatus.NOT_RUN
    started_ms: float | None = None
    latency_ms: float | None = None
    attempts: tuple[Attempt, ...] = ()
    replies: tuple[Reply, ...] = ()
    model_id: str | None = None
    output: Any = None
    error: BaseException | None = None

    @property
    def model(self) -> str | None:
        """Who answered; several models are joined by a comma."""
        return ", ".join(dict.fromkeys(reply.model for reply in self.replies)) or None

    @property
    def usage(self) -> Usage | None:
        """The tokens of the step's answered calls; None where there were none."""
        return sum((reply.usage for reply in self.replies), Usage()) if self.replies else None

    @property
    def cost_usd(self) -> Decimal | None:
        """What the step's calls cost; None where it made none, or where a price is not known."""
        return total_usd(reply.cost_usd for reply in self.replies) if self.replies else None

    @property
    def bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of the step's tokens; None where it made no calls, or where a price is not known."""
        return total_usd(reply.bedrock_usd for reply in self.replies) if self.replies else None


def total_usd(amounts: Iterator[Decimal | None]) -> Decimal | None:
    """Add up dollars; one unknown amount makes the sum unknown."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


@dataclass
class RunResult:
    """A run: its outputs, and a row for each step.

    Attributes
    ----------
    status : `running`, `ok`, `failed` or `interrupted`.
    outputs : step id -> what the step returned, for the steps that finished.
    rows : step id -> `StepRow`, for every step, in the order they were added.
    duration_ms : wall-clock time of the run.
    error : why the run did not end well.
    """

    run_id: str = ""
    workflow: str = ""
    status: RunStatus = "running"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration_ms: float = 0.0
    outputs: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, StepRow] = field(default_factory=dict)
    error: Exception | None = None
    _started: float = 0.0

    def apply(self, event: Event) -> None:
        """Take one event of the run into account."""
        match event:
            case StepStarted(step_id, at):
                row = self.rows[step_id]
                row.status = StepStatus.RUNNING
                row.started_ms = (at - self._started) * 1000
            case StepFinished(step_id, output, at):
                self.outputs[step_id] = self.rows[step_id].output = output
                self._end(step_id, StepStatus.OK, at)
            case AttemptFinished(step_id, attempt, model_id):
                row = self.rows[step_id]
                row.attempts += (attempt,)
                row.model_id = model_id
            case CallFinished(step_id, reply):
                self.rows[step_id].replies += (reply,)
            case StepFailed(step_id, error, at):
                self.rows[step_id].error = error
                self._end(step_id, StepStatus.FAILED, at)
            case StepCancelled(step_id, at):
                self._end(step_id, StepStatus.CANCELLED, at)
            case RunStarted():
                self.run_id, self.workflow, self.started_at = event.run_id, event.workflow, event.started_at
                self.rows = {step_id: StepRow(step_id) for step_id in event.step_ids}
                self._started = event.at
            case RunFinished(status, run_error, at):
                self.status, self.error = status, run_error
                self.duration_ms = (at - self._started) * 1000
            case _:
                assert_never(event)

    def _end(self, step_id: str, status: StepStatus, at: float) -> None:
        row = self.rows[step_id]
        row.status = status
        row.latency_ms = (at - self._started) * 1000 - (row.started_ms or 0.0)

    @property
    def cost_usd(self) -> Decimal | None:
        """What the run cost so far; None where a price is not known."""
        return total_usd(row.cost_usd for row in self.rows.values() if row.replies)

    @property
    def bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of the run's tokens; None where a price is not known."""
        return total_usd(row.bedrock_usd for row in self.rows.values() if row.replies)

    @property
    def usage(self) -> Usage:
        """The tokens of all answered calls of the run."""
        return sum((row.usage for row in self.rows.values() if row.usage), Usage())

    @property
    def attempts(self) -> int:
        """How many requests were sent to models."""
        return sum(len(row.attempts) for row in self.rows.values())

    def records(self) -> list[Mapping[str, Any]]:
        """Return one plain dictionary a step, with the columns of `to_frame()`. None is unknown or not applicable."""
        return [self._record(row) for row in self.rows.values()]

    def _record(self, row: StepRow) -> Mapping[str, Any]:
        replies = row.replies
        last = replies[-1] if replies else None
        usage = row.usage
        started = None if row.started_ms is None else self.started_at + timedelta(milliseconds=row.started_ms)
        streamed = [reply.ttft_ms for reply in replies if reply.ttft_ms is not None]
        return {
            "run_id": self.run_id,
            "step": row.step,
            "status": row.status.value,
            "model": row.model,
            "model_id": row.model_id,
            "region": last.region if last else None,
            "attempts": len(row.attempts) if row.attempts else None,
            "started_at": started,
            "queue_ms": sum(reply.queue_ms for reply in replies) if replies else None,
            "ttft_ms": streamed[0] if streamed else None,
            "latency_ms": row.latency_ms,
            "retry_wait_ms": sum(attempt.wait_ms for attempt in row.attempts) if row.attempts else None,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "cache_read_tokens": usage.cache_read_tokens if usage else None,
            "cache_write_tokens": usage.cache_write_tokens if usage else None,
            "cost_usd": row.cost_usd,
            "bedrock_usd": row.bedrock_usd,
            "price_date": last.price_date if last else None,
            "stop_reason": last.stop_reason if last else None,
            "error": message_of(row.error) if row.error else None,
            "error_type": type(row.error).__name__ if row.error else None,
            "output": row.output,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return the run as a table.

        Returns
        -------
        DataFrame, one row a step in the order they were added
            Columns as in `records()`. Times in milliseconds, `started_at` in UTC, dollars as Float64, tokens and
            attempts as Int64; what is unknown or does not apply is `<NA>`, never 0.
        """
        frame: pd.DataFrame = ports.load("steps_frame")(self)
        return frame

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the timeline of the steps and return the Axes."""
        drawn: matplotlib.axes.Axes = ports.load("timeline_chart")(self, ax=ax)
        return drawn

    def __repr__(self) -> str:
        text: str = ports.load("run_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("run_html")(self)
        return html
