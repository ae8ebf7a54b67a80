"""Where the events of one run go: into its result, its journal, and to those who read along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentflow.core.budget import Budget
from agentflow.core.errors import CassetteError
from agentflow.core.events import (
    AttemptStarted,
    CallFinished,
    Event,
    NestedEvent,
    ReplyRejected,
    StepScope,
    TextDelta,
    ToolCalled,
)
from agentflow.core.journal import Encoded, PastRun, RunJournal
from agentflow.core.model import Reply, Request, ToolCall, ToolUse
from agentflow.core.places import Place, all_rows, inner_prefix
from agentflow.core.result import RunResult
from agentflow.core.reuse import Reuse

if TYPE_CHECKING:
    from agentflow.core.watching import Display

Answers = dict[Place, list[tuple[str, Reply]]]
ToolCalls = dict[Place, list[ToolCall]]
Tap = Callable[[Event, RunResult], None]


class Recording:
    """The record of one run, while it is made.

    Parameters
    ----------
    past : what the journal has of the run, where it goes on.
    again : the steps of a run that goes on which run again, since they were changed.
    taps : each is given every event after the result has taken it in; they never raise and never block.
    delta_taps : those of them that are given the text of answers as well, while it comes.
    parent : the step that this run is, where a workflow is a step: the events go to its run, which has the journal.
    budgets : the run's own; those of the parent's run hold as well.
    """

    result: RunResult
    journal: RunJournal | None
    reuse: Reuse | None
    answers: Answers
    tool_calls: ToolCalls
    wants_deltas: bool
    is_on_page: bool
    _root: Recording

    def __init__(
        self,
        *,
        past: PastRun | None = None,
        again: Collection[str] = (),
        taps: Sequence[Tap] = (),
        delta_taps: Sequence[Tap] = (),
        parent: StepScope | None = None,
        budgets: Sequence[Budget] = (),
    ) -> None:
        self.parent = parent
        self._own_budgets = budgets
        if parent is not None:
            outer = parent.run
            self.result = _inner_result(parent)
            self.journal, self.reuse = outer.journal, outer.reuse
            self.answers, self.tool_calls = outer.answers, outer.tool_calls
            self.wants_deltas, self.is_on_page = outer.wants_deltas, outer.is_on_page
            self._root = outer._root
            return
        self.result = past.result if past else RunResult()
        self.journal = self.reuse = None
        self.answers = past.answers if past else {}
        self.tool_calls = _tool_calls(past, again) if past else {}
        self.wants_deltas = bool(delta_taps)
        self.is_on_page = False
        self._root = self
        self._taps = list(taps)
        self._delta_taps = list(delta_taps)

    @property
    def prefix(self) -> str:
        """What the paths of this run's steps begin with, as seen from the outermost run."""
        around = self.parent
        return "" if around is None else around.run.prefix + inner_prefix(around.step_id, around.item)

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that hold, those of the runs around this one among them."""
        return (*(self.parent.run.budgets if self.parent else ()), *self._own_budgets)

    def read_along(self, display: Display) -> None:
        """Have a display read the run; before its first event."""
        self._taps.append(display.take)
        self.is_on_page = display.is_on_page
        if display.wants_deltas:
            self._delta_taps.append(display.take)
            self.wants_deltas = True

    def emit(self, event: Event, encoded: Encoded | None = None) -> None:
        """Put an event into the run's stream. Any thread may call it.

        Parameters
        ----------
        encoded : the output of a `StepFinished`, as the journal keeps it.
        """
        self.result.apply(event)
        root = self._root
        if root.journal is None and not root._taps:
            return
        outermost = self._as_of_root(event)
        if root.journal is not None:
            root.journal.write(outermost, encoded)
        for tap in root._taps:
            tap(outermost, root.result)

    def show(self, delta: TextDelta) -> None:
        """Give a piece of an answer to those who want it; it is part of neither result nor journal. For any thread."""
        outermost = self._as_of_root(delta)
        for tap in self._root._delta_taps:
            tap(outermost, self._root.result)

    def _as_of_root(self, event: Event) -> Event:
        """Return an event as one of the outermost run, whose journal and readers are everybody's."""
        around = self.parent
        while around is not None:
            event = NestedEvent(around.step_id, around.item, event)
            around = around.run.parent
        return event

    def direct_emit(self) -> Callable[[Event], None]:
        """Return the shortest way for events: into the result alone, where nobody else takes them in."""
        is_plain = self._root.journal is None and not self._root._taps
        return self.result.apply if is_plain else self.emit

    @property
    def replays(self) -> bool:
        """Whether `recall` may find answers."""
        return bool(self.answers)

    def recall(self, scope: StepScope, key: str) -> Reply | None:
        """Return an answer that the step was given before the run was stopped, each once; None where there is none."""
        answers = self.answers.get((self.prefix + scope.step_id, scope.item), [])
        for index, (kept_key, _) in enumerate(answers):
            if kept_key == key:
                return answers.pop(index)[1]
        return None

    def recall_tool(self, scope: StepScope, use: ToolUse) -> ToolCall | None:
        """Return what a tool gave the step before the run was stopped, each once; None where it was not called."""
        calls = self.tool_calls.get((self.prefix + scope.step_id, scope.item), [])
        for index, call in enumerate(calls):
            if (call.tool_use_id, call.name, call.arguments) == (use.tool_use_id, use.name, use.arguments):
                return calls.pop(index)
        return None

    def keep_tool_call(self, scope: StepScope, call: ToolCall) -> None:
        """Write down what a tool gave, and block until that is durable. For threads."""
        self.emit(ToolCalled(scope.step_id, call, scope.item))
        if self.journal is not None:
            self.journal.wait_until_durable()

    def labels(self, scope: StepScope) -> Mapping[str, str]:
        """Return what tells a step's calls from others in AWS's own logs: workflow, step and run."""
        if self.parent is not None:
            outer = self.parent.run.labels(self.parent)
            return {**outer, "step": self.prefix + scope.step_id}
        labels = {"workflow": self.result.workflow, "step": scope.step_id, "run_id": self.result.run_id}
        return labels if scope.item is None else {**labels, "item": str(scope.item)}

    def note_attempt(self, scope: StepScope, number: int, started_at: datetime, most_usd: Decimal | None) -> None:
        """Write down that a request is about to be sent, and block until that is durable. For threads."""
        self.emit(AttemptStarted(scope.step_id, number, started_at, most_usd, scope.item))
        if self.journal is not None:
            self.journal.wait_until_durable()

    def keep_answer(self, scope: StepScope, place: str, request: Request, reply: Reply) -> None:
        """Block until the journal and the cache hold an answer, or have said that they cannot. For threads."""
        step = self.prefix + scope.step_id
        if self.reuse is not None:
            try:
                self.reuse.keep((self.result.run_id, step, scope.item), place, request, reply)
            except CassetteError as error:  # the answer was paid, and is used
                self.warn(str(error))
        if self.journal is not None:
            self.journal.keep_answer(step, scope.item, request, reply)
        elif self.reuse is not None:
            self.reuse.wait_until_durable()

    def warn(self, sentence: str) -> None:
        """Say something that went wrong beside the steps, in the result of the run that people see."""
        if self.parent is not None:
            self.parent.run.warn(sentence)
        else:
            self.result.warnings.append(sentence)

    def note_reuse(self, scope: StepScope, request: Request, reply: Reply) -> None:
        """Write down that the step was given an answer that was there before. Never blocks."""
        if self.journal is not None:
            self.journal.note_answer(self.prefix + scope.step_id, scope.item, request, reply)
        self.emit(CallFinished(scope.step_id, reply, scope.item, request))

    def reject(self, scope: StepScope, reply: Reply) -> None:
        """Write down that the step cannot use an answer, and give it no more."""
        if self.reuse is not None:
            self.reuse.forget(reply)
        self.emit(ReplyRejected(scope.step_id, reply.key, scope.item))

    def close(self) -> None:
        """Say that the run writes nothing more, but for late answers."""
        if self.journal is not None and self.parent is None:
            self.journal.close()

    def read_output(self, step_id: str, item: int | None) -> Any:
        """Return an output that is in the journal only. Blocks."""
        if self.journal is None:
            raise LookupError(step_id)
        return self.journal.read_output(self.prefix + step_id, item)


def _tool_calls(past: PastRun, again: Collection[str]) -> ToolCalls:
    """Return the tools that were called before a run was stopped, without those of steps that were changed since."""
    changed = tuple(f"{step_id}{end}" for step_id in again for end in ".[")
    return {
        place: list(row.own_tool_calls)
        for place, row, _ in all_rows(past.result)
        if row.own_tool_calls and place[0] not in again and not place[0].startswith(changed)
    }


def _inner_result(scope: StepScope) -> RunResult:
    """Return the result of a workflow that is a step: it stands in the row of that step."""
    row = scope.run.result.row(scope.step_id, scope.item)
    if row.inner is None:
        row.inner = RunResult(started_at=scope.run.result.started_at)
    return row.inner
