"""A workflow over rows: one run of it for each, as the items of one step, so that they are a single run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentflow.core.nested import RowAgent
from agentflow.core.surroundings import untold

if TYPE_CHECKING:
    from agentflow.core.engine import Run
    from agentflow.core.gate import Gate
    from agentflow.core.recording import Tap
    from agentflow.core.workflow import Workflow

ROWS_OF = "rows of "  # what the names of a job's runs begin with, before that of its workflow


def over_rows(
    workflow: Workflow,
    name: str,
    step_id: str,
    *,
    gate: Gate | None = None,
    tap: Tap | None = None,
    stays_failed: Callable[[str, int], bool] | None = None,
    with_readers: bool = False,
    **settings: Any,
) -> Workflow:
    """Return a workflow that takes `row`, a list of the inputs of each run, by name.

    Parameters
    ----------
    step_id : the step whose items the runs are.
    gate : entered by each row; several runs over rows share it.
    tap : is given every event of its runs, after their result has taken it in; it never raises and never blocks.
    stays_failed : as in `Run`.
    with_readers : give the events to the workflow's readers too.
    settings : those in which it differs from the workflow; it has no less parallelism.
    """
    from agentflow.core.workflow import Workflow

    config = workflow.config.model_copy(update={"name": name, "enable_parallel": True, **settings})
    with untold():
        around = Workflow(config)
    around.add_step(step_id, RowAgent(workflow, within=around, gate=gate), map_over="row")
    around._gate = gate
    if with_readers:
        around._readers, around._delta_readers = workflow._readers, workflow._delta_readers
    if stays_failed is not None:
        around._stays_failed = stays_failed
    if tap is not None:
        around._own_taps.append(tap)
    return around


def prepare_rows(around: Workflow, rows: Sequence[Mapping[str, Any]]) -> Run:
    """Return a run over rows that has everything it needs; nothing was called."""
    return around._prepare({"row": rows})
