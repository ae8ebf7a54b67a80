"""What this kernel has: its workflows by name, and the steps that `%%step` cells made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from IPython.core.error import UsageError

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import nearest
from agentflow.core.step import Step, as_reference
from agentflow.core.workflow import Workflow
from agentflow.notebook.cells import Cell, Cells

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

DEFAULT_WORKFLOW = "notebook"


@dataclass(frozen=True, slots=True)
class CellStep:
    """A step that a cell made.

    Attributes
    ----------
    step : as it was added; another step of that id in the workflow means that it was replaced.
    inputs : the inputs that are the kernel's variables.
    line, body : of the cell.
    """

    step: Step
    inputs: tuple[str, ...]
    cell: Cell
    line: str
    body: str


class KernelState:
    """The workflows of one kernel. One that has no step of a cell is held by the user's own names alone."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cells = Cells(shell)
        self._workflows: WeakValueDictionary[str, Workflow] = WeakValueDictionary()
        self._held: dict[str, Workflow] = {}
        self._steps: dict[str, dict[str, CellStep]] = {}

    @property
    def variables(self) -> dict[str, Any]:
        """The kernel's variables."""
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    # Workflows

    @property
    def workflows(self) -> Mapping[str, Workflow]:
        """The workflows by name, the most recently made one last."""
        return dict(self._workflows)

    def made(self, workflow: Workflow) -> None:
        """Take in a new workflow: it keeps the steps that cells made for the earlier one of its name."""
        name = workflow.config.name
        before = self._held.get(name)
        kept = self.cell_steps(before) if before is not None else {}
        self._workflows.pop(name, None)  # so that it comes last
        self._workflows[name] = workflow
        if not kept:
            return
        self._held[name] = workflow
        for step_id, made in kept.items():
            workflow.steps[step_id] = made.step
        self._steps[name] = kept
        self._bind(workflow)
        print(f"Workflow {name!r} was made again: it keeps {', '.join(kept)}, made by cells.")

    def workflow(self, name: str | None = None) -> tuple[Workflow, bool]:
        """Return the workflow of a name, or the most recently made one; and whether it was made for that just now."""
        known = self.workflows
        if name is None and known:
            return known[next(reversed(list(known)))], False
        if name is not None and name in known:
            return known[name], False
        if name is not None and (close := nearest(name, known)):
            raise UsageError(f"--workflow {name}: there is no such workflow{close}. For a new one: Workflow({name!r})")
        workflow = Workflow(name or DEFAULT_WORKFLOW)
        self._held[workflow.config.name] = workflow
        return workflow, True

    # Steps

    def cell_steps(self, workflow: Workflow) -> dict[str, CellStep]:
        """Return the steps of a workflow that cells made, and nobody has replaced since."""
        made = self._steps.get(workflow.config.name, {})
        return {name: step for name, step in made.items() if workflow.steps.get(name) is step.step}

    def keep(self, workflow: Workflow, made: CellStep) -> None:
        """Note that a cell has made a step of a workflow."""
        name, step_id = workflow.config.name, made.step.step_id
        self._held[name] = workflow
        kept = self.cell_steps(workflow) | {step_id: made}
        self._steps[name] = {known: kept[known] for known in workflow.steps if known in kept}
        self.cells.made(step_id)
        self._bind(workflow)

    def find(self, step_id: str) -> Workflow:
        """Return the workflow that has a step: the most recently made one of these."""
        found = [workflow for workflow in reversed(list(self.workflows.values())) if step_id in workflow.steps]
        if not found:
            known = [name for workflow in self.workflows.values() for name in workflow.steps]
            raise UsageError(f"There is no step {step_id!r}{nearest(step_id, known)}. %agentflow steps lists them.")
        return found[0]

    def forget(self, step_id: str) -> Workflow:
        """Take a step out of its workflow, and return that."""
        workflow = self.find(step_id)
        users = [
            name
            for name, step in workflow.steps.items()
            if name != step_id and step_id in {*step.depends_on, *_references(step)}
        ]
        if users:
            raise UsageError(f"Step {step_id!r} is named by {', '.join(users)}: change or forget these first.")
        workflow.remove_step(step_id)
        self._steps.get(workflow.config.name, {}).pop(step_id, None)
        self._bind(workflow)
        return workflow

    def why_gone(self, workflow: Workflow) -> Mapping[str, str]:
        """Return the steps whose cell is known to be gone, each with why."""
        told = {name: self.cells.why_gone(name, made.cell) for name, made in self.cell_steps(workflow).items()}
        return {name: why for name, why in told.items() if why}

    def _bind(self, workflow: Workflow) -> None:
        """Have the workflow look the inputs that cells declared up among the kernel's variables, when a run starts."""
        names = {name for made in self.cell_steps(workflow).values() for name in made.inputs}
        workflow.look_up_inputs(self.readers(names))

    def readers(self, names: Iterable[str]) -> dict[str, Callable[[], Any]]:
        """Return what reads variables of the kernel, by name; a `LookupError` where one is not there."""
        return {name: partial(self.variables.__getitem__, name) for name in names}

    def input_hint(self, workflow: Workflow, name: str) -> str:
        """Return what to do about an input that a run lacks."""
        users = workflow.plan.run_inputs[name]
        declared = any(name in made.inputs for made in self.cell_steps(workflow).values())
        if declared:
            return f"Run the cell that defines the variable {name!r}, or call run({name}=...)."
        if name not in self.variables:
            return ""
        by_cell = [user for user in users if user in self.cell_steps(workflow)]
        if by_cell:
            return (
                f"The kernel has a variable {name!r}: add `--input {name}` to the cell of {by_cell[0]!r}, "
                f"or call run({name}={name})."
            )
        return f"The kernel has a variable {name!r}: call run({name}={name})."

    def client_of(self, workflow: Workflow) -> Any:
        """Return the one client that a workflow's prompts were given; None where there is none, or several."""
        agents = [step.agent for step in workflow.steps.values() if isinstance(step.agent, SimpleAgent)]
        clients = {id(agent._client): agent._client for agent in agents if agent._client is not None}
        return next(iter(clients.values())) if len(clients) == 1 else None

    def reconnect(self) -> list[str]:
        """Let all prompts ask the backend of now, and return the steps that were given a client of their own."""
        own = []
        for workflow in self.workflows.values():
            for step in workflow.steps.values():
                if isinstance(step.agent, SimpleAgent):
                    step.agent.__dict__.pop("client", None)
                    if step.agent._client is not None:
                        own.append(step.step_id)
        return own


def _references(step: Step) -> set[str]:
    found = [as_reference(value) for value in (*step.inputs.values(), step.when)]
    return {reference._step_id for reference in found if reference is not None}


_state: KernelState | None = None


def kernel_state() -> KernelState:
    """Return the state of the kernel that has the extension loaded."""
    if _state is None:
        raise UsageError("Run `%load_ext agentflow` first.")
    return _state


def set_kernel_state(state: KernelState | None) -> None:
    """Say which kernel has the extension loaded."""
    global _state  # noqa: PLW0603 - there is one kernel in a process
    _state = state
