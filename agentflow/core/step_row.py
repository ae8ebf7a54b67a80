"""StepRow: what is known of one step of a run, its dollars and tokens among it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from agentflow.core.model import Attempt, Reply, ToolCall, Usage
from agentflow.core.outputs import loaded

if TYPE_CHECKING:
    from agentflow.core.result import RunResult


class StepStatus(StrEnum):
    """How far a step came."""

    NOT_RUN = "not run"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


_ENDED_BADLY = frozenset({StepStatus.FAILED, StepStatus.CANCELLED})


@dataclass(slots=True)
class StepRow:
    """What is known of one step of a run, or of one item of a mapped step; times in milliseconds, money in dollars.

    `started_ms` counts from the start of the run. `own_attempts` are those of all model calls that the step made,
    `own_replies` their answers, `rejected` those of them that the step could not use, and asked again, `own_tool_calls`
    the tools that its models had called. A step that calls no model has none of them, and no costs and tokens.
    `own_pending` are requests that were sent and have not come back, with the most that each can cost.
    `items` are the rows of a mapped step's items, None for other steps; `inner` is the run of a step that is a workflow
    itself. `printed` is what the step's code has printed, at most 64 kB of it. `reason` says why a step was skipped, or
    stopped. `why` is a word for why it ran or did not
    (`core/explaining/explain.py`), empty while the run goes on and where nobody knows; views have it filled in by
    `RunResult.tell_why`.
    """

    step: str
    item: int | None = None
    status: StepStatus = StepStatus.NOT_RUN
    started_ms: float | None = None
    latency_ms: float | None = None
    own_attempts: tuple[Attempt, ...] = ()
    own_replies: tuple[Reply, ...] = ()
    rejected: tuple[Reply, ...] = ()
    own_pending: tuple[Pending, ...] = ()
    own_tool_calls: tuple[ToolCall, ...] = ()
    model_id: str | None = None
    kept_output: Any = None
    error: BaseException | None = None
    reason: str = ""
    items: list[StepRow] | None = None
    inner: RunResult | None = None
    why: str = ""
    printed: str = ""

    @property
    def output(self) -> Any:
        """What the step returned; a large one is read from the journal now."""
        return loaded(self.kept_output)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The requests that were sent, those of all items and inner steps together."""
        return self.own_attempts + tuple(chain.from_iterable([row.attempts for row in self._parts()]))

    @property
    def replies(self) -> tuple[Reply, ...]:
        """The answers, those to all items and inner steps together."""
        return self.own_replies + tuple(chain.from_iterable([row.replies for row in self._parts()]))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that were called, those of all items and inner steps together."""
        return self.own_tool_calls + tuple(chain.from_iterable([row.tool_calls for row in self._parts()]))

    def _parts(self) -> Iterable[StepRow]:
        if self.items is None:
            return () if self.inner is None else self.inner.rows.values()
        return self.items if self.inner is None else [*self.items, *self.inner.rows.values()]

    @property
    def model(self) -> str | None:
        """Who answered; several models are joined by a comma."""
        return ", ".join(dict.fromkeys(reply.model for reply in self.replies)) or None

    @property
    def paid(self) -> tuple[Reply, ...]:
        """The answers that the models were asked for; the others were there before."""
        return tuple(reply for reply in self.replies if reply.origin is None)

    @property
    def cached(self) -> bool | None:
        """Whether all answers were there before; None where the step made no calls."""
        replies = self.replies
        return all(reply.origin is not None for reply in replies) if replies else None

    @property
    def usage(self) -> Usage | None:
        """The tokens of the step's answered calls, without those that cost nothing; None where there were no calls."""
        return sum((reply.usage for reply in self.paid), Usage()) if self.replies else None

    @property
    def cost_usd(self) -> Decimal | None:
        """What the step's calls cost; None where it made none, or where a price is not known."""
        return total_usd(reply.cost_usd for reply in self.paid) if self.replies else None

    @property
    def bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of the step's tokens; None where it made no calls, or where a price is not known."""
        return total_usd(reply.bedrock_usd for reply in self.paid) if self.replies else None

    @property
    def saved_usd(self) -> Decimal | None:
        """Bedrock's list price of the answers that were there before; None as for `bedrock_usd`."""
        given = [reply for reply in self.replies if reply.origin is not None]
        return total_usd(reply.bedrock_usd for reply in given) if self.replies else None

    @property
    def wasted_usd(self) -> Decimal | None:
        """What of `cost_usd` bought nothing: answers that were rejected, and all of a step that did not end well.

        None where the step made no calls, and where a request may have been billed that was never answered.
        """
        if not (self.replies or self.attempts) or self.uncertain_usd != 0:
            return None
        parts = list(self._parts())
        own = self.own_replies if self.status in _ENDED_BADLY and not parts else self.rejected
        lost = total_usd(reply.cost_usd for reply in own if reply.origin is None)
        inner = total_usd(part.wasted_usd for part in parts if part.replies or part.attempts)
        return None if lost is None or inner is None else lost + inner

    @property
    def uncertain_usd(self) -> Decimal | None:
        """The most that requests without an answer can have cost; None where a price is not known.

        They were given up, broke off, or were on their way when their process ended.
        """
        amounts = [attempt.may_cost_usd for attempt in self.own_attempts]
        amounts += [pending.most_usd for pending in self.own_pending]
        amounts += [part.uncertain_usd for part in self._parts()]
        return total_usd(amounts)


class Pending(NamedTuple):
    """A request that was sent and has not come back."""

    number: int
    started_at: datetime
    most_usd: Decimal | None


def is_same(pending: Pending, attempt: Attempt) -> bool:
    """Return whether a request that was sent is this attempt."""
    return (pending.number, pending.started_at) == (attempt.number, attempt.started_at)


def total_usd(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Add up dollars; one unknown amount makes the sum unknown."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
