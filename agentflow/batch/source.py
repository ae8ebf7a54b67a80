"""The rows of a job, in chunks: a DataFrame, or a Parquet, CSV or JSON Lines file; memory does not grow with the rows.

Every source gives Arrow tables of one schema, `CHUNK_ROWS` rows each, as often as it is asked. The index of a DataFrame
is a column of them, as pandas writes it; the rows of a file are numbered from 0.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentflow.core.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from agentflow.batch.files import FileSource

CHUNK_ROWS = 1_000
INDEX = "__index_level_0__"  # pandas' own name for an index without one
# What Arrow raises where a value does not fit: its own errors are kinds of these.
UNFIT = (ValueError, TypeError, OverflowError, NotImplementedError)


class Source(Protocol):
    """Where rows come from.

    Attributes
    ----------
    label : what to call it in a message.
    is_text : whether its numbers are text that looks like it, so that another row can make text of them all.
    missing_fix : what to do about a row that lacks a value.
    """

    label: str
    is_text: bool
    missing_fix: str

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
    from agentflow.batch.lines import Csv, JsonLines
    from agentflow.batch.parquet import Parquet

    kinds: dict[str, type[FileSource]] = {".parquet": Parquet}
    kinds |= dict.fromkeys((".csv", ".csv.gz"), Csv)
    kinds |= dict.fromkeys((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"), JsonLines)
    path = Path(rows).expanduser()
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a folder.",
            fix="Give a file; pandas.read_parquet(FOLDER).to_parquet(FILE) makes one of a folder of Parquet files.",
        )
    kind = next((kind for ending, kind in kinds.items() if path.name.lower().endswith(ending)), None)
    if kind is None:
        raise InputError(
            f"{path.name!r} is of no kind that can be read{nearest(path.suffix, kinds)}.",
            fix="Give a .parquet, .csv or .jsonl file.",
        )
    if not path.exists():
        near = nearest(path.name, [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise InputError(f"There is no file {str(path)!r}{near}.", fix="Check the path.")
    return kind(path)


def check_names(label: str, names: Sequence[str]) -> None:
    """Raise an `InputError` where two columns have one name."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two columns of {label} have the name {twice!r}.", fix="Rename one of them.")


def check_keepable(source: Source) -> None:
    """Raise an `InputError` where the output, which is Parquet, cannot hold a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for field in source.schema:
        try:
            pq.write_table(pa.schema([field]).empty_table(), pa.BufferOutputStream())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"Column {field.name!r} of {source.label} cannot be kept in Parquet: {error}",
                fix="Write it as text, or leave it out.",
            ) from error


def array_of(name: str, values: Sequence[Any], label: str, where: Callable[[int], str]) -> pa.Array:
    """Return a column.

    Parameters
    ----------
    name, label : of the column, and of what it is in.
    where : position -> what to call that row.

    Raises
    ------
    InputError
        A value is not like those before it, or of no type that a column has.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=True)
    except UNFIT as error:
        row = first_bad(len(values), lambda rows: pa.array(values[:rows], from_pandas=True))
        first = next((type(value) for value in values if pd.isna(value) is not True), None)
        if isinstance(values[row], first or object):
            raise misfit(name, label, where(row), error) from error
        raise mixed(name, label, str(first and first.__name__), where(row), type(values[row]).__name__) from error


def first_bad(rows: int, convert: Callable[[int], object]) -> int:
    """Return the position of the first value that does not fit those before it.

    Parameters
    ----------
    convert : raises what Arrow does where the first so many rows have one.
    """

    def fails(count: int) -> bool:
        try:
            convert(count)
        except UNFIT:
            return True
        return False

    return bisect_left(range(1, rows + 1), True, key=fails)


def mixed(column: str, label: str, first: str, where: str, other: str) -> InputError:
    """Return what says that a column has values of two types."""
    return InputError(
        f"Column {column!r} of {label} mixes types: {first} first, and in {where} {other}.",
        fix="Make its values alike, for example all text (in a frame with .astype(str)).",
    )


def misfit(column: str, label: str, where: str, error: Exception) -> InputError:
    """Return what says that a value fits no column."""
    return InputError(
        f"Column {column!r} of {label} has a value in {where} that a column cannot hold: {error}.",
        fix="Write it as text, or leave it out.",
    )


class _Frame:
    label = "the DataFrame"
    is_text = False
    missing_fix = "Drop such rows first (frame.dropna), or give them a value (frame.fillna)."

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        if frame.columns.nlevels > 1:
            raise InputError(
                f"The columns of the DataFrame have {frame.columns.nlevels} levels.",
                fix="Give each one name first: frame.columns = ['_'.join(map(str, names)) for names in frame.columns].",
            )
        if not frame.index.is_unique:
            twice = int(frame.index.duplicated().argmax())
            raise InputError(
                f"The index of the DataFrame has {self._index(twice)} more than once, which tells no rows apart.",
                fix="Call frame.reset_index(drop=True) first.",
            )
        check_names(self.label, [str(name) for name in frame.columns])
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
        return f"row {self._index(row)}"

    def _index(self, row: int) -> str:
        """Return a label of the index as people write it: without the types of numpy."""
        label = self._frame.index[row]
        return repr(label.item() if hasattr(label, "item") else label)

    def _converted(self, frame: pd.DataFrame, schema: pa.Schema | None = None) -> pa.Table:
        import pyarrow as pa

        named = frame.rename(columns=str)
        try:
            return pa.Table.from_pandas(named, schema=schema, preserve_index=True, nthreads=1)
        except UNFIT:
            for name in named.columns:
                self._check(name, named[name])
            for level, labels in named.index.to_frame(index=False).items():
                self._check_index(level, labels)
            raise

    def _check(self, name: str, column: pd.Series[Any]) -> None:
        """Raise an `InputError` where a column is none of Arrow's."""
        import pyarrow as pa

        try:
            pa.array(column, from_pandas=True)
        except UNFIT as error:
            array_of(name, column.tolist(), self.label, self.where)
            raise InputError(
                f"Column {name!r} of {self.label} is of the type {column.dtype}, which Parquet has not: {error}.",
                fix=f"Make it another first, for example frame[{name!r}] = frame[{name!r}].astype(object).",
            ) from error

    def _check_index(self, level: Hashable, labels: pd.Series[Any]) -> None:
        import pyarrow as pa

        try:
            pa.array(labels, from_pandas=True)
        except UNFIT as error:
            raise InputError(
                f"The index of the DataFrame (level {level}) mixes types: {error}.",
                fix="Call frame.reset_index(drop=True) first.",
            ) from error
