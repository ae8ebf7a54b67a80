"""What a row's run gives: one flat record a row, and the Arrow columns of many.

A step's output is a column of its name; the fields of one that has any are columns such as ``classify.urgent``. Text,
numbers, times and truth values stay what they are, everything else is JSON text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from agentflow.core.errors import ModelCallError, message_of
from agentflow.core.outputs import NotKept
from agentflow.core.step_row import StepRow, StepStatus

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]
# Times stand for themselves, and instants, which know their time zone, in UTC; null: no row had a value yet.
Kind = Literal["bool", "int", "float", "str", "time", "instant", "date", "null"]

# What every row has beside its outputs.
ABOUT: Mapping[str, Kind] = {
    "status": "str",
    "error": "str",
    "stop_reason": "str",
    "attempts": "int",
    "latency_ms": "float",
    "input_tokens": "int",
    "output_tokens": "int",
    "cost_usd": "float",
    "cached": "bool",
    "run_id": "str",
    "item": "int",
}
_OWN_ENDS = {"end_turn", "stop_sequence", "tool_use"}  # why models stop that have said all they were asked for


def record_of(row: StepRow, run_id: str) -> Record:
    """Return what is known of one row's run."""
    record: Record = {
        "status": row.status.value,
        "error": message_of(root_of(row.error)) if row.error else None,
        "stop_reason": None,
        "attempts": len(row.attempts),
        "latency_ms": row.latency_ms,
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
        "cached": None,
        "run_id": run_id,
        "item": row.item,
    }
    if (usage := row.usage) is not None:  # it has asked models
        paid, cost_usd = row.paid, row.cost_usd
        record["latency_ms"] = sum(reply.latency_ms for reply in paid) if paid else row.latency_ms
        record["input_tokens"], record["output_tokens"] = usage.input_tokens, usage.output_tokens
        record["cost_usd"] = None if cost_usd is None else float(cost_usd)
        record["cached"] = row.cached
        record["stop_reason"] = _stop_reason(row)
    for step, output in _outputs(row).items():
        record.update(_flat(step, output))
    return record


def root_of(error: BaseException) -> BaseException:
    """Return what a run's failure goes back to, past the errors that only say where it happened."""
    while error.__cause__ is not None and not isinstance(error, ModelCallError):
        error = error.__cause__
    return error


def _outputs(row: StepRow) -> Mapping[str, Any]:
    output = row.output
    if row.status is StepStatus.OK and isinstance(output, Mapping):
        return output
    return dict(row.inner.outputs) if row.inner else {}


def _stop_reason(row: StepRow) -> str | None:
    """Return why a model ended its answer, of the first step whose answer did not come to its own end."""
    if row.own_replies and (own := row.own_replies[-1].stop_reason) not in _OWN_ENDS:
        return own
    inner = row.inner.rows.values() if row.inner else ()
    return next((reason for part in (*(row.items or ()), *inner) if (reason := _stop_reason(part))), None)


def _flat(step: str, output: Any) -> Record:
    """Return the columns of one step's output."""
    if type(output) in _KINDS:
        return {step: output}
    if isinstance(output, NotKept):
        return {step: None}
    if is_dataclass(output) and not isinstance(output, type):
        output = _fields_of(output)
    elif hasattr(output, "model_dump"):
        output = output.model_dump(mode="json")
    if isinstance(output, Mapping):
        return {_escaped(f"{step}.{name}"): _plain(value) for name, value in output.items()}
    return {step: _plain(output)}


def _plain(value: Any) -> Any:
    """Return a value that a column can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date):
        return value if value == value else None  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
    if isinstance(value, list | tuple | Mapping):
        return as_json(value)
    form = _json_form(value)
    return as_json(form) if isinstance(form, list | tuple | Mapping) else _plain(form)


def text_of(value: Any) -> str:
    """Return a value as text, in a column that mixes kinds; a whole number has no decimals, whatever was beside it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON text; what JSON has no form for is text in it."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_json_form)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, or a list that holds itself
        return str(value)


def _json_form(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return _fields_of(value)
    if type(value).__name__ == "datetime64":  # of nanoseconds, `tolist` would give a number
        value = value.astype("datetime64[us]")
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return value.tolist()
    return value.isoformat() if isinstance(value, date) else str(value)


def _fields_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}  # `asdict` copies, which may fail


def _escaped(text: str) -> str:
    """Return a text that Parquet takes: halves of surrogate pairs are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def kinds_of(records: Iterable[Record], known: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the kind of each column, those known before among them; a column that mixes kinds is text."""
    kinds: dict[str, Kind] = dict(known)
    for record in records:
        for name, value in record.items():
            before = kinds.setdefault(name, "null")
            if value is None:
                continue
            kind = _KINDS.get(type(value)) or _kind_of(value)
            if kind == "int" and not -_INTEGERS <= value < _INTEGERS:
                kind = "float" if abs(value) <= sys.float_info.max else "str"
            if before == "null":
                kinds[name] = kind
            elif before != kind:
                kinds[name] = "float" if {before, kind} == {"int", "float"} else "str"
    return kinds


_KINDS: Mapping[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
_INTEGERS = 2**63  # a column of integers holds those below
_EXACT = 2**53  # and one of floats every integer below


def _kind_of(value: Any) -> Kind:
    if isinstance(value, datetime):
        return "time" if value.tzinfo is None else "instant"
    if isinstance(value, date):
        return "date"
    return next((kind for base, kind in _KINDS.items() if isinstance(value, base)), "str")


def arrays(records: Sequence[Record], kinds: Mapping[str, Kind]) -> dict[str, pa.Array]:
    """Return the columns of some records."""
    import pyarrow as pa

    made = {}
    for name, kind in kinds.items():
        values = [record.get(name) for record in records]
        if kind == "str":
            values = [None if value is None else text_of(value) for value in values]
        elif kind == "float":  # of an integer that is none exactly, the nearest one
            values = [None if value is None else float(value) for value in values]
        try:
            made[name] = pa.array(values, arrow_type(kind))
        except UnicodeEncodeError:
            made[name] = pa.array([None if value is None else _escaped(value) for value in values], pa.string())
    return made


def arrow_type(kind: Kind) -> pa.DataType:
    """Return the Arrow type of a kind."""
    import pyarrow as pa

    return {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "str": pa.string(),
        "time": pa.timestamp("us"),
        "instant": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
        "null": pa.string(),
    }[kind]
