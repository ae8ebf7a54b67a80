"""Where a result finds the runs that it is compared with: in the journal, or in what this process still knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentflow.core.journal import PastRun, opened_journal
from agentflow.core.places import Place, all_rows
from agentflow.core.result import RunResult
from agentflow.core.step import Step
from agentflow.core.step_parts import workflow_parts
from agentflow.core.step_row import StepStatus


class Evidence(Protocol):
    """What is known of a run and of those before it. All block.

    Attributes
    ----------
    is_complete : whether a step without an earlier run is new; else it may only be forgotten.
    nothing_earlier : why there is no earlier run of a step, as the end of a sentence.
    """

    is_complete: bool
    nothing_earlier: str

    def past_run(self, result: RunResult) -> PastRun:
        """Return the run itself, with what its steps are made of and were given.

        Raises
        ------
        RunNotFoundError, JournalError
            The journal has it no more, or cannot be read.
        """

    def earlier_runs(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, PastRun]:
        """Return, for each place, the newest earlier run of the workflow in which it ended well. Errors as above."""

    def requests(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, Sequence[Mapping[str, Any]]]:
        """Return, for some places, the answered requests as JSON, as far as they were kept. Errors as above."""


class _Journal:
    """The journal."""

    is_complete = True
    nothing_earlier = "no earlier run in the journal has ended it well; runs that were deleted do not count"

    def past_run(self, result: RunResult) -> PastRun:
        return opened_journal().past_run(result.run_id)

    def earlier_runs(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, PastRun]:
        return opened_journal().earlier_runs(result.run_id, places)

    def requests(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, Sequence[Mapping[str, Any]]]:
        return opened_journal().requests(result.run_id, places)


IN_JOURNAL: Evidence = _Journal()


@dataclass(slots=True)
class InMemory:
    """What this process knows of a run without a journal: the run, and the one before it.

    Attributes
    ----------
    inputs, steps : as the run was started with.
    before : the run before it. Only the newest run has one, so that not all of them are held in memory.
    """

    inputs: Mapping[str, Any]
    steps: Mapping[str, Step]
    before: RunResult | None
    is_complete: bool = True
    nothing_earlier: str = "the run has no journal, and the one before it in this process did not end the step well"

    def __post_init__(self) -> None:
        if self.before is None:
            self.nothing_earlier = "the run has no journal, and is the first of its workflow in this process"
        elif isinstance(older := self.before._evidence, InMemory):
            older.before, older.is_complete = None, False
            older.nothing_earlier = "the run has no journal, and the one before it is held in memory no more"

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Let a result pass to another process, which knows nothing of this one's runs."""
        return type(None), ()

    def past_run(self, result: RunResult) -> PastRun:
        """Return the run as it is in memory."""
        return PastRun(result, dict(self.inputs), parts=workflow_parts(self.steps).steps)

    def earlier_runs(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, PastRun]:  # noqa: ARG002
        """Return the run before it, for the places that ended well there."""
        if self.before is None or self.before._evidence is None:
            return {}
        ended_well = {place for place, row, _ in all_rows(self.before) if row.status is StepStatus.OK}
        return dict.fromkeys(ended_well.intersection(places), self.before._evidence.past_run(self.before))

    def requests(self, result: RunResult, places: Collection[Place]) -> Mapping[Place, Sequence[Mapping[str, Any]]]:  # noqa: ARG002
        """Return nothing: no request is held in memory."""
        return {}
