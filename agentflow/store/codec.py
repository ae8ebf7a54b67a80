"""Values as the journal keeps them: JSON text for all but DataFrames, which are Arrow.

What JSON has no form for is an object with a tag, ``{"$": "tuple", "v": [...]}``; a dictionary that has a key "$" of
its own is tagged too. Reading builds nothing but the types named here and in `classes.py`; no stored text is ever run,
and no module imported because of it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AnyHttpUrl, AnyUrl, HttpUrl
from pydantic_core import PydanticSerializationError, TzInfo, to_json

from agentflow.core.errors import JournalError, described
from agentflow.core.journal import Encoded
from agentflow.store import classes, frames
from agentflow.store.classes import Classes, Unkeepable

JSON, FRAME = "json", "frame"
NOT_KEPT = "not kept"  # in the place of a kind: the data is why
ITEMS = "items"  # the output of a mapped step: the data is how many items it has, each with an output of its own

_LONGEST_BYTES = 500_000_000  # SQLite refuses a value of 1 GB
_DEEPEST = 100
_MOST_PARTS = 10_000_000  # a value that refers to one list from many places is written out in full
_LIGHT = 51  # what `encode_quickly` takes: each value weighs 1, and 1 more for each 2,000 characters

Node: TypeAlias = Any  # what JSON has a form for

_escaped = json.JSONEncoder(separators=(",", ":")).encode


def dumps(node: Node) -> str:
    """Return the JSON text of what JSON has a form for; pydantic's own writer takes a fifth of the time of Python's."""
    try:
        return to_json(node).decode()
    except PydanticSerializationError:  # half of a surrogate pair, which only stands in JSON escaped
        return _escaped(node)


def encode_quickly(output: Any) -> Encoded | None:
    """Encode a short text, a number, or a small list or dictionary of such; None for all others."""
    return Encoded(JSON, dumps(output)) if _weight(output, 4) <= _LIGHT else None


def _weight(value: Any, depth: int) -> float:
    kind = type(value)
    if kind is str:
        return 1 + len(value) // 2000
    if kind is int:
        return 1 if -(2**63) <= value < 2**63 else float("inf")
    if kind is bool or kind is float or value is None:
        return 1
    if depth and kind is list and len(value) < _LIGHT:
        weight: float = 1
        for item in value:
            weight += _weight(item, depth - 1)
        return weight
    if depth and kind is dict and len(value) < _LIGHT and "$" not in value:
        weight = 1
        for key, item in value.items():
            weight += _weight(item, depth - 1) + len(key) // 2000 if type(key) is str else float("inf")
        return weight
    return float("inf")


def encode(output: Any) -> Encoded:
    """Encode any value; `Encoded.problem` says why it cannot be kept. Never raises."""
    return _guarded(_encode, output)


def encode_text(value: Any) -> Encoded:
    """Encode a value as JSON text, DataFrames too. Never raises."""
    return _guarded(_encode_text, value)


def _guarded(way: Callable[[Any], Encoded], value: Any) -> Encoded:
    try:
        encoded = way(value)
    except Unkeepable as error:
        return Encoded(NOT_KEPT, None, str(error))
    except Exception as error:  # noqa: BLE001 - whatever a property or a comparison of a foreign object raises
        return Encoded(NOT_KEPT, None, f"reading it failed: {described(error)}")
    if encoded.data is not None and len(encoded.data) > _LONGEST_BYTES:
        return Encoded(NOT_KEPT, None, f"it is larger than {_LONGEST_BYTES // 1_000_000} MB")
    return encoded


def _encode(value: Any) -> Encoded:
    if frames.is_frame(value):
        return Encoded(FRAME, frames.to_arrow(value))
    return _encode_text(value)


def _encode_text(value: Any) -> Encoded:
    encoding = _Encoding()
    text = dumps(encoding.tree(value))
    if encoding.has_models and dumps(_Encoding().tree(_value(json.loads(text), encoding.classes.get))) != text:
        raise Unkeepable("a model in it does not validate to the same values again")
    return Encoded(JSON, text)


class _Encoding:
    """The encoding of one value; `classes` are those that were met."""

    def __init__(self) -> None:
        self.classes: dict[str, type] = {}
        self.has_models = False
        self._around: set[int] = set()
        self._parts = 0

    def tree(self, value: Any) -> Node:
        """Return a value in terms of JSON.

        Raises
        ------
        Unkeepable
            It cannot be kept.
        """
        kind = type(value)
        if kind is str or kind is bool or kind is float or value is None:
            return value
        if kind is int:  # the decimal digits of a huge number are refused by Python itself
            return value if value.bit_length() < 4096 else {"$": "int", "v": hex(value)}
        if scalar := _SCALARS.get(kind):
            return {"$": scalar[0], "v": scalar[1](value)}
        if kind is datetime or kind is time:
            return _moment(value)
        if id(value) in self._around:
            raise Unkeepable("it contains itself")
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise Unkeepable(f"it has more than {_MOST_PARTS:,} parts")
        self._around.add(id(value))
        if len(self._around) > _DEEPEST:
            raise Unkeepable(f"it is nested deeper than {_DEEPEST} levels")
        node = self._container(value, kind)
        self._around.discard(id(value))
        return node

    def _container(self, value: Any, kind: type) -> Node:  # noqa: PLR0911 - one return a kind of value
        if kind is list:
            return [self.tree(item) for item in value]
        if kind is dict:
            if "$" in value or any(type(key) is not str for key in value):
                return {"$": "dict", "v": [[self.tree(key), self.tree(item)] for key, item in value.items()]}
            return {key: self.tree(item) for key, item in value.items()}
        if kind is tuple:
            return {"$": "tuple", "v": [self.tree(item) for item in value]}
        if kind is set or kind is frozenset:  # sorted: equal sets may have different orders
            return {"$": kind.__name__, "v": sorted((self.tree(item) for item in value), key=dumps)}
        if frames.is_frame(value):
            return {"$": "frame", "v": base64.b64encode(frames.to_arrow(value)).decode()}
        node = classes.tree_of(value, self.tree)
        if node is None:
            raise Unkeepable(f"it is of type {kind.__name__}" if self._is_whole() else f"it holds a {kind.__name__}")
        self.classes[node["class"]] = kind
        self.has_models |= node["$"] == "model"
        return node

    def _is_whole(self) -> bool:
        return len(self._around) == 1


def decode(kind: str, data: str | bytes) -> Any:
    """Return a value that was kept.

    Raises
    ------
    JournalError
        It cannot be read.
    """
    try:
        if kind == FRAME and isinstance(data, bytes):
            return frames.from_arrow(data)
        if kind == JSON:
            return _value(json.loads(data), classes.loaded_class)
    except JournalError:
        raise
    except Exception as error:  # whatever a damaged text, or a validator of a foreign class, raises
        raise JournalError(
            f"A kept value cannot be read: {described(error)}.",
            fix="It was written by another AgentFlow, or the file is damaged: run the step again.",
        ) from error
    raise JournalError(
        f"A kept value is of the unknown kind {kind!r}.", fix="A newer AgentFlow wrote it: upgrade agentflow-bedrock."
    )


def _value(node: Node, find: Classes) -> Any:  # noqa: PLR0911 - one return a kind of node
    """Return the value of a tree; `find` gives the class of a name, or None."""
    if type(node) is list:
        return [_value(item, find) for item in node]
    if type(node) is not dict:
        return node
    tag = node.get("$")
    if tag is None:
        return {key: _value(item, find) for key, item in node.items()}
    if read_text := _READ.get(tag):
        return read_text(node["v"])
    if tag in _BUILD:
        items = _value(node["v"], find)
        try:
            return _BUILD[tag](items)
        except TypeError:  # a member's class is not loaded, and the plain dictionary in its place cannot be hashed
            return items
    if tag in ("datetime", "time"):
        return _read_moment(node)
    return classes.value_of(node, lambda child: _value(child, find), find)


def _moment(value: datetime | time) -> Node:
    node: dict[str, Any] = {"$": type(value).__name__, "v": value.replace(tzinfo=None, fold=0).isoformat()}
    if value.fold:
        node["fold"] = value.fold
    zone = value.tzinfo
    if type(zone) is ZoneInfo and zone.key:
        node["zone"] = zone.key
    elif isinstance(zone, timezone | TzInfo):
        node["offset"] = _duration(zone.utcoffset(None))
    elif zone is not None:
        raise Unkeepable(f"it has a time zone of type {type(zone).__name__}")
    return node


def _read_moment(node: Mapping[str, Any]) -> datetime | time:
    kind = datetime if node["$"] == "datetime" else time
    zone: tzinfo | None = None
    if "zone" in node:
        zone = ZoneInfo(node["zone"])
    elif "offset" in node:
        zone = timezone(timedelta(*node["offset"]))
    return kind.fromisoformat(node["v"]).replace(tzinfo=zone, fold=node.get("fold", 0))


def _duration(value: timedelta | None) -> list[int]:
    value = value or timedelta()
    return [value.days, value.seconds, value.microseconds]


def _windows_path(path: PureWindowsPath) -> Node:
    r"""Give the text that is read as this path: of `\\host\` Python 3.11 prints one separator more than it reads."""
    text = str(path)
    return text if type(path)(text) == path else text[:-1]


_SCALARS: Mapping[type, tuple[str, Callable[[Any], Node]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    date: ("date", date.isoformat),
    timedelta: ("timedelta", _duration),
    Decimal: ("Decimal", str),
    UUID: ("UUID", str),
    **{kind: (kind.__name__, str) for kind in (PosixPath, PurePosixPath)},
    **{kind: (kind.__name__, _windows_path) for kind in (WindowsPath, PureWindowsPath)},
    **{kind: (kind.__name__, str) for kind in (AnyUrl, AnyHttpUrl, HttpUrl)},
}

_READ: Mapping[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "bytes": base64.b64decode,
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "UUID": UUID,
    "PosixPath": PosixPath if os.name == "posix" else PurePosixPath,
    "WindowsPath": WindowsPath if os.name == "nt" else PureWindowsPath,
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    "AnyUrl": AnyUrl,
    "AnyHttpUrl": AnyHttpUrl,
    "HttpUrl": HttpUrl,
    "frame": lambda text: frames.from_arrow(base64.b64decode(text)),
}

_BUILD: Mapping[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}
