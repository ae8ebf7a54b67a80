"""Which column gives which input of the workflow, and what is checked before anything is paid."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentflow.batch.source import Source
from agentflow.core.errors import InputError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the inputs of each row's run come from.

    Attributes
    ----------
    columns : input -> column.
    constants : the inputs that are the same in every row.
    optional : the inputs that a row can do without.
    is_text : as in `Source`.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, Any]
    optional: frozenset[str]
    is_text: bool = False

    def rows(self, table: pa.Table) -> list[Row]:
        """Return the inputs of each row's run, in plain Python types: a time loses what is finer than a microsecond."""
        columns = {name: _to_microseconds(table[column]).to_pylist() for name, column in self.columns.items()}
        rows: list[Row] = [{} for _ in range(len(table))]
        for name, values in columns.items():
            for row, value in zip(rows, values, strict=True):
                row[name] = value
        if self.optional:
            rows = [
                {name: value for name, value in row.items() if value is not None or name not in self.optional}
                for row in rows
            ]
        return [{**row, **self.constants} for row in rows] if self.constants else rows

    def keys(self, rows: Sequence[Row]) -> list[str]:
        """Return what tells each row's inputs from all others; a number in text keeps its key whatever others are."""
        if self.is_text:
            rows = [{name: _text_of(value) for name, value in row.items()} for row in rows]
        return [hashlib.sha256(_canonical(row)).hexdigest()[:32] for row in rows]


def _to_microseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without nanoseconds, which Arrow gives as types of pandas that no journal keeps."""
    kind = _in_microseconds(column.type)
    return column if kind == column.type else column.cast(kind, safe=False)


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if kind == pa.duration("ns"):
        return pa.duration("us")
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)))
    return kind


def bind(
    inputs: Mapping[str, bool],
    columns: Sequence[str],
    mapping: Mapping[str, str],
    constants: Mapping[str, Any],
    *,
    is_text: bool,
) -> Binding:
    """Return the binding of a workflow's inputs: same names by themselves, others by `mapping` (input -> column).

    Parameters
    ----------
    inputs : of the workflow, each with whether it is required.
    is_text : as in `Source`.

    Raises
    ------
    InputError
        A required input has no column, or a name is no input or no column.
    """
    takes = ", ".join(inputs) or "nothing"
    for name in (*mapping, *constants):
        if name not in inputs:
            raise InputError(
                f"The workflow has no input {name!r}{nearest(name, inputs)}.",
                fix=f"It takes {takes}: correct the name.",
            )
    if twice := next((name for name in mapping if name in constants), None):
        raise InputError(f"{twice!r} is given a column and a value.", fix="Leave one out.")
    for name, column in mapping.items():
        if column not in columns:
            raise InputError(
                f"There is no column {column!r}{nearest(column, columns)}, which is to be the input {name!r}.",
                fix=f"The columns are {', '.join(columns)}.",
            )
    bound = {name: mapping.get(name, name) for name in inputs if name not in constants}
    missing = [name for name, column in bound.items() if column not in columns and inputs[name]]
    if missing:
        name = missing[0]
        raise InputError(
            f"There is no column {name!r}{nearest(name, columns)}, which the workflow needs as an input.",
            fix=f"The columns are {', '.join(columns)}: rename one, or say which (columns={{{name!r}: 'COLUMN'}}, "
            f"--column {name}=COLUMN).",
        )
    found = {name: column for name, column in bound.items() if column in columns}
    return Binding(found, dict(constants), frozenset(name for name in found if not inputs[name]), is_text)


def check(source: Source, binding: Binding, first: int, table: pa.Table) -> None:
    """Check the inputs of a chunk, whose first row has the number `first`.

    Raises
    ------
    InputError
        A value is missing where the workflow needs one.
    """
    import pyarrow.compute as pc

    for name, column in binding.columns.items():
        values = table[column]
        if name in binding.optional:
            continue
        missing = pc.is_null(values, nan_is_null=True)
        if pc.any(missing).as_py():
            row = first + pc.index(missing, True).as_py()
            raise InputError(
                f"Column {column!r} of {source.label} has no value in {source.where(row)}, and the workflow needs it.",
                fix=source.missing_fix,
            )


def content_of(table: pa.Table, binding: Binding) -> str:
    """Return what tells a chunk from others, quickly: other rows or columns differ in it, and some equal ones."""
    import pyarrow as pa

    digest = hashlib.sha256(_canonical({"columns": binding.columns, "constants": binding.constants}))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:  # with the types, and with the values of categories
        stream.write_table(table.combine_chunks())
    digest.update(sink.getvalue())
    return digest.hexdigest()[:32]


def _text_of(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.{sys.float_info.dig}g}"
    return str(value) if isinstance(value, int) else value


_json = json.JSONEncoder(sort_keys=True, ensure_ascii=True, default=repr, separators=(",", ":"))


def _canonical(row: Row) -> bytes:
    return _json.encode(row).encode()


def numbered(chunks: Iterator[pa.Table]) -> Iterator[tuple[int, int, pa.Table]]:
    """Return each chunk with its number and the number of its first row."""
    first = 0
    for number, table in enumerate(chunks):
        yield number, first, table
        first += len(table)
