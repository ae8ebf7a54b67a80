"""What changes of a run while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentflow.core.events import AttemptFinished, Event, RunFinished, RunStarted, StepFinished, StepStarted
from agentflow.core.model import ABANDONED, Reply
from agentflow.core.orders import Order
from agentflow.store.owner import Owner
from agentflow.store.records import error_record

_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class LiveRun:
    """A run of this process, as its row has to be. Only the writer's thread touches it.

    Attributes
    ----------
    record, parts : its row among the records, and the one of its parts, to write them again where somebody removes the
        file.
    zero : the time of its first start, by the clock of its events.
    sequence : the number of its next event.
    obey : takes an order; None where the run takes none.
    last_order : the number of the last order that it was given.
    is_lost : it belongs to another process now; nothing more of it is written, but for answers.
    """

    run_id: str
    workflow: str
    started_at: datetime
    owner: Owner
    on_problem: Callable[[str], None]
    record: tuple[str | None, ...] = ()
    parts: tuple[str, str] | None = None
    steps: int = 0
    status: str = "running"
    ended_at: datetime | None = None
    duration_ms: float | None = None
    error: dict[str, str] | None = None
    warnings: list[str] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    attempts: int = 0
    closed: bool = False
    zero: float = 0.0
    sequence: int = 0
    obey: Callable[[Order], object] | None = None
    last_order: int = 0
    is_lost: bool = False
    _given_up: set[tuple[int, datetime]] = field(default_factory=set)
    _told: bool = False

    def take(self, event: Event) -> None:
        """Take an event of the run itself into account."""
        match event:
            case StepStarted(item=None):
                self.finished.discard(event.step_id)
            case StepFinished(item=None):
                self.finished.add(event.step_id)
            case RunStarted():
                self.steps = len(event.step_ids)
                self.zero = event.at
                if event.resumed:
                    self.zero -= (event.started_at - self.started_at).total_seconds()
                self.status, self.error, self.ended_at, self.duration_ms = "running", None, None, None
            case RunFinished():
                self.status = event.status
                self.error = error_record(event.error) if event.error else None
                self.duration_ms = (event.at - self.zero) * 1000
                self.ended_at = self.started_at + timedelta(milliseconds=self.duration_ms)

    def take_attempt(self, event: AttemptFinished) -> None:
        """Count an attempt that was not answered."""
        self.attempts += 1
        if event.attempt.error_code == ABANDONED:
            self._given_up.add((event.attempt.number, event.attempt.started_at))

    def take_reply(self, reply: Reply) -> None:
        """Count the attempts that were answered; one that was given up before is counted already."""
        answered = {(attempt.number, attempt.started_at) for attempt in reply.attempts if attempt.error_code is None}
        self.attempts += len(answered - self._given_up)

    def tell(self, sentence: str) -> None:
        """Tell the run, once, that something of it cannot be kept."""
        if self._told:
            return
        self._told = True
        self.warnings.append(sentence)
        try:
            self.on_problem(sentence)
        except Exception:
            _logger.exception("Run %s could not be told: %s", self.run_id, sentence)
