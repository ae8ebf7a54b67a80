"""Running one step of a workflow, with the steps that it needs and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError

from agentflow.core.result import RunResult
from agentflow.core.surroundings import untold
from agentflow.core.workflow import Workflow
from agentflow.notebook.state import KernelState


def run_up_to(
    state: KernelState, workflow: Workflow, step_id: str, given: Mapping[str, Any] | None = None
) -> RunResult:
    """Run a step and what it needs.

    Parameters
    ----------
    given : inputs of the run; the others are the kernel's variables of their names.

    Raises
    ------
    UsageError
        There is no such variable; nothing was called.
    WorkflowError, RunInterrupted
        As for `Workflow.run`.
    """
    part = part_up_to(workflow, step_id)
    inputs = part.with_looked_up(given or {})
    taken = [name for name in part.inputs if name not in inputs and name in state.variables]
    inputs |= {name: state.variables[name] for name in taken}
    missing = [name for name, is_needed in part.inputs.items() if is_needed and name not in inputs]
    if missing:
        raise UsageError(
            f"%%step {step_id} --run: the kernel has no variable {', '.join(map(repr, missing))}. "
            f"Define it, or call run({', '.join(f'{name}=...' for name in missing)})."
        )
    if taken:
        print(f"With the kernel's {', '.join(taken)}; --input {' '.join(taken)} does so in every run.")
    try:
        result = part.run(**inputs)
    finally:
        workflow.last_result = part.last_result
    return result


def part_up_to(workflow: Workflow, step_id: str) -> Workflow:
    """Return the workflow of a step and what it needs."""
    needed = _needed(workflow, step_id)
    if len(needed) == len(workflow.steps):
        return workflow
    with untold():
        part = Workflow(workflow.config)
    part.steps = {name: step for name, step in workflow.steps.items() if name in needed}
    part.look_up_inputs(workflow.looked_up)
    part._display_mode = workflow._display_mode
    return part


def _needed(workflow: Workflow, step_id: str) -> set[str]:
    """Return a step and all that it waits for, directly or through others."""
    steps = workflow.plan.steps
    position = {step.step_id: index for index, step in enumerate(steps)}
    found: set[int] = set()
    waiting = [position[step_id]]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += steps[index].upstream
    return {steps[index].step_id for index in found}
