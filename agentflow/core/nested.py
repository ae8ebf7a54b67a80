"""Stand-in until the lead's branch is merged: a workflow as a step of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow


class WorkflowAgent:
    """A workflow as a step."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow

    @property
    def parameters(self) -> Mapping[str, bool]:
        """The inputs of the workflow."""
        return self.workflow.inputs

    def check(self) -> None:
        """Raise a `DefinitionError` where the workflow cannot run as it is written."""
        self.workflow.validate()

    async def run(self, values: Mapping[str, Any]) -> Any:
        """Run the workflow."""
        return dict((await self.workflow.execute(**values)).outputs)
