"""What the files that rows are read from have in common: pieces of any length become chunks of one schema."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.batch.source import CHUNK_ROWS, INDEX, UNFIT, check_names, first_bad, misfit

if TYPE_CHECKING:
    import pyarrow as pa


class FileSource(ABC):
    """A file with rows.

    Attributes
    ----------
    is_text, missing_fix : as in `Source`.
    """

    is_text = False
    missing_fix = "Give it one in the file, or leave the row out."

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = path.name

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all rows: the whole file is read where it does not say them itself."""
        schema = self._columns()
        check_names(self.label, schema.names)
        return schema

    def chunks(self) -> Iterator[pa.Table]:
        """Return the rows from the first one on; see `Source`."""
        schema, first = self.schema, 0
        for table in _cut(self._read()):
            yield self._conformed(table, schema, first)
            first += len(table)

    @abstractmethod
    def where(self, row: int) -> str:
        """Return what to call a row in a message."""

    @abstractmethod
    def _columns(self) -> pa.Schema:
        """Return the columns of all rows, the index among them."""

    @abstractmethod
    def _read(self) -> Iterator[pa.Table]:
        """Return the rows in pieces of any length, each with its index and with the types that it seems to have."""

    def _conformed(self, table: pa.Table, schema: pa.Schema, first: int) -> pa.Table:
        """Return a chunk with the columns and types of all of them."""
        import pyarrow as pa

        columns = []
        for field in schema:
            if field.name not in table.column_names:
                columns.append(pa.nulls(len(table), field.type))
                continue
            column = table[field.name]
            try:
                columns.append(column.cast(field.type))
            except UNFIT as error:
                row = first_bad(len(column), partial(_cast, column, field.type))
                raise misfit(field.name, self.label, self.where(first + row), error) from error
        return pa.table(columns, schema=schema)


def numbered_schema(columns: pa.Schema, name: str | None = None, about: Any = None) -> pa.Schema:
    """Return a schema with an index of numbers.

    Parameters
    ----------
    name : of the index.
    about : what pandas wrote of the columns.
    """
    import pyarrow as pa

    about = about or {"columns": []}
    index = {"name": name, "field_name": INDEX, "pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    pandas = {**about, "index_columns": [INDEX], "columns": [*about["columns"], index], "column_indexes": []}
    return columns.append(pa.field(INDEX, pa.int64())).with_metadata({b"pandas": json.dumps(pandas).encode()})


def with_numbers(tables: Iterator[pa.Table], start: int = 0, step: int = 1) -> Iterator[pa.Table]:
    """Give each table the numbers of its rows as a column."""
    import pyarrow as pa

    for table in tables:
        after = start + step * len(table)
        yield table.append_column(INDEX, pa.array(range(start, after, step), pa.int64()))
        start = after


def _cast(column: pa.ChunkedArray, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    return column[:rows].cast(kind)


def _cut(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Cut tables anew, into pieces of `CHUNK_ROWS` rows."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        while rows >= CHUNK_ROWS:
            whole = pa.concat_tables(waiting, promote_options="permissive")
            yield whole.slice(0, CHUNK_ROWS).combine_chunks()
            rows -= CHUNK_ROWS
            waiting = [whole.slice(CHUNK_ROWS)] if rows else []
    if rows:
        yield pa.concat_tables(waiting, promote_options="permissive").combine_chunks()
