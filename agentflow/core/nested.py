"""A workflow as a step of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import DefinitionError
from agentflow.core.events import current_step

if TYPE_CHECKING:
    from agentflow.core.gate import Gate
    from agentflow.core.workflow import Workflow


class WorkflowAgent:
    """Runs a workflow as a step: its inputs are the step's parameters, its outputs by step are the step's output.

    The limits of the inner workflow hold for it: its timeout, its concurrency, what it does where a step fails.

    Parameters
    ----------
    within : the workflow that gets the step.

    Raises
    ------
    DefinitionError
        The workflow would be a step of itself.
    """

    def __init__(self, workflow: Workflow, *, within: Workflow) -> None:
        if workflow is within or _holds(workflow, within):
            raise DefinitionError(
                f"Workflow {workflow.config.name!r} would be a step of itself.", fix="Take one of the two steps out."
            )
        self.workflow = workflow

    @property
    def parameters(self) -> Mapping[str, bool]:
        """The inputs of the workflow, each with whether it is required."""
        return self.workflow.inputs

    def check(self) -> None:
        """Raise a `DefinitionError` with all that is wrong in the workflow."""
        self.workflow.validate()

    async def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run the workflow and return its outputs, by step."""
        result = await self.workflow.nested_run(values, current_step.get()).execute()
        return dict(result.outputs)

    def __repr__(self) -> str:
        return f"WorkflowAgent({self.workflow.config.name!r})"


class RowAgent(WorkflowAgent):
    """Runs a workflow as a step whose one parameter, `row`, has all inputs of the workflow, by name.

    Parameters
    ----------
    gate : entered by each run.
    """

    parameters: Mapping[str, bool] = {"row": True}

    def __init__(self, workflow: Workflow, *, within: Workflow, gate: Gate | None = None) -> None:
        super().__init__(workflow, within=within)
        self._gate = gate

    async def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run the workflow and return its outputs, by step."""
        if self._gate is None:
            return await super().run(values["row"])
        async with self._gate:
            return await super().run(values["row"])


def _holds(workflow: Workflow, sought: Workflow) -> bool:
    """Return whether a workflow has another one among its steps, at any depth."""
    waiting, seen = [workflow], {id(workflow)}
    while waiting:
        for step in waiting.pop().steps.values():
            if isinstance(step.agent, WorkflowAgent):
                inner = step.agent.workflow
                if inner is sought:
                    return True
                if id(inner) not in seen:
                    seen.add(id(inner))
                    waiting.append(inner)
    return False
