"""The fingerprint of a step: a short hash of what it computes, the same in every process with this Python.

It tells whether a step is what it was when a run began. Part of it are the prompt and all that is sent with it, or a
function's bytecode with its defaults and what its closure holds, and the wiring. Not part of it are limits of time,
the client, the order of the steps, and the globals that a function uses: they are looked up when it runs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.nested import WorkflowAgent
from agentflow.core.step import Reference, Step, as_reference

_DIGITS = 16
_PLAIN = frozenset({str, int, float, complex, bool, type(None), type(...)})
_WHAT_COMES_OUT = ("on_error", "keep_outputs")  # of a nested workflow's settings; the others only say when and how long

_codes: WeakKeyDictionary[CodeType, str] = WeakKeyDictionary()
_schemas: WeakKeyDictionary[type[BaseModel], str] = WeakKeyDictionary()


def fingerprints(steps: Mapping[str, Step]) -> dict[str, str]:
    """Return step id -> fingerprint, 16 hexadecimal digits."""
    return {step_id: _digest(_step(step, steps)) for step_id, step in steps.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def _step(step: Step, steps: Mapping[str, Step]) -> str:
    when = step.when
    inputs = [(name, _input(value)) for name, value in sorted(step.inputs.items())]
    by_name = sorted(name for name in step.agent.parameters if name in steps and name not in step.inputs)
    wiring = (inputs, by_name, sorted(step.depends_on), step.map_over, sorted(step.optional))
    condition = "" if when is None else _reference(when) if isinstance(when, Reference) else _agent(when)
    return f"{_agent(step.agent)} {wiring} {condition}"


def _input(value: Any) -> str:
    reference = as_reference(value)
    return _value(value) if reference is None else _reference(reference)


def _reference(reference: Reference) -> str:
    return f"step {(reference._step_id, *reference._path)}"


def _agent(agent: Agent) -> str:
    if isinstance(agent, FunctionAgent):
        return _value(agent.function)
    if isinstance(agent, WorkflowAgent):
        config = agent.workflow.config
        settings = [getattr(config, name) for name in _WHAT_COMES_OUT]
        return f"workflow {settings} {sorted(fingerprints(agent.workflow.steps).items())}"
    if isinstance(agent, SimpleAgent):
        own = "" if type(agent) is SimpleAgent else _object(agent, "run", frozenset())
        return f"prompt {own} {(agent.prompt_template, agent.examples)!r} {_settings(agent)}"
    return _object(agent, "run", frozenset())


def _settings(agent: SimpleAgent) -> str:
    """Describe what is sent with a prompt. Defaults stay out, so that a setting of a later version changes nothing."""
    config = agent.config
    given = {
        name: getattr(config, name)
        for name, field in type(config).model_fields.items()
        if name not in {"name", "output_type"} and getattr(config, name) != field.default
    }
    return f"{_value(given)} {_schema(config.output_type) if config.output_type else 'text'}"


def _schema(output_type: type[BaseModel]) -> str:
    if output_type not in _schemas:
        _schemas[output_type] = _digest(json.dumps(output_type.model_json_schema(), sort_keys=True))
    return _schemas[output_type]


def _value(value: Any, around: frozenset[int] = frozenset()) -> str:
    """Describe a value; `around` has the ids of those that it is part of: a function or a list can hold itself."""
    if type(value) in _PLAIN:
        return repr(value)
    return "itself" if id(value) in around else _described(value, around | {id(value)})


@functools.singledispatch
def _described(value: Any, around: frozenset[int]) -> str:
    return _object(value, "__call__", around)


@_described.register(type)
@_described.register(BuiltinFunctionType)
def _by_path(value: Any, _around: frozenset[int]) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@_described.register(str)
@_described.register(int)
@_described.register(float)
@_described.register(Enum)
@_described.register(date)
@_described.register(time)
@_described.register(timedelta)
@_described.register(Decimal)
@_described.register(UUID)
@_described.register(PurePath)
def _by_text(value: Any, _around: frozenset[int]) -> str:
    return f"{_class(value)} {str(value)!r}"


@_described.register(bytes)
@_described.register(bytearray)
def _by_hash(value: bytes, _around: frozenset[int]) -> str:
    return f"bytes {hashlib.sha256(value).hexdigest()}"


@_described.register(Mapping)
def _mapping(value: Mapping[Any, Any], around: frozenset[int]) -> str:
    return f"mapping {sorted((_value(key, around), _value(item, around)) for key, item in value.items())}"


@_described.register(AbstractSet)
def _set(value: AbstractSet[Any], around: frozenset[int]) -> str:
    return f"set {sorted(_value(item, around) for item in value)}"


@_described.register(list)
@_described.register(tuple)
def _sequence(value: Sequence[Any], around: frozenset[int]) -> str:
    return f"{_class(value)} {[_value(item, around) for item in value]}"


@_described.register(MethodType)
def _method(value: MethodType, around: frozenset[int]) -> str:
    return f"method {_value(value.__self__, around)} {_value(value.__func__, around)}"


@_described.register(functools.partial)
def _partial(value: functools.partial[Any], around: frozenset[int]) -> str:
    return f"partial {_value((value.func, value.args, value.keywords), around)}"


@_described.register(type(functools.cache(len)))
def _cached(value: Any, around: frozenset[int]) -> str:
    return f"cached {_value(value.__wrapped__, around)}"


def _object(value: Any, method: str, around: frozenset[int]) -> str:
    """Describe an object: its class, the code that it runs, and its fields where the class declares them."""
    code = getattr(type(value), method, None)
    runs = _function(code, around) if isinstance(code, FunctionType) else ""
    fields: dict[str, Any] = {}
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
    return f"{_class(value)} {_value(fields, around)} {runs}"


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


@_described.register(FunctionType)
def _function(function: FunctionType, around: frozenset[int]) -> str:
    code = _code(function.__code__)
    if function.__defaults__ is None and function.__kwdefaults__ is None and function.__closure__ is None:
        return code
    held = [_cell(cell, around) for cell in function.__closure__ or ()]
    return f"{code} {_value((function.__defaults__, function.__kwdefaults__), around)} {held}"


def _cell(cell: Any, around: frozenset[int]) -> str:
    try:
        return _value(cell.cell_contents, around)
    except ValueError:  # it is filled later, as that of a function which is defined below
        return "empty"


@_described.register(CodeType)
def _code(code: CodeType, _around: frozenset[int] = frozenset()) -> str:
    """Describe bytecode, without what an edit elsewhere in the file changes: line numbers and the file's name."""
    known = _codes.get(code)
    if known is None:
        parts = (
            code.co_code,
            code.co_exceptiontable,
            [_value(constant) for constant in code.co_consts],
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        )
        known = _codes[code] = f"code {_digest(repr(parts))}"
    return known
