"""From steps to a plan: names become edges, and everything that is wrong is found before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentflow.core.agent import Agent
from agentflow.core.checks import step_problems
from agentflow.core.errors import CycleError, DefinitionError, InputError, nearest
from agentflow.core.graph import downstream_of, execution_order, find_cycles
from agentflow.core.step import Reference, Step, as_reference
from agentflow.core.template import Path

Steps = Mapping[str, Step]

_OPTIONS_OF_A_RUN = {"fresh", "samples"}


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one parameter of a step comes from: a step's output or a part of it, an input of the run, or a literal.

    Attributes
    ----------
    position : of the step, in the plan.
    required : whether the step cannot run without it.
    has_default : whether the parameter has a default of its own; else an optional one is given None.
    """

    name: str
    step_id: str | None = None
    position: int = -1
    path: Path = ()
    run_input: str | None = None
    literal: Any = None
    required: bool = True
    has_default: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a step is wanted: what an agent returns for the bindings, or the value of the one binding."""

    agent: Agent | None
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its edges.

    Attributes
    ----------
    successors : positions of the steps that wait for this one.
    upstream : positions of the steps that have to end first.
    parameters : the engine's short way: the parameters that are given the whole outputs of `upstream`, one each, where
        that is all there is to the step. Else None.
    bindings : where the parameters come from; none for a step with a short way.
    optional : positions of the steps of `upstream` that it can run without.
    """

    step_id: str
    agent: Agent
    successors: tuple[int, ...]
    upstream: tuple[int, ...]
    parameters: tuple[str, ...] | None
    bindings: tuple[Binding, ...] = ()
    optional: frozenset[int] = frozenset()
    when: Condition | None = None
    map_over: str | None = None
    timeout_seconds: float | None = None

    def short_bindings(self) -> tuple[Binding, ...]:
        """Return the bindings of a step with a short way."""
        return tuple(
            Binding(name, position=position)
            for name, position in zip(self.parameters or (), self.upstream, strict=True)
        )


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
        if not given and not expected:
            return
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
    bindings = {step_id: step_bindings(step, steps) for step_id, step in steps.items()}
    conditions = {step_id: _condition(step, steps) for step_id, step in steps.items()}
    upstream = {
        step_id: _upstream(step, (*bindings[step_id], *_bindings_of(conditions[step_id])), steps)
        for step_id, step in steps.items()
    }
    _raise_problems(name, steps, upstream)
    order = execution_order(upstream)
    position = {step_id: index for index, step_id in enumerate(order)}
    successors: list[list[int]] = [[] for _ in order]
    for step_id in order:
        for needed in upstream[step_id]:
            successors[position[needed]].append(position[step_id])

    def placed(found: Iterable[Binding]) -> tuple[Binding, ...]:
        return tuple(_placed(binding, position) for binding in found)

    planned = []
    known_parameters: dict[tuple[str, ...], tuple[str, ...]] = {}  # most steps of a large workflow have the same
    for step_id, after in zip(order, successors, strict=True):
        step, condition = steps[step_id], conditions[step_id]
        edges = tuple(after), tuple(position[needed] for needed in upstream[step_id])
        if _is_short(step, bindings[step_id], upstream[step_id]):
            parameters = tuple(step.agent.parameters)
            parameters = known_parameters.setdefault(parameters, parameters)
            planned.append(PlannedStep(step_id, step.agent, *edges, parameters))
            continue
        planned.append(
            PlannedStep(
                step_id,
                step.agent,
                *edges,
                None,
                placed(bindings[step_id]),
                frozenset(position[needed] for needed, required in upstream[step_id].items() if not required),
                Condition(condition.agent, placed(condition.bindings)) if condition else None,
                step.map_over,
                step.timeout_seconds,
            )
        )
    return Plan(name=name, steps=tuple(planned), step_ids=tuple(steps), run_inputs=run_inputs(steps))


def run_inputs(steps: Steps) -> dict[str, tuple[str, ...]]:
    """Return the names that are no steps, each with the steps that cannot run without it."""
    users: dict[str, tuple[str, ...]] = {}
    for step in steps.values():
        for binding in (*step_bindings(step, steps), *_bindings_of(_condition(step, steps))):
            if (name := binding.run_input) is not None:
                users.setdefault(name, ())
                if binding.required and step.step_id not in users[name]:
                    users[name] += (step.step_id,)
    return users


def _raise_problems(name: str, steps: Steps, upstream: Mapping[str, Mapping[str, bool]]) -> None:
    problems = [] if steps else [f"Workflow {name!r} has no steps: add one with add_step."]
    for step in steps.values():
        problems += step_problems(step, steps)
    problems += [
        f"{{{name}}} is an input of the run, but run({name}=...) means something else: give it another name."
        for name in run_inputs(steps)
        if name in _OPTIONS_OF_A_RUN
    ]
    cycles = find_cycles(upstream)
    waiting = [_cycle_problem(cycle, steps) for cycle in cycles]
    stuck = downstream_of({step_id for cycle in cycles for step_id in cycle}, upstream)
    waiting += [
        f"Step {step_id!r} can never run: it needs {needed!r}, which never ends." for step_id, needed in stuck.items()
    ]
    if waiting and not problems:
        raise CycleError(" ".join(waiting), fix="Take one of these references out.", problems=waiting)
    problems += waiting
    if problems:
        raise DefinitionError(" ".join(problems), problems=problems)


def _cycle_problem(cycle: list[str], steps: Steps) -> str:
    path = " -> ".join(repr(step_id) for step_id in cycle)
    step = steps[cycle[0]]
    if len(cycle) == 2 and step.step_id in step.agent.parameters and step.step_id not in step.inputs:
        return (
            f"Steps wait for each other: {path}. {{{step.step_id}}} is the name of the step itself, which hides the "
            f"input {step.step_id!r} of the run: rename one of the two."
        )
    return f"Steps wait for each other: {path}."


def step_bindings(step: Step, steps: Steps) -> tuple[Binding, ...]:
    """Return where each parameter of a step comes from."""
    return _bindings(step.agent, step.inputs, step.optional, steps)


def _bindings_of(condition: Condition | None) -> tuple[Binding, ...]:
    return condition.bindings if condition else ()


def _bindings(agent: Agent, inputs: Mapping[str, Any], optional: Iterable[str], steps: Steps) -> tuple[Binding, ...]:
    """Return where each parameter comes from: given by hand, a step of that name, an input of the run."""
    bindings = []
    for name, has_no_default in agent.parameters.items():
        required = has_no_default and name not in optional
        default = not has_no_default
        if name in inputs:
            if reference := as_reference(inputs[name]):
                bindings.append(_referring(name, reference, required=required, has_default=default))
            else:
                bindings.append(Binding(name, literal=inputs[name]))
        elif name in steps:
            bindings.append(Binding(name, name, required=required, has_default=default))
        else:
            bindings.append(Binding(name, run_input=name, required=required, has_default=default))
    return tuple(bindings)


def _referring(name: str, reference: Reference, *, required: bool, has_default: bool) -> Binding:
    return Binding(name, reference._step_id, path=reference._path, required=required, has_default=has_default)


def _condition(step: Step, steps: Steps) -> Condition | None:
    when = step.when
    if when is None:
        return None
    if isinstance(when, Reference):
        return Condition(None, (_referring("when", when, required=True, has_default=False),))
    return Condition(when, _bindings(when, {}, (), steps))


def _upstream(step: Step, bindings: Iterable[Binding], steps: Steps) -> dict[str, bool]:
    """Return the steps that a step waits for, in a fixed order, each with whether it cannot do without."""
    needed: dict[str, bool] = {}
    for binding in bindings:
        if binding.step_id is not None and binding.step_id in steps:
            needed[binding.step_id] = needed.get(binding.step_id, False) or binding.required
    return needed | {name: True for name in step.depends_on if name in steps}


def _placed(binding: Binding, position: Mapping[str, int]) -> Binding:
    if binding.step_id is None:
        return binding
    return Binding(
        binding.name,
        binding.step_id,
        position[binding.step_id],
        binding.path,
        required=binding.required,
        has_default=binding.has_default,
    )


def _is_short(step: Step, bindings: Sequence[Binding], upstream: Mapping[str, bool]) -> bool:
    """Return whether a step takes just the whole outputs of the steps that it needs."""
    if step.when is not None or step.map_over is not None or step.timeout_seconds is not None:
        return False
    whole = [binding.step_id for binding in bindings if binding.required and not binding.path]
    return len(whole) == len(bindings) and whole == list(upstream)
