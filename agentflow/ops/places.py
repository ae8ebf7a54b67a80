"""Where in a run an event belongs: through the workflows that are steps themselves, to the row of its step."""

from __future__ import annotations

from dataclasses import dataclass

from agentflow.core.events import Event, NestedEvent
from agentflow.core.places import inner_prefix
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow


@dataclass(slots=True)
class Placed:
    """An event with its place.

    Attributes
    ----------
    event : the innermost of nested ones.
    root : the run that the program started.
    inner : the run that the event is of: the root's, or that of a workflow that is a step of it.
    prefix : what the paths of the steps of `inner` begin with.
    counts : whether `inner` counts as a run: the root does, and so does a workflow that is an item of its step, as a
        row of a job.
    """

    event: Event
    root: RunResult
    inner: RunResult
    prefix: str = ""
    counts: bool = True

    def path(self, step_id: str) -> str:
        """Return the path of a step of `inner`, such as `sub[3].classify`."""
        return self.prefix + step_id if self.prefix else step_id

    def row(self, step_id: str, item: int | None) -> StepRow | None:
        """Return the row of a step; None where the run has been changed since."""
        try:
            return self.inner.row(step_id, item)
        except LookupError:
            return None


def placed(event: Event, root: RunResult) -> Placed:
    """Return an event with its place."""
    if type(event) is not NestedEvent:
        return Placed(event, root, root)
    place = Placed(event, root, root)
    depth = 0
    while type(place.event) is NestedEvent:
        nested, depth = place.event, depth + 1
        row = place.row(nested.step_id, nested.item)
        place.counts = depth == 1 and nested.item is not None
        place.prefix += inner_prefix(nested.step_id, nested.item)
        place.inner = (row and row.inner) or RunResult()
        place.event = nested.event
    return place
