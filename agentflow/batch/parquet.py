"""Parquet files as sources of rows: the index and the types that pandas wrote are kept, as for a DataFrame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentflow.batch.files import FileSource, numbered_schema, with_numbers
from agentflow.batch.source import CHUNK_ROWS, INDEX
from agentflow.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Parquet(FileSource):
    """A Parquet file."""

    def where(self, row: int) -> str:
        """Return what to call a row in a message."""
        return f"row {row} (counted from 0)"

    @cached_property
    def _stored(self) -> pa.Schema:
        import pyarrow.parquet as pq

        with self._readable():
            return pq.read_schema(self.path)

    @property
    def _has_index(self) -> bool:
        """Return whether the index is among the columns; else the rows are numbered."""
        names = (self._stored.pandas_metadata or {}).get("index_columns", [])
        return bool(names) and all(name in self._stored.names for name in names)

    def _columns(self) -> pa.Schema:
        stored, about = self._stored, self._stored.pandas_metadata
        if self._has_index:
            pandas = {**about, "column_indexes": []}  # the names of the outputs are text, whatever those were
            return stored.with_metadata({b"pandas": json.dumps(pandas).encode()})
        columns = stored.remove(stored.names.index(INDEX)) if INDEX in stored.names else stored
        return numbered_schema(columns, self._range.get("name"), about)

    @property
    def _range(self) -> dict[str, Any]:
        """Return what pandas wrote of an index that is a range."""
        index = (self._stored.pandas_metadata or {}).get("index_columns", [])
        return index[0] if len(index) == 1 and isinstance(index[0], dict) else {}

    def _read(self) -> Iterator[pa.Table]:
        if self._has_index:
            return self._pieces()
        return with_numbers(self._pieces(), self._range.get("start", 0), self._range.get("step", 1))

    def _pieces(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._readable(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                table = pa.Table.from_batches([batch])
                yield table if self._has_index or INDEX not in table.column_names else table.drop_columns([INDEX])

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.label} cannot be read as Parquet: {error}.", fix="Write the file anew.") from error
