"""What a step is made of, in parts that can be compared, and the fingerprint that is made from them.

A fingerprint tells whether a step is what it was: part of it are the prompt and all that is sent with it, or a
function's code, and the wiring. Not part of it are limits of time, the client, names, and the order of the steps.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import linecache
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.fingerprint import described, described_object, digest
from agentflow.core.nested import RowAgent, WorkflowAgent
from agentflow.core.output_types import schema_of
from agentflow.core.plan import Binding, step_bindings
from agentflow.core.step import Reference, Step
from agentflow.core.tools import Tool

Kind = Literal["prompt", "python", "workflow", "rows", "agent"]
Source = tuple[str | int, ...]

# What of an AgentConfig is no parameter; where a prompt is cached changes nothing of what comes out.
_ELSEWHERE = frozenset({"name", "model_type", "system", "output_type", "tools", "cache_prompt"})
_WHAT_COMES_OUT = ("on_error", "keep_outputs")  # of a nested workflow's settings; the others only say when and how long

_sources: WeakKeyDictionary[CodeType | type, str | None] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class StepParts:
    """What a step is made of. All but `literals` is plain JSON.

    Attributes
    ----------
    kind : `prompt`; `python`, a function; `workflow`; `rows`, a workflow whose inputs are the one value that it is
        given; `agent`, an object of the user's own.
    name : of the function, the workflow or the class, for people.
    prompt, system, examples, model, parameters, schema : of a prompt; `parameters` are those that are not at their
        default. Of a workflow, `parameters` are the settings that change what comes out.
    code : a hash of the code that runs, with all that it holds.
    holds : the variables that a function closes over, each with a hash of its value.
    source : the text of the code, where it is to be had.
    wiring : parameter -> ``("input", name)``, ``("step", id, *path)``, or ``("literal", hash)``.
    when : ``("step", id, *path)``, or ``("code", hash)`` of a function; empty where there is no condition.
    has_default : the parameters that have a default of their own.
    steps : of a workflow.
    tools : of a prompt, by name; their `prompt` and `schema` are what the model is told of them.
    literals : the values that were given by hand, by parameter.
    """

    kind: Kind
    name: str = field(default="", compare=False)
    prompt: str | None = None
    system: str | None = None
    examples: Sequence[Sequence[str]] = ()
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    code: str = ""
    holds: Mapping[str, str] = field(default_factory=dict, compare=False)
    source: str | None = field(default=None, compare=False)
    wiring: Mapping[str, Source] = field(default_factory=dict)
    depends_on: Sequence[str] = ()
    optional: Sequence[str] = ()
    map_over: str | None = None
    when: Source = ()
    has_default: Sequence[str] = field(default=(), compare=False)
    steps: Mapping[str, StepParts] = field(default_factory=dict)
    tools: Mapping[str, StepParts] = field(default_factory=dict)
    literals: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, eq=False)
class WorkflowParts:
    """The parts of a workflow's steps, by id."""

    steps: Mapping[str, StepParts]

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Step id -> fingerprint, 16 hexadecimal digits."""
        return {step_id: fingerprint(parts) for step_id, parts in self.steps.items()}


def workflow_parts(steps: Mapping[str, Step]) -> WorkflowParts:
    """Return what the steps of a workflow are made of."""
    return WorkflowParts({step_id: _step_parts(step, steps) for step_id, step in steps.items()})


_COUNTED = tuple(
    part.name for part in dataclasses.fields(StepParts) if part.compare and part.name not in {"steps", "tools"}
)


def fingerprint(parts: StepParts) -> str:
    """Return the hash of a step's parts. Empty ones stay out, so that a part of a later version changes nothing."""
    counted = {name: value for name in _COUNTED if (value := getattr(parts, name))}
    inner = {step_id: fingerprint(step) for step_id, step in parts.steps.items()}
    tools = {name: fingerprint(tool) for name, tool in parts.tools.items()}
    return digest(json.dumps([counted, inner, tools] if tools else [counted, inner], sort_keys=True))


def _step_parts(step: Step, steps: Mapping[str, Step]) -> StepParts:
    bindings = step_bindings(step, steps)
    return dataclasses.replace(
        _agent_parts(step.agent),
        wiring={binding.name: _source(binding) for binding in bindings},
        depends_on=sorted(step.depends_on),
        optional=sorted(step.optional),
        map_over=step.map_over,
        when=_when(step.when),
        has_default=[binding.name for binding in bindings if binding.has_default],
        literals={binding.name: binding.literal for binding in bindings if _is_literal(binding)},
    )


def _is_literal(binding: Binding) -> bool:
    return binding.step_id is None and binding.run_input is None


def _source(binding: Binding) -> Source:
    if binding.step_id is not None:
        return "step", binding.step_id, *binding.path
    if binding.run_input is not None:
        return "input", binding.run_input
    return "literal", digest(described(binding.literal))


def _when(when: Agent | Reference | None) -> Source:
    if when is None:
        return ()
    if isinstance(when, Reference):
        return "step", when._step_id, *when._path
    return "code", _agent_parts(when).code


def _agent_parts(agent: Agent) -> StepParts:
    if isinstance(agent, FunctionAgent):
        return _function_parts(agent.function)
    if isinstance(agent, WorkflowAgent):
        config = agent.workflow.config
        return StepParts(
            "rows" if isinstance(agent, RowAgent) else "workflow",
            config.name,
            parameters={name: getattr(config, name) for name in _WHAT_COMES_OUT},
            steps=workflow_parts(agent.workflow.steps).steps,
        )
    own = type(agent)
    code = "" if own is SimpleAgent else digest(described_object(agent, "run"))
    source = None if own is SimpleAgent else _source_of(own)
    if isinstance(agent, SimpleAgent):
        return _prompt_parts(agent, own.__qualname__, code, source)
    return StepParts("agent", own.__qualname__, code=code, source=source)


def _prompt_parts(agent: SimpleAgent, name: str, code: str, source: str | None) -> StepParts:
    config = agent.config
    parameters = {
        name: _plain(getattr(config, name))
        for name, field_info in type(config).model_fields.items()
        if name not in _ELSEWHERE and getattr(config, name) != field_info.default
    }
    return StepParts(
        "prompt",
        name,
        prompt=agent.prompt_template,
        system=config.system,
        examples=agent.examples,
        model=config.model_type,
        parameters=parameters,
        schema=schema_of(config.output_class) if config.output_class else None,
        code=code,
        source=source,
        tools={name: _tool_parts(tool) for name, tool in agent.tools.items()},
    )


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else described(value)


def _tool_parts(tool: Tool) -> StepParts:
    """Return the parts of a function, with what the model is told of it."""
    return dataclasses.replace(_function_parts(tool.function), prompt=tool.spec.description, schema=tool.spec.schema)


def _function_parts(function: Any) -> StepParts:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    plain = _plain_function(function)
    holds: dict[str, str] = {}
    if plain is not None and plain.__closure__ is not None:
        for variable, cell in zip(plain.__code__.co_freevars, plain.__closure__, strict=True):
            holds[variable] = digest(described([cell.cell_contents])) if _is_filled(cell) else ""
    source = _source_of(type(function) if plain is None else plain)
    return StepParts("python", name, code=digest(described(function)), holds=holds, source=source)


def _plain_function(function: Any) -> FunctionType | None:
    """Return the function with code of its own that runs in the end; None for an object that can be called."""
    while not isinstance(function, FunctionType):
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return None
    return function


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading it tells
    except ValueError:
        return False
    return True


def _source_of(thing: FunctionType | type) -> str | None:
    """Return the text of a function or a class, where Python still has it."""
    key = thing.__code__ if isinstance(thing, FunctionType) else thing
    if key not in _sources:
        try:
            text = _function_text(thing) if isinstance(thing, FunctionType) else inspect.getsource(thing)
        except (OSError, TypeError, SyntaxError):
            text = ""
        _sources[key] = textwrap.dedent(text) or None
    return _sources[key]


def _function_text(function: FunctionType) -> str:
    """Return the lines of a function. `inspect.getsource` would take twenty times as long to find its end."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    return "".join(lines[code.co_firstlineno - 1 : _last_line(code)])


def _last_line(code: CodeType) -> int:
    ends = [end for _, end, _, _ in code.co_positions() if end is not None]
    ends += [_last_line(inner) for inner in code.co_consts if isinstance(inner, CodeType)]
    return max(ends, default=code.co_firstlineno)
