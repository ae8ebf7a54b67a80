"""A workflow over rows: one run of it for each, as the items of one step, so that they are a single run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentflow.core.nested import RowAgent

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow


def over_rows(workflow: Workflow, name: str, step_id: str, **settings: Any) -> Workflow:
    """Return a workflow that takes `row`, a list of the inputs of each run, by name.

    Parameters
    ----------
    step_id : the step whose items the runs are.
    settings : those in which it differs from the workflow; it has no less parallelism.
    """
    from agentflow.core.workflow import Workflow

    config = workflow.config.model_copy(update={"name": name, "enable_parallel": True, **settings})
    around = Workflow(config)
    around.add_step(step_id, RowAgent(workflow, within=around), map_over="row")
    return around
