"""RunResult: what remains of a run. The one fold over its events; tables, charts and totals all read it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import InputError, message_of, type_name_of
from agentflow.core.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    Event,
    NestedEvent,
    OrderTaken,
    ReplyRejected,
    RunFinished,
    RunStarted,
    RunStatus,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepMapped,
    StepPrinted,
    StepSkipped,
    StepStarted,
    TextDelta,
    ToolCalled,
)
from agentflow.core.model import Usage
from agentflow.core.outputs import Outputs, gathered
from agentflow.core.shown_result import ShownResult
from agentflow.core.step_row import Pending, StepRow, StepStatus, is_same, total_usd

if TYPE_CHECKING:
    from agentflow.core.explaining.evidence import Evidence
    from agentflow.core.explaining.explain import Explanation
    from agentflow.core.explaining.run_diff import RunDiff


_adding = threading.Lock()  # the threads of one step may ask models at the same time


@dataclass(repr=False)
class RunResult(ShownResult):
    """A run: its outputs, and a row for each step.

    Attributes
    ----------
    status : `running`, `ok`, `failed`, `interrupted` or `budget_exceeded`.
    outputs : step id -> what the step returned, for the steps that finished. That of a mapped step is a list with an
        output for each item, None for those that failed. An output that is kept in the journal is read when asked for.
    rows : step id -> `StepRow`, for every step, in the order they were added.
    duration_ms : wall-clock time of the run.
    error : why the run did not end well.
    warnings : what went wrong beside the steps: something that could not be journalled, a reader that failed.
    reader_failures : how many events a reader raised on.
    fingerprints : step id -> what tells a step from what it was before it was changed; empty where nobody knows.
    stopped_by : who stopped an interrupted run from another process, such as "agentflow stop (pid 4711)"; else empty.
    """

    run_id: str = ""
    workflow: str = ""
    status: RunStatus = "running"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration_ms: float = 0.0
    outputs: Outputs = field(default_factory=Outputs)
    rows: dict[str, StepRow] = field(default_factory=dict)
    error: Exception | None = None
    warnings: list[str] = field(default_factory=list)
    reader_failures: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    stopped_by: str = ""
    _started: float = 0.0
    _evidence: Evidence | None = field(default=None, repr=False, compare=False)
    _told_why: bool = field(default=False, repr=False, compare=False)

    def apply(self, event: Event) -> None:
        """Take one event of the run into account."""
        _APPLY[type(event)](self, event)

    @property
    def how_interrupted(self) -> str:
        """How an interrupted run was ended, as a participle."""
        return f"stopped by {self.stopped_by}" if self.stopped_by else "interrupted"

    def row(self, step_id: str, item: int | None = None) -> StepRow:
        """Return the row of a step, or of one item of it."""
        row = self.rows[step_id]
        return row if item is None or row.items is None else row.items[item]

    def _run_started(self, event: RunStarted) -> None:
        self.status, self.error, self.stopped_by, self._told_why = "running", None, "", False
        if event.resumed:
            self._run_resumed(event)
            return
        self.run_id, self.workflow, self.started_at = event.run_id, event.workflow, event.started_at
        self.rows = {step_id: StepRow(step_id) for step_id in event.step_ids}
        self._started = event.at

    def _run_resumed(self, event: RunStarted) -> None:
        """Go on with the rows as the journal had them; time goes on from the first start."""
        self._started = event.at - (event.started_at - self.started_at).total_seconds()
        before = self.rows  # of steps that the workflow no longer has the bill remains
        self.rows = {step_id: before.get(step_id) or StepRow(step_id) for step_id in event.step_ids} | before
        for step_id in event.again:
            row = self.rows[step_id]
            row.own_attempts, row.own_replies, row.own_tool_calls = row.attempts, row.replies, row.tool_calls
            row.status, row.kept_output, row.items, row.inner = StepStatus.NOT_RUN, None, None, None
            self.outputs.pop(step_id, None)

    def _step_mapped(self, event: StepMapped) -> None:
        row = self.rows[event.step_id]
        row.status = StepStatus.RUNNING
        if row.started_ms is None:
            row.started_ms = (event.at - self._started) * 1000
        if row.items is None or len(row.items) != event.items:
            row.items = [StepRow(event.step_id, item) for item in range(event.items)]

    def _step_started(self, event: StepStarted) -> None:
        row = self.rows[event.step_id] if event.item is None else self.row(event.step_id, event.item)
        row.status = StepStatus.RUNNING
        row.error, row.printed = None, ""
        row.started_ms = (event.at - self._started) * 1000

    def _step_finished(self, event: StepFinished) -> None:
        if event.item is None:
            row = self.rows[event.step_id]
            self.outputs[event.step_id] = event.output
        else:
            row = self.row(event.step_id, event.item)
        row.kept_output = event.output
        row.status = StepStatus.OK
        row.latency_ms = (event.at - self._started) * 1000 - (row.started_ms or 0.0)

    def _attempt_started(self, event: AttemptStarted) -> None:
        row = self.row(event.step_id, event.item)
        with _adding:
            row.own_pending += (Pending(event.number, event.started_at, event.most_usd),)

    def _attempt_finished(self, event: AttemptFinished) -> None:
        row = self.row(event.step_id, event.item)
        with _adding:
            row.own_attempts += (event.attempt,)
            row.own_pending = tuple(pending for pending in row.own_pending if not is_same(pending, event.attempt))
        row.model_id = event.model_id

    def _call_finished(self, event: CallFinished) -> None:
        row = self.row(event.step_id, event.item)
        with _adding:
            row.own_replies += (event.reply,)
        row.model_id = event.reply.model_id

    def _reply_rejected(self, event: ReplyRejected) -> None:
        row = self.row(event.step_id, event.item)
        row.rejected += tuple(
            reply for reply in row.own_replies if reply.key == event.key and reply not in row.rejected
        )  # a run that goes on rejects once more what it rejected before

    def _tool_called(self, event: ToolCalled) -> None:
        row = self.row(event.step_id, event.item)
        with _adding:
            row.own_tool_calls += (event.call,)

    def _step_printed(self, event: StepPrinted) -> None:
        self.row(event.step_id, event.item).printed = event.text

    def _text_delta(self, event: TextDelta) -> None:
        """Do nothing: the reply will have the whole text."""

    def _step_failed(self, event: StepFailed) -> None:
        row = self.row(event.step_id, event.item)
        row.error = event.error
        self._end(row, StepStatus.FAILED, event.at)
        if event.item is None and row.items is not None:  # what was answered is kept
            row.kept_output = gathered(item.kept_output for item in row.items)
            self.outputs[event.step_id] = row.kept_output

    def _nested_event(self, event: NestedEvent) -> None:
        row = self.row(event.step_id, event.item)
        if row.inner is None:
            row.inner = RunResult()
        row.inner.apply(event.event)

    def _step_skipped(self, event: StepSkipped) -> None:
        row = self.rows[event.step_id]
        row.status, row.reason = StepStatus.SKIPPED, event.reason

    def _step_cancelled(self, event: StepCancelled) -> None:
        row = self.row(event.step_id, event.item)
        row.reason = event.reason
        self._end(row, StepStatus.CANCELLED, event.at)

    def _order_taken(self, event: OrderTaken) -> None:
        if event.order.what == "stop":
            self.stopped_by = event.order.sender
        sentence = event.order.sentence(event.refusal)
        if sentence not in self.warnings:  # the journal has the warnings of a run that goes on beside its events
            self.warnings.append(sentence)

    def _run_finished(self, event: RunFinished) -> None:
        self.status, self.error = event.status, event.error
        self.duration_ms = (event.at - self._started) * 1000

    def _end(self, row: StepRow, status: StepStatus, at: float) -> None:
        row.status = status
        row.latency_ms = (at - self._started) * 1000 - (row.started_ms or 0.0)

    def replace_output(self, step_id: str, item: int | None, output: Any) -> None:
        """Keep something else in the place of an output."""
        self.row(step_id, item).kept_output = output
        if item is None:
            self.outputs[step_id] = output

    def drop_output(self, step_id: str) -> None:
        """Forget what a step returned; its row stays."""
        self.outputs.pop(step_id, None)
        row = self.rows[step_id]
        for kept in (row, *(row.items or ())):
            kept.kept_output = None

    def leaves(self) -> Iterator[tuple[str, int | None, StepRow]]:
        """Return step, item and row of each step, in whose place stand the items of a mapped step and inner steps."""
        for row in self.rows.values():
            for part in row.items or (row,):
                if part.inner is None:
                    yield part.step, part.item, part
                    continue
                for step, item, leaf in part.inner.leaves():
                    yield f"{part.step}.{step}", part.item if item is None else item, leaf

    @property
    def cost_usd(self) -> Decimal | None:
        """What the run cost so far; None where a price is not known."""
        return total_usd(row.cost_usd for row in self.rows.values() if row.replies)

    @property
    def bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of the run's tokens; None where a price is not known."""
        return total_usd(row.bedrock_usd for row in self.rows.values() if row.replies)

    @property
    def saved_usd(self) -> Decimal | None:
        """Bedrock's list price of the answers that were there before; None where a price is not known."""
        return total_usd(row.saved_usd for row in self.rows.values() if row.replies)

    @property
    def wasted_usd(self) -> Decimal | None:
        """What of `cost_usd` bought nothing; None where nobody knows."""
        return total_usd(row.wasted_usd for row in self.rows.values() if row.replies or row.attempts)

    @property
    def uncertain_usd(self) -> Decimal | None:
        """The most that requests without an answer can have cost; None where a price is not known."""
        return total_usd(row.uncertain_usd for row in self.rows.values())

    @property
    def usage(self) -> Usage:
        """The tokens of all answered calls of the run."""
        return sum((usage for row in self.rows.values() if (usage := row.usage)), Usage())

    @property
    def attempts(self) -> int:
        """How many requests were sent to models."""
        return sum(len(row.attempts) for row in self.rows.values())

    def records(self) -> list[Mapping[str, Any]]:
        """Return one plain dictionary a step, with the columns of `to_frame()`. None is unknown or not applicable."""
        self.tell_why()
        return [self._record(*leaf) for leaf in self.leaves()]

    def _record(self, step: str, item: int | None, row: StepRow) -> Mapping[str, Any]:
        attempts, replies, paid = row.attempts, row.replies, row.paid
        last = replies[-1] if replies else None
        usage = row.usage
        started = None if row.started_ms is None else self.started_at + timedelta(milliseconds=row.started_ms)
        streamed = [reply.ttft_ms for reply in paid if reply.ttft_ms is not None]
        return {
            "run_id": self.run_id,
            "step": step,
            "item": item,
            "status": row.status.value,
            "why": row.why or None,
            "cached": row.cached,
            "model": row.model,
            "model_id": row.model_id,
            "region": last.region if last else None,
            "attempts": len(attempts) if attempts else None,
            "started_at": started,
            "queue_ms": sum(reply.queue_ms for reply in paid) if replies else None,
            "ttft_ms": streamed[0] if streamed else None,
            "latency_ms": row.latency_ms,
            "retry_wait_ms": sum(attempt.wait_ms for attempt in attempts) if attempts else None,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "cache_read_tokens": usage.cache_read_tokens if usage else None,
            "cache_write_tokens": usage.cache_write_tokens if usage else None,
            "cost_usd": row.cost_usd,
            "saved_usd": row.saved_usd,
            "wasted_usd": row.wasted_usd,
            "bedrock_usd": row.bedrock_usd,
            "price_date": last.price_date if last else None,
            "stop_reason": last.stop_reason if last else None,
            "error": message_of(row.error) if row.error else None,
            "error_type": type_name_of(row.error) if row.error else None,
            "printed": row.printed or None,
            "output": row.output,
        }

    def explain(self, step: str, item: int | None = None) -> Explanation:
        """Return why a step ran, or did not: what changed since the newest earlier run in which it ended well.

        Parameters
        ----------
        step : its id; ``sub.classify``, or ``sub[3].classify``, for a step of a workflow that is a step.
        item : of a mapped step.

        Raises
        ------
        InputError
            The run has no such step or item.
        JournalError
            The journal cannot be read.
        """
        from agentflow.core.explaining.explain import explain

        return explain(self, step, item)

    def step_inputs(self, step: str, item: int | None = None) -> dict[str, Any]:
        """Return what a step, or one item of it, was given, by parameter; parameters as for `explain`.

        A `NotKept`, which says why, stands for a value that the journal does not have.

        Raises
        ------
        InputError
            The run has no such step or item.
        JournalError
            The journal cannot be read.
        """
        from agentflow.core.explaining.resolved_inputs import resolved_inputs

        if self._evidence is None:
            raise InputError("Nothing is known of this run's inputs.", fix="Take the run from agentflow.get_run(...).")
        return resolved_inputs(self._evidence.past_run(self), step, item)

    def tell_why(self) -> None:
        """Fill in `why` in all rows of a run that has ended, once; the journal is read for it. Never raises."""
        if self._told_why or self.status == "running":
            return
        from agentflow.core.explaining.explain import fill_words

        self._told_why = True
        fill_words(self)

    def diff(self, other: RunResult | str) -> RunDiff:
        """Compare the run with another one, which is the earlier: prompts, models, values, cost and time by step.

        Parameters
        ----------
        other : a result, or the id of a run in the journal.

        Raises
        ------
        RunNotFoundError, JournalError
            The journal has no such run, or cannot be read.
        """
        from agentflow.core.explaining.run_diff import run_diff

        return run_diff(self, other)


_APPLY: Mapping[type[Event], Callable[[RunResult, Any], None]] = {
    RunStarted: RunResult._run_started,
    StepMapped: RunResult._step_mapped,
    StepStarted: RunResult._step_started,
    StepFinished: RunResult._step_finished,
    AttemptStarted: RunResult._attempt_started,
    AttemptFinished: RunResult._attempt_finished,
    CallFinished: RunResult._call_finished,
    ReplyRejected: RunResult._reply_rejected,
    ToolCalled: RunResult._tool_called,
    StepPrinted: RunResult._step_printed,
    TextDelta: RunResult._text_delta,
    StepFailed: RunResult._step_failed,
    StepSkipped: RunResult._step_skipped,
    StepCancelled: RunResult._step_cancelled,
    OrderTaken: RunResult._order_taken,
    RunFinished: RunResult._run_finished,
    NestedEvent: RunResult._nested_event,
}
