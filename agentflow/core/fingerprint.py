"""Values and code described as text that is the same in every process with this Python, and a hash of it.

Of a function it has the bytecode with its defaults and what its closure holds. Not part of it are the globals that a
function uses: they are looked up when it runs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
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

_DIGITS = 16
_PLAIN = frozenset({str, int, float, complex, bool, type(None), type(...)})

_codes: WeakKeyDictionary[CodeType, str] = WeakKeyDictionary()


def digest(text: str) -> str:
    """Return a short hash of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def described(value: Any, around: frozenset[int] = frozenset()) -> str:
    """Describe a value; `around` has the ids of those that it is part of: a function or a list can hold itself."""
    if type(value) in _PLAIN:
        return repr(value)
    return "itself" if id(value) in around else _by_kind(value, around | {id(value)})


@functools.singledispatch
def _by_kind(value: Any, around: frozenset[int]) -> str:
    return described_object(value, "__call__", around)


@_by_kind.register(type)
@_by_kind.register(BuiltinFunctionType)
def _by_path(value: Any, _around: frozenset[int]) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@_by_kind.register(str)
@_by_kind.register(int)
@_by_kind.register(float)
@_by_kind.register(Enum)
@_by_kind.register(date)
@_by_kind.register(time)
@_by_kind.register(timedelta)
@_by_kind.register(Decimal)
@_by_kind.register(UUID)
@_by_kind.register(PurePath)
def _by_text(value: Any, _around: frozenset[int]) -> str:
    return f"{_class(value)} {str(value)!r}"


@_by_kind.register(bytes)
@_by_kind.register(bytearray)
def _by_hash(value: bytes, _around: frozenset[int]) -> str:
    return f"bytes {hashlib.sha256(value).hexdigest()}"


@_by_kind.register(Mapping)
def _mapping(value: Mapping[Any, Any], around: frozenset[int]) -> str:
    return f"mapping {sorted((described(key, around), described(item, around)) for key, item in value.items())}"


@_by_kind.register(AbstractSet)
def _set(value: AbstractSet[Any], around: frozenset[int]) -> str:
    return f"set {sorted(described(item, around) for item in value)}"


@_by_kind.register(list)
@_by_kind.register(tuple)
def _sequence(value: Sequence[Any], around: frozenset[int]) -> str:
    return f"{_class(value)} {[described(item, around) for item in value]}"


@_by_kind.register(MethodType)
def _method(value: MethodType, around: frozenset[int]) -> str:
    return f"method {described(value.__self__, around)} {described(value.__func__, around)}"


@_by_kind.register(functools.partial)
def _partial(value: functools.partial[Any], around: frozenset[int]) -> str:
    return f"partial {described((value.func, value.args, value.keywords), around)}"


@_by_kind.register(type(functools.cache(len)))
def _cached(value: Any, around: frozenset[int]) -> str:
    return f"cached {described(value.__wrapped__, around)}"


def described_object(value: Any, method: str, around: frozenset[int] = frozenset()) -> str:
    """Describe an object: its class, the code that it runs, and its fields where the class declares them."""
    code = getattr(type(value), method, None)
    runs = _function(code, around) if isinstance(code, FunctionType) else ""
    fields: dict[str, Any] = {}
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
    return f"{_class(value)} {described(fields, around)} {runs}"


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


@_by_kind.register(FunctionType)
def _function(function: FunctionType, around: frozenset[int]) -> str:
    code = _code(function.__code__)
    if function.__defaults__ is None and function.__kwdefaults__ is None and function.__closure__ is None:
        return code
    held = [_cell(cell, around) for cell in function.__closure__ or ()]
    return f"{code} {described((function.__defaults__, function.__kwdefaults__), around)} {held}"


def _cell(cell: Any, around: frozenset[int]) -> str:
    try:
        return described(cell.cell_contents, around)
    except ValueError:  # it is filled later, as that of a function which is defined below
        return "empty"


@_by_kind.register(CodeType)
def _code(code: CodeType, _around: frozenset[int] = frozenset()) -> str:
    """Describe bytecode, without what an edit elsewhere in the file changes: line numbers and the file's name."""
    known = _codes.get(code)
    if known is None:
        parts = (
            code.co_code,
            code.co_exceptiontable,
            [described(constant) for constant in code.co_consts],
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        )
        known = _codes[code] = f"code {digest(repr(parts))}"
    return known
