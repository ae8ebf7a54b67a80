"""Parquet, CSV and JSON Lines files as sources of rows."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.batch.source import CHUNK_ROWS, INDEX
from agentflow.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERED = {
    "index_columns": [INDEX],
    "columns": [
        {"name": None, "field_name": INDEX, "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
    ],
    "column_indexes": [],
}


class FileSource(ABC):
    """What the files have in common: the rows are numbered, and cut into chunks of one length and one schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = path.name

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all rows: the whole file is read where it does not say them itself."""
        import pyarrow as pa

        columns = self._columns().append(pa.field(INDEX, pa.int64()))
        return columns.with_metadata({b"pandas": json.dumps(_NUMBERED).encode()})

    def chunks(self) -> Iterator[pa.Table]:
        """Return the rows from the first one on; see `Source`."""
        import pyarrow as pa

        schema, first = self.schema, 0
        for table in _cut(self._read()):
            index = pa.array(range(first, first + len(table)), pa.int64())
            yield _conformed(table.append_column(INDEX, index), schema)
            first += len(table)

    def where(self, row: int) -> str:
        """Return what to call a row in a message."""
        return f"row {row}"

    @abstractmethod
    def _read(self) -> Iterator[pa.Table]:
        """Return the rows in pieces of any length, each with the types that it seems to have."""

    def _columns(self) -> pa.Schema:
        schemas: list[pa.Schema] = []
        for table in _cut(self._read()):
            if table.schema not in schemas:
                schemas.append(table.schema)
        return self._unified(schemas)

    def _unified(self, schemas: Sequence[pa.Schema]) -> pa.Schema:
        import pyarrow as pa

        try:
            return (
                pa.unify_schemas(list(schemas), promote_options="permissive").remove_metadata()
                if schemas
                else pa.schema([])
            )
        except pa.ArrowTypeError as error:
            raise InputError(f"{self.label}: a column mixes types: {error}.", fix="Make its values alike.") from error


class Parquet(FileSource):
    """A Parquet file."""

    def _columns(self) -> pa.Schema:
        import pyarrow.parquet as pq

        with self._readable():
            columns = pq.read_schema(self.path).remove_metadata()
        return columns.remove(columns.names.index(INDEX)) if INDEX in columns.names else columns

    def _read(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._readable(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                table = pa.Table.from_batches([batch])
                yield table.drop_columns([INDEX]) if INDEX in table.column_names else table

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.label} cannot be read as Parquet: {error}.", fix="Write the file anew.") from error


class Csv(FileSource):
    """A CSV file. A column that has numbers in one chunk and other text in another one is text."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._texts: set[str] = set()

    def _read(self) -> Iterator[pa.Table]:
        import pandas as pd
        import pyarrow as pa

        options: Any = {
            "chunksize": CHUNK_ROWS,
            "encoding": "utf-8-sig",
            "keep_default_na": False,  # "NA" and "null" are words; what is empty is missing
            "na_values": [""],
            "dtype": dict.fromkeys(self._texts, "str"),
        }
        try:
            with pd.read_csv(self.path, **options) as reader:
                for frame in reader:
                    yield pa.Table.from_pandas(frame, preserve_index=False, nthreads=1).replace_schema_metadata()
        except pd.errors.EmptyDataError:
            return
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.label} is not UTF-8 text: it has the byte {error.object[error.start]:#x}.",
                fix="Save it as UTF-8, for example with `iconv -f latin1 -t utf-8`.",
            ) from error
        except (pd.errors.ParserError, pa.ArrowInvalid) as error:
            raise InputError(f"{self.label} cannot be read as CSV: {error}.", fix="Correct that line.") from error

    def _unified(self, schemas: Sequence[pa.Schema]) -> pa.Schema:
        import pyarrow as pa

        texts = {field.name for schema in schemas for field in schema if _is_text(field.type)}
        self._texts = {
            name
            for name in texts
            if any(not _is_text(schema.field(name).type) for schema in schemas if name in schema.names)
        }
        as_text = [
            pa.schema([field.with_type(pa.string()) if field.name in texts else field for field in schema])
            for schema in schemas
        ]
        return super()._unified(as_text)


class JsonLines(FileSource):
    """A file with a JSON object in each line."""

    def _read(self) -> Iterator[pa.Table]:

        rows: list[dict[str, Any]] = []
        try:
            with self.path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, start=1):
                    if not line.strip():
                        continue
                    rows.append(self._row(number, line))
                    if len(rows) == CHUNK_ROWS:
                        yield self._table(rows)
                        rows = []
        except UnicodeDecodeError as error:
            raise InputError(f"{self.label} is not UTF-8 text: {error}.", fix="Save it as UTF-8.") from error
        if rows:
            yield self._table(rows)

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"Line {number} of {self.label} is no JSON: {error}.", fix="Correct that line.") from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {self.label} is no object.", fix='Write {"column": value, ...}.')
        return row

    def _table(self, rows: list[dict[str, Any]]) -> pa.Table:
        import pyarrow as pa

        names = list(dict.fromkeys(name for row in rows for name in row))
        try:
            return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"{self.label}: a column mixes types: {error}.", fix="Make its values alike.") from error


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


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


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a chunk with the columns and types of all of them."""
    import pyarrow as pa

    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


KINDS: Mapping[str, type[FileSource]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
}
