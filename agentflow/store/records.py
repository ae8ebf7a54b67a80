"""Events, requests, replies and errors as JSON, and back.

They are written by their fields, whatever these are, so that a new field needs no change here; one that has its
default is left out. Reading leaves out fields that it does not know, and fills missing ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from types import UnionType
from typing import Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from agentflow.core.errors import AgentFlowError, PastError, message_of, type_name_of
from agentflow.core.events import (
    AttemptFinished,
    AttemptStarted,
    Event,
    NestedEvent,
    OrderTaken,
    ReplyRejected,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepMapped,
    StepPrinted,
    StepSkipped,
    StepStarted,
    ToolCalled,
)
from agentflow.core.model import Attempt, ToolCall
from agentflow.core.orders import Order
from agentflow.core.places import inner_prefix

Body: TypeAlias = Mapping[str, Any]  # an event as JSON

T = TypeVar("T")

_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        RunStarted,
        StepMapped,
        StepStarted,
        AttemptStarted,
        AttemptFinished,
        ReplyRejected,
        ToolCalled,
        StepPrinted,
        StepFinished,
        StepFailed,
        StepSkipped,
        StepCancelled,
        OrderTaken,
        RunFinished,
        NestedEvent,
    )
}


_ATOMS = frozenset({str, int, float, bool, type(None)})


def body_of(event: Event, zero: float) -> dict[str, Any]:
    """Return an event as JSON, without its output.

    Parameters
    ----------
    zero : the time, by the clock of the events, that they count from in the journal.
    """
    if type(event) is NestedEvent:
        inner = body_of(event.event, zero)
        return {"type": "NestedEvent", "step_id": event.step_id, "item": event.item, "event": inner}
    kind: Any = type(event)
    body: dict[str, Any] = {"type": kind.__name__}
    for name, default in _defaults(kind):
        value = getattr(event, name)
        if value is default or value is None or name == "output":
            continue
        if type(value) is str or type(value) is int:
            body[name] = value
        elif name == "at":
            body["at"] = (value - zero) * 1000
        else:
            body[name] = plain(value)
    return body


def bodies_of(text: str) -> Sequence[Body]:
    """Return the events of a row of the journal; an older AgentFlow has put each into a row of its own."""
    read: Body | Sequence[Body] = json.loads(text)
    return read if isinstance(read, list) else [cast("Body", read)]


def event_of(body: Body) -> Event | None:
    """Return the event that JSON is of, without its output; None for one of a newer AgentFlow."""
    kind = _KINDS.get(body["type"])
    if kind is None:
        return None
    values = {name: _READ.get(name, _as_it_is)(body.get(name)) for name in _names(kind)}
    event: Event = kind(**values)
    return event


def located(event: Event) -> tuple[str, Event]:
    """Return the innermost of nested events, and what the path of its step begins with."""
    prefix = ""
    while type(event) is NestedEvent:
        prefix += inner_prefix(event.step_id, event.item)
        event = event.event
    return prefix, event


def located_body(body: Body) -> tuple[str, Body]:
    """Return the innermost of nested events as JSON, and what the path of its step begins with."""
    prefix = ""
    while body["type"] == "NestedEvent":
        prefix += inner_prefix(body["step_id"], body.get("item"))
        body = body["event"]
    return prefix, body


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return a kind of value
    """Return a request, a reply, or a part of them as JSON has it; bytes by their hash and length only."""
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if kind is datetime:
        return value.isoformat()
    if kind is tuple:
        return [plain(item) for item in value]
    if fields := _defaults(kind):
        return {name: plain(part) for name, default in fields if (part := getattr(value, name)) is not default}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": memoryview(value).nbytes}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, BaseException):
        return error_record(value)
    return str(value)


@cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass; none for other classes."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


@cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a dataclass, each with its default, which need not be written; none for other classes."""
    return tuple((field.name, field.default) for field in dataclasses.fields(kind)) if _names(kind) else ()


def read(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return a dataclass with the fields that JSON has of it; what is missing has its default, or else is nothing."""
    values = {}
    for name, convert, missing in _readers(kind):  # type: ignore[arg-type]  # mypy takes a class for unhashable here
        if name in data:
            value = data[name]
            values[name] = value if value is None or convert is None else convert(value)
        elif missing is not None:
            values[name] = missing()
    return kind(**values)


Convert: TypeAlias = Callable[[Any], Any]


@cache
def _readers(kind: type) -> Sequence[tuple[str, Convert | None, Callable[[], Any] | None]]:
    """Return, for each field, what makes its value of JSON (None: nothing does), and its value where it is missing."""
    hints = get_type_hints(kind)
    readers = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        readers.append((field.name, _converter(hint), None if has_default else partial(_nothing, hint)))
    return readers


def _converter(hint: Any) -> Convert | None:
    """Return what makes a value of this type of JSON; None for what is in JSON as it is."""
    if hint in _FROM_TEXT:
        return _FROM_TEXT[hint]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return partial(read, hint)
    inner = [part for part in get_args(hint) if part is not type(None) and part is not Ellipsis]
    if len(inner) != 1:
        return None
    convert = _converter(inner[0])
    if get_origin(hint) in (UnionType, Union):
        return convert
    sequence: type = tuple if get_origin(hint) is tuple else list
    return sequence if convert is None else lambda parts: sequence(map(convert, parts))


_FROM_TEXT: Mapping[Any, Convert] = {datetime: datetime.fromisoformat, Decimal: Decimal}


def _nothing(hint: Any) -> Any:
    if type(None) in get_args(hint):
        return None
    if hint is datetime:
        return datetime.fromtimestamp(0, UTC)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, {})
    kind = get_origin(hint) or hint
    return kind() if kind in (str, int, float, bool, Decimal, tuple, list, dict) else None


def utc_text(moment: datetime) -> str:
    """Return a moment as the journal has it: in UTC, and in a form that sorts."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def clean(text: str) -> str:
    """Return a text that SQLite takes: without halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def error_record(error: BaseException) -> dict[str, str]:
    """Return an error as its kind and its words."""
    fix = error.fix if isinstance(error, AgentFlowError) else ""
    return {"type": type_name_of(error), "what": message_of(error).removesuffix(fix).rstrip(), "fix": fix}


def past_error(record: Mapping[str, str] | None) -> PastError | None:
    """Return the error that was kept."""
    return None if record is None else PastError(record["what"], fix=record["fix"], type_name=record["type"])


def _as_it_is(value: Any) -> Any:
    return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "at": lambda milliseconds: milliseconds / 1000,
    "started_at": datetime.fromisoformat,
    "step_ids": tuple,
    "error": past_error,
    "attempt": lambda data: read(Attempt, data),
    "call": lambda data: read(ToolCall, data),
    "event": event_of,
    "order": lambda data: read(Order, data),
    "refusal": lambda text: text or "",
    "resumed": bool,
    "most_usd": lambda usd: None if usd is None else Decimal(usd),
    "reason": lambda text: text or "",
    "again": lambda steps: tuple(steps or ()),
}
