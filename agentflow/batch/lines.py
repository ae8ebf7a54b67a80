"""CSV and JSON Lines files as sources of rows, also compressed by gzip; a row is named by its line in messages."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice, zip_longest
from typing import IO, TYPE_CHECKING, Any

from agentflow.batch.files import FileSource, numbered_schema, with_numbers
from agentflow.batch.source import CHUNK_ROWS, array_of, check_names, mixed
from agentflow.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Lines = list[tuple[int, Any]]  # each row with the number of the line in which it begins

csv.field_size_limit(2**31 - 1)  # a document may be longer than the 128 KiB that are Python's default

_GZIP, _UTF16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")


class LinesFile(FileSource):
    """What files of text have in common."""

    def where(self, row: int) -> str:
        """Return what to call a row in a message: the file is read up to it once more."""
        return f"line {next(islice(self._rows(), row, None))[0]}"

    @abstractmethod
    def _rows(self) -> Iterator[tuple[int, Any]]:
        """Return each row with the number of the line in which it begins."""

    @abstractmethod
    def _table(self, rows: Lines) -> pa.Table:
        """Return some rows as a table."""

    def _read(self) -> Iterator[pa.Table]:
        return with_numbers(self._pieces())

    def _pieces(self) -> Iterator[pa.Table]:
        rows = self._rows()
        while piece := list(islice(rows, CHUNK_ROWS)):
            yield self._table(piece)

    @contextmanager
    def _text(self) -> Iterator[IO[str]]:
        """Open the file."""
        try:
            if self.path.suffix.lower() == ".gz":
                with gzip.open(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                    yield file
            else:
                with self.path.open(encoding="utf-8-sig", newline="") as file:
                    yield file
        except UnicodeDecodeError as error:
            raise self._no_text() from error
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self.label} cannot be read: {error}.", fix="Write the file anew.") from error

    def _no_text(self) -> InputError:
        """Return what says in which line the file is no text: the decoder only knows how far it has read."""
        with gzip.open(self.path) if self.path.suffix.lower() == ".gz" else self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and line.startswith(_GZIP):
                    return InputError(f"{self.label} is compressed by gzip.", fix=f"Name it {self.label}.gz.")
                if number == 1 and line.startswith(_UTF16):
                    fix = "Save it as UTF-8, for example with `iconv -f utf-16 -t utf-8`."
                    return InputError(f"{self.label} is UTF-16 text.", fix=fix)
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    what = f"Line {number} of {self.label} is not UTF-8 text: it has the byte {line[error.start]:#x}."
                    break
        return InputError(what, fix="Save it as UTF-8, for example with `iconv -f latin1 -t utf-8`.")


class Csv(LinesFile):
    """A CSV file.

    A column is of numbers only where each of its values is a plain number: without zeros before it, a plus, an exponent
    or more digits than a number keeps; of truth values where each is True or False. Any other is the text of the file.
    """

    is_text = True

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        return islice(self._lines(), 1, None)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Return the header, then each row."""
        with self._text() as file:
            reader, line = csv.reader(file, strict=True), 1
            try:
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1
            except csv.Error as error:
                raise self._unreadable(f"the row of line {line} has a wrong quote ({error})") from error

    def _unreadable(self, why: str) -> InputError:
        fix = 'Correct that line: a value with a comma or a quote is written "so, with ""quotes""".'
        return InputError(f"{self.label} cannot be read as CSV: {why}.", fix=fix)

    @cached_property
    def _names(self) -> list[str]:
        _, names = next(self._lines(), (1, []))
        if len(names) == 1 and (other := next((mark for mark in ";\t" if mark in names[0]), None)):
            raise InputError(
                f"{self.label} has the one column {names[0]!r}: its values are separated by {other!r}.",
                fix="Write the file with commas.",
            )
        names = [name or f"Unnamed: {number}" for number, name in enumerate(names)]  # as pandas calls them
        check_names(self.label, names)
        return names

    def _columns(self) -> pa.Schema:
        import pyarrow as pa

        names = self._names
        kinds: dict[str, list[str]] = {}  # those that all values are of so far
        for table in self._pieces():
            for name in names:
                if values := table[name].drop_null().to_pylist() if kinds.get(name, _KINDS) else None:
                    kinds[name] = [kind for kind in kinds.get(name, _KINDS) if all(map(_KINDS[kind], values))]
        types = {name: pa.type_for_alias(next(iter(kinds.get(name, ())), "string")) for name in names}
        return numbered_schema(pa.schema(types))

    def _table(self, rows: Lines) -> pa.Table:
        import pyarrow as pa

        names = self._names
        for line, fields in rows:
            if len(fields) > len(names):
                raise self._unreadable(f"line {line} has {len(fields)} fields, and the header {len(names)}")
        columns = zip_longest(names, *(fields for _, fields in rows))  # what a row lacks at its end is missing
        return pa.table({name: pa.array([value or None for value in values], pa.string()) for name, *values in columns})


def _is_integer(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63


def _is_decimal(text: str) -> bool:
    return _DECIMAL.fullmatch(text) is not None and sum(map(str.isdigit, text)) <= sys.float_info.dig


_INTEGER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")

_KINDS: Mapping[str, Callable[[str], bool]] = {
    "int64": _is_integer,
    "double": _is_decimal,
    "bool": ("True", "False").__contains__,
}


class JsonLines(LinesFile):
    """A file with a JSON object in each line."""

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._text() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, self._row(number, line)

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"Line {number} of {self.label} is no JSON: {error}.", fix="Correct that line.") from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {self.label} is no object.", fix='Write {"column": value, ...}.')
        return row

    def _columns(self) -> pa.Schema:
        import pyarrow as pa

        known, first = pa.schema([]), 0
        for table in self._pieces():
            known = self._unified(known, table, first)
            first += len(table)
        return numbered_schema(known)

    def _unified(self, known: pa.Schema, table: pa.Table, first: int) -> pa.Schema:
        """Return the schema of what was read before and of a table, whose first row has the number `first`."""
        import pyarrow as pa

        try:
            return pa.unify_schemas([known, table.schema], promote_options="permissive")
        except pa.ArrowTypeError:
            for field in table.schema:
                if field.name not in known.names:
                    continue
                before = known.field(field.name)
                try:
                    pa.unify_schemas([pa.schema([before]), pa.schema([field])], promote_options="permissive")
                except pa.ArrowTypeError as error:
                    where = self.where(first + table[field.name].is_valid().index(True).as_py())
                    raise mixed(field.name, self.label, str(before.type), where, str(field.type)) from error
            raise

    def _table(self, rows: Lines) -> pa.Table:
        import pyarrow as pa

        names = list(dict.fromkeys(name for _, row in rows for name in row))
        columns = {
            name: array_of(
                name, [row.get(name) for _, row in rows], self.label, lambda position: f"line {rows[position][0]}"
            )
            for name in names
        }
        table = pa.table({"": pa.nulls(len(rows))}).select([])  # has as many rows, even where none has a column
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table
