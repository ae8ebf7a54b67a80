"""The rows of a job, in chunks: a DataFrame, or a Parquet, CSV or JSON Lines file; memory does not grow with the rows.

Every source gives Arrow tables of one schema, `CHUNK_ROWS` rows each, as often as it is asked. The index of a DataFrame
is a column of them, as pandas writes it; the rows of a file are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentflow.core.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CHUNK_ROWS = 1_000
INDEX = "__index_level_0__"  # pandas' own name for an index without one


class Source(Protocol):
    """Where rows come from.

    Attributes
    ----------
    label : what to call it in a message.
    """

    label: str

    @property
    def schema(self) -> pa.Schema:
        """The columns, the index among them. Blocks: a file may have to be read for them."""

    def chunks(self) -> Iterator[pa.Table]:
        """Return the rows from the first one on. Blocks.

        Raises
        ------
        InputError
            They cannot be read; the message names the row and the column where there is one.
        """

    def where(self, row: int) -> str:
        """Return what to call a row, counted from 0, in a message."""


def open_source(rows: pd.DataFrame | Path | str) -> Source:
    """Return the source of a DataFrame, or of a file by its ending.

    Raises
    ------
    InputError
        It is of no kind that can be read, or is not there.
    """
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        return _Frame(rows)  # type: ignore[arg-type]  # a DataFrame, by what it can do
    if not isinstance(rows, Path | str):
        raise InputError(
            f"Rows of type {type(rows).__name__} cannot be read.", fix="Give a DataFrame or the path of a file."
        )
    from agentflow.batch.files import KINDS

    path = Path(rows).expanduser()
    if (kind := KINDS.get(path.suffix.lower())) is None:
        raise InputError(
            f"{path.name!r} is of no kind that can be read{nearest(path.suffix, KINDS)}.",
            fix="Give a .parquet, .csv or .jsonl file.",
        )
    if not path.exists():
        near = nearest(path.name, [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise InputError(f"There is no file {str(path)!r}{near}.", fix="Check the path.")
    return kind(path)


class _Frame:
    label = "the DataFrame"

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        if not frame.index.is_unique:
            twice = frame.index[frame.index.duplicated()][0]
            raise InputError(
                f"The index of the DataFrame has {twice!r} more than once, so its rows cannot be told apart.",
                fix="Call frame.reset_index(drop=True) first.",
            )
        names = [str(name) for name in frame.columns]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"The DataFrame has the column {twice!r} more than once.", fix="Rename one of them.")
        self._schema: pa.Schema | None = None

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            self._schema = self._converted(self._frame).schema
        return self._schema

    def chunks(self) -> Iterator[pa.Table]:
        schema = self.schema
        for start in range(0, len(self._frame), CHUNK_ROWS):
            yield self._converted(self._frame.iloc[start : start + CHUNK_ROWS], schema)

    def where(self, row: int) -> str:
        return f"row {self._frame.index[row]!r}"

    def _converted(self, frame: pd.DataFrame, schema: pa.Schema | None = None) -> pa.Table:
        import pyarrow as pa

        named = frame.rename(columns=str)
        try:
            return pa.Table.from_pandas(named, schema=schema, preserve_index=True, nthreads=1)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            for name in named.columns:
                self._check(name, named[name])
            raise

    def _check(self, name: str, column: pd.Series[Any]) -> None:
        """Raise an `InputError` that names the first value that is not like those before it."""
        import pyarrow as pa

        try:
            pa.array(column, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            values = [value for value in column if value is not None]
            first = type(values[0])
            other = next(
                (at for at, value in enumerate(column) if value is not None and not isinstance(value, first)), 0
            )
            raise InputError(
                f"The column {name!r} mixes types: {first.__name__} first, and in {self.where(other)} "
                f"{type(column.iloc[other]).__name__}.",
                fix=f"Make them alike, for example frame[{name!r}] = frame[{name!r}].astype(str).",
            ) from error
