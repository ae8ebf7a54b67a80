"""What can be wrong with one step of a workflow, as far as it shows before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import DefinitionError, nearest
from agentflow.core.output_types import fields_of
from agentflow.core.step import Reference, Step, as_reference, holds_reference
from agentflow.core.template import Path


def step_problems(step: Step, steps: Mapping[str, Step]) -> list[str]:
    """Return a sentence for each thing that is wrong with a step."""
    found = [
        *_agent_problems(step),
        *_input_problems(step, steps),
        *_reference_problems(step, steps),
        *_name_problems(step, steps),
    ]
    return [f"Step {step.step_id!r}{problem}" for problem in found]


def _agent_problems(step: Step) -> Iterator[str]:
    for agent in (step.agent, step.when):
        if agent is None or isinstance(agent, Reference):
            continue
        try:
            agent.check()
        except DefinitionError as error:
            yield from (f": {problem}" for problem in error.problems)


def _input_problems(step: Step, steps: Mapping[str, Step]) -> Iterator[str]:
    parameters = step.agent.parameters
    given = {"inputs": step.inputs, "optional": step.optional, "map_over": (step.map_over,) if step.map_over else ()}
    for argument, names in given.items():
        for name in names:
            if name not in parameters:
                takes = f"its inputs are {', '.join(parameters) or 'none'}"
                yield f" uses nothing called {name!r}{nearest(name, parameters)} ({argument}=): {takes}."
    for name, value in step.inputs.items():
        if holds_reference(value):
            yield (
                f": its input {name!r} has a step among its items, which is not followed there: "
                "give the step itself as an input."
            )
    if step.map_over in steps and step.map_over in step.optional:
        yield f": {step.map_over!r} is what it maps over, so it cannot be optional."


def _reference_problems(step: Step, steps: Mapping[str, Step]) -> Iterator[str]:
    referred = [reference for value in step.inputs.values() if (reference := as_reference(value)) is not None]
    if isinstance(step.when, Reference):
        referred.append(step.when)
    for name in dict.fromkeys((*(reference._step_id for reference in referred), *step.depends_on)):
        if name not in steps:
            yield f" needs step {name!r}, which the workflow does not have{nearest(name, steps)}."
    used: list[Path] = [(reference._step_id, *reference._path) for reference in referred]
    if isinstance(step.agent, SimpleAgent):
        used += [path for path in step.agent.references if path[0] not in step.inputs]
    for path in used:
        if path[0] in steps and (problem := _field_problem(path, steps[str(path[0])])):
            yield f": {problem}"


def _field_problem(path: Path, source: Step) -> str | None:
    """Return what is wrong with a field of an output, as far as its type is known before it is there."""
    if len(path) == 1 or not isinstance(source.agent, SimpleAgent) or source.map_over is not None:
        return None
    name, field = path[:2]
    output_type = source.agent.config.output_class
    if output_type is None:
        return f"{name!r} gives text, which has no {field!r}: give its AgentConfig an output_type with that field."
    known = fields_of(output_type)
    return (
        None if field in known else f"{name!r} has no {field!r}{nearest(str(field), known)}: it has {', '.join(known)}."
    )


def _name_problems(step: Step, steps: Mapping[str, Step]) -> Iterator[str]:
    if isinstance(step.agent, SimpleAgent):
        for path in step.agent.references:
            dotted = ".".join(str(part) for part in path)
            if len(path) > 1 and dotted in steps and path[0] in steps:
                yield f": {{{dotted}}} is ambiguous: it is a step, and a field of the step {path[0]!r}."
