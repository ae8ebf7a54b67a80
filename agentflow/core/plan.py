"""From steps to a plan: names become edges, and everything that is wrong is found before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agentflow.core.agent import Agent, SimpleAgent
from agentflow.core.errors import CycleError, DefinitionError, InputError, nearest
from agentflow.core.graph import execution_order
from agentflow.core.step import Step, as_reference, holds_reference
from agentflow.core.template import Path

Steps = Mapping[str, Step]


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one parameter of a step comes from: a step's output or a part of it, an input of the run, or a literal."""

    name: str
    step_id: str | None = None
    path: Path = ()
    run_input: str | None = None
    literal: Any = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its edges: `successors` are positions in the plan, `needs` is how many steps have to end first."""

    step_id: str
    agent: Agent
    bindings: tuple[Binding, ...]
    successors: tuple[int, ...]
    needs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow in an order in which they can run, and what a run has to be given.

    Attributes
    ----------
    step_ids : the steps as they were added.
    run_inputs : the names that are no steps, each with the steps that cannot run without it.
    """

    name: str
    steps: tuple[PlannedStep, ...]
    step_ids: tuple[str, ...]
    run_inputs: Mapping[str, tuple[str, ...]]

    def check_inputs(self, given: Mapping[str, Any]) -> None:
        """Raise an `InputError` for inputs of a run that are missing, or that nothing uses."""
        expected = self.run_inputs
        missing = [name for name, users in expected.items() if users and name not in given]
        problems = [
            f"Step {step_id!r} needs {{{name}}}, which is neither a step nor an input of this run"
            f"{nearest(name, {*self.step_ids, *given} - {step_id})}."
            for name in missing
            for step_id in expected[name]
        ]
        for name in given:
            if name in self.step_ids:
                problems.append(f"{name!r} is a step: its value cannot be given as an input.")
            elif name not in expected:
                takes = ", ".join(expected) or "no inputs"
                problems.append(f"No step uses an input {name!r}{nearest(name, expected)}: the workflow takes {takes}.")
        if problems:
            call = f"run({', '.join(f'{name}=...' for name in expected if name in given or name in missing)})"
            raise InputError(" ".join(problems), fix=f"Call {call}, or correct the name.")


def compile_plan(name: str, steps: Steps) -> Plan:
    """Return the plan of a workflow's steps.

    Raises
    ------
    DefinitionError
        With everything that is wrong in `problems`; a `CycleError` where that is steps that wait for each other.
    """
    problems = [] if steps else [f"Workflow {name!r} has no steps: add one with add_step."]
    for step in steps.values():
        problems += _problems(step, steps)
    bindings = {step_id: _bindings(step, steps) for step_id, step in steps.items()}
    upstream = {step_id: _upstream(step, bindings[step_id], steps) for step_id, step in steps.items()}
    order: list[str] = []
    try:
        order = execution_order(upstream)
    except CycleError as error:
        if not problems:
            raise
        problems += error.problems
    if problems:
        raise DefinitionError(" ".join(problems), problems=problems)

    position = {step_id: index for index, step_id in enumerate(order)}
    successors: list[list[int]] = [[] for _ in order]
    for step_id in order:
        for needed in upstream[step_id]:
            successors[position[needed]].append(position[step_id])
    return Plan(
        name=name,
        steps=tuple(
            PlannedStep(step_id, steps[step_id].agent, bindings[step_id], tuple(after), len(upstream[step_id]))
            for step_id, after in zip(order, successors, strict=True)
        ),
        step_ids=tuple(steps),
        run_inputs=run_inputs(steps),
    )


def run_inputs(steps: Steps) -> dict[str, tuple[str, ...]]:
    """Return the names that are no steps, each with the steps that cannot run without it."""
    users: dict[str, tuple[str, ...]] = {}
    for step in steps.values():
        for name, required in step.agent.parameters.items():
            if name not in step.inputs and name not in steps:
                users[name] = users.get(name, ()) + ((step.step_id,) if required else ())
    return users


def _bindings(step: Step, steps: Steps) -> tuple[Binding, ...]:
    """Return where each parameter of a step comes from: given by hand, a step of that name, an input of the run."""
    bindings = []
    for name in step.agent.parameters:
        if name in step.inputs:
            value = step.inputs[name]
            if reference := as_reference(value):
                bindings.append(Binding(name, step_id=reference._step_id, path=reference._path))
            else:
                bindings.append(Binding(name, literal=value))
        elif name in steps:
            bindings.append(Binding(name, step_id=name))
        else:
            bindings.append(Binding(name, run_input=name))
    return tuple(bindings)


def _upstream(step: Step, bindings: Iterable[Binding], steps: Steps) -> dict[str, None]:
    """Return the steps that a step needs, in a fixed order and each once."""
    needed = (*(binding.step_id for binding in bindings), *step.depends_on)
    return dict.fromkeys(name for name in needed if name is not None and name in steps)


def _problems(step: Step, steps: Steps) -> list[str]:
    """Return what is wrong with one step."""
    problems = []
    try:
        step.agent.check()
    except DefinitionError as error:
        problems.append(f"Step {step.step_id!r}: {error}")
    parameters = step.agent.parameters
    problems += [
        f"Step {step.step_id!r} uses nothing called {name!r}{nearest(name, parameters)}: "
        f"its inputs are {', '.join(parameters) or 'none'}."
        for name in step.inputs
        if name not in parameters
    ]
    problems += [
        f"Step {step.step_id!r}: its input {name!r} has a step among its items, which is not followed there: "
        "give the step itself as an input."
        for name, value in step.inputs.items()
        if holds_reference(value)
    ]
    referred = [reference for value in step.inputs.values() if (reference := as_reference(value)) is not None]
    problems += [
        f"Step {step.step_id!r} needs step {name!r}, which the workflow does not have{nearest(name, steps)}."
        for name in (*(reference._step_id for reference in referred), *step.depends_on)
        if name not in steps
    ]
    used = [(reference._step_id, *reference._path) for reference in referred]
    if isinstance(step.agent, SimpleAgent):
        used += [path for path in step.agent.references if path[0] not in step.inputs]
    problems += [
        f"Step {step.step_id!r}: {problem}"
        for path in used
        if path[0] in steps and (problem := _field_problem(path, steps[str(path[0])].agent))
    ]
    return problems


def _field_problem(path: Path, agent: Agent) -> str | None:
    """Return what is wrong with a field of an output, as far as its type is known before it is there."""
    if len(path) == 1 or not isinstance(agent, SimpleAgent):
        return None
    name, field = path[:2]
    output_type = agent.config.output_type
    if output_type is None:
        return f"{name!r} gives text, which has no {field!r}: give its AgentConfig an output_type with that field."
    known = output_type.model_fields
    return (
        None if field in known else f"{name!r} has no {field!r}{nearest(str(field), known)}: it has {', '.join(known)}."
    )
