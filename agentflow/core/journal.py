"""The Journal port: what outlives the process. `store/` fills it.

A run writes its events as they happen; they become durable soon after, in order. A model's answer is durable before
anyone sees it, and the run itself before its first request is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, cast

from agentflow.core import ports
from agentflow.core.events import Event
from agentflow.core.model import Reply, Request, Usage
from agentflow.core.orders import Order
from agentflow.core.places import Place
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts, WorkflowParts


class Encoded(NamedTuple):
    """A value as the journal keeps it.

    Attributes
    ----------
    kind : how `data` is to be read; the journal's own word.
    data : None where the value cannot be kept.
    problem : why it cannot be kept, such as ``it is of type Lock``; empty where it can.
    """

    kind: str
    data: str | bytes | None
    problem: str = ""


ITEMS = Encoded("items", "")  # the list of a mapped step: its items are kept, each for itself


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a journal is told of a run before its first step.

    Attributes
    ----------
    inputs : the run's inputs, by name; those that cannot be kept (secrets among them) are asked for again on a resume.
    fingerprints : step id -> a hash of the step's definition, to tell what changed when the run is resumed.
    definition : the workflow as JSON text, from which it can be built again; None where it holds more than prompts.
    parts : what each step is made of; kept once for all runs that have the same.
    """

    run_id: str
    workflow: str
    started_at: datetime
    step_ids: tuple[str, ...]
    inputs: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    definition: str | None
    parts: WorkflowParts | None = None


@dataclass(slots=True)
class PastRun:
    """What a journal has of a run.

    Attributes
    ----------
    result : as it was when the last event was kept. Large outputs are read when asked for.
    inputs : the ones that were kept.
    inputs_not_kept : the names of the others, each with why.
    fingerprints, definition : as in the `RunRecord`.
    parts : step id -> what it is made of; a value given by hand that could not be kept is a `NotKept` there.
    is_gone : the process that ran it is gone without having ended it.
    answers : (step, item) -> the answered calls as (key, reply), in the order of the answers. A step of a workflow that
        is a step itself goes by its path, such as ``sub.classify`` or ``sub[3].classify``.
    """

    result: RunResult
    inputs: dict[str, Any] = field(default_factory=dict)
    inputs_not_kept: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    definition: str | None = None
    parts: Mapping[str, StepParts] = field(default_factory=dict)
    answers: dict[tuple[str, int | None], list[tuple[str, Reply]]] = field(default_factory=dict)
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of a model that was answered.

    Attributes
    ----------
    step : the step's path without its items: ``sub.classify`` also for ``sub[3].classify``.
    model : as in `Reply.model`.
    request : what was asked; None where the journal does not have all of it, such as the bytes of an image.
    output_chars : the length of the answer.
    """

    step: str
    model: str
    usage: Usage
    latency_ms: float
    output_chars: int
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class PastStep:
    """A step, or an item of one, that has ended well in a past run.

    Attributes
    ----------
    step : as in `PastCall`.
    latency_ms : from its start to its end; None where that is not known.
    output_chars : about as many as its output would take in a prompt; None where that is not known.
    items : how many items a mapped step had; None for an item, and for any other step.
    """

    step: str
    latency_ms: float | None = None
    output_chars: int | None = None
    items: int | None = None


@dataclass(frozen=True, slots=True)
class PastWork:
    """What the newest runs of a workflow took, those of the newest run first."""

    calls: Sequence[PastCall] = ()
    steps: Sequence[PastStep] = ()


class RunJournal(Protocol):
    """The journal of one run. Steps go by their path, as in `PastRun.answers`."""

    def write(self, event: Event, encoded: Encoded | None = None) -> None:
        """Take an event in; it is durable soon. Never blocks and never raises: any thread, also the event loop's.

        Parameters
        ----------
        encoded : the output of a `StepFinished`.
        """

    def take_orders(self, obey: Callable[[Order], object]) -> None:
        """Have each order of another process given to the run, until its end, on a thread of the journal's.

        The `OrderTaken` that the run then writes says what became of the order.
        """

    def encode_quickly(self, output: Any) -> Encoded | None:
        """Encode a small plain value in a few microseconds; None for all others, which `encode` takes."""

    def encode(self, output: Any) -> Encoded:
        """Encode any value. It may take long: call it on a thread. Never raises: see `Encoded.problem`."""

    def read_output(self, step: str, item: int | None) -> Any:
        """Return the output of a step that was kept.

        Raises
        ------
        JournalError
            It cannot be read.
        """

    def wait_until_durable(self) -> bool:
        """Block until all that was written before is durable, and return whether it is. Call it on a thread."""

    def keep_answer(self, step: str, item: int | None, request: Request, reply: Reply) -> bool:
        """Block until an answer is durable, and return whether it is. Call it on a thread, also after the run's end."""

    def note_answer(self, step: str, item: int | None, request: Request, reply: Reply) -> None:
        """Take in an answer that was there before and cost nothing; it is durable soon. Never blocks, never raises."""

    def close(self) -> None:
        """Say that the run writes nothing more, but for late answers. Never blocks and never raises."""


class Journal(Protocol):
    """Where runs are kept."""

    def open(self) -> None:
        """Open the journal where it is not open yet. Blocks: call it on a thread. `is_open` says whether it is needed.

        Raises
        ------
        JournalError
            It cannot be opened.
        """

    @property
    def is_open(self) -> bool:
        """Whether the journal is open."""

    def begin(self, record: RunRecord, on_problem: Callable[[str], None]) -> RunJournal:
        """Start the journal of a new run. Never blocks: the run is durable soon, see `RunJournal.wait_until_durable`.

        Parameters
        ----------
        on_problem : told once, in a sentence, when something cannot be kept; any thread may call it. What could not
            be written is tried again with everything that follows.
        """

    def claim(
        self, record: RunRecord, on_problem: Callable[[str], None], *, again: Collection[str] = ()
    ) -> tuple[PastRun, RunJournal]:
        """Take over a run that has ended or whose process is gone, for this process alone. Blocks.

        Parameters
        ----------
        record : of the run as it goes on: its id, the steps, fingerprints and definition of now, and in `inputs` the
            ones that were given again. The past run that is returned has those of before.
        again : steps that are to run again, whose outputs are forgotten.

        Raises
        ------
        RunNotFoundError
            There is no such run.
        ResumeError
            It is still running.
        JournalError
            The journal cannot be read.
        """

    def workflow_of(self, run_id: str) -> str:
        """Return the name of the workflow that a run is of. Blocks. Errors as for `claim`."""

    def past_run(self, run_id: str) -> PastRun:
        """Return what is known of a run, also of one that is still running. Blocks. Errors as for `claim`."""

    def earlier_runs(self, run_id: str, places: Collection[Place]) -> Mapping[Place, PastRun]:
        """Return, for each place, the newest run of the workflow in which it ended well, of those begun before a run.

        Places where it never did are left out. Blocks.
        """

    def newest_run(self, workflow: str) -> PastRun | None:
        """Return the newest run of a workflow; None where there is none. Blocks. A journal is not made for it.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """

    def requests(self, run_id: str, places: Collection[Place]) -> Mapping[Place, Sequence[Mapping[str, Any]]]:
        """Return, for some places of a run, the newest answered requests as JSON, in their order. Blocks."""

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return a plain record for each run, newest first. Blocks."""

    def past_work(self, workflow: str) -> PastWork:
        """Return what the newest runs of a workflow took, at most some hundred calls of each step. Blocks.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """

    def prune(self, *, older_than: datetime | None = None, run_ids: Sequence[str] | None = None) -> int:
        """Delete runs that are not running any more, and return how many. Blocks."""

    def kept_answers(self) -> Sequence[Mapping[str, Any]]:
        """Return a plain record for each answer that is given again, the one that was given last first. Blocks."""

    def prune_answers(self, *, unused_for: timedelta | None = None, keys: Sequence[str] | None = None) -> int:
        """Delete answers that are given again, and return how many. Blocks."""

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was written is durable, and return whether it is."""


def opened_journal() -> Journal:
    """Return the journal of this process, opened. Blocks.

    Raises
    ------
    JournalError
        It cannot be opened.
    """
    journal = cast("Journal", ports.load("journal")())
    journal.open()
    return journal
