"""The folder of a job's output: Parquet parts, one a chunk, each replaced as a whole; the manifest; a lock.

`pandas.read_parquet(folder)` reads the parts that are there: names that begin with an underscore or a dot are none.
A part says in its schema which rows it has, by their keys, and whether that is all of its chunk.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.batch.manifest import Manifest
from agentflow.batch.outputs import ABOUT, Kind, Record, arrays, arrow_type, kinds_of, text_of
from agentflow.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "_job.json"
LOCK = "_lock"
EARLIER = "_earlier"  # parts of an input that has changed since, with the rows that stand in no other part
_META = b"agentflow"


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What a part says of itself.

    Attributes
    ----------
    keys : of its rows, in order.
    of : the keys of all rows of its chunk, as one.
    content : tells all columns of its chunk, with their types, from others.
    digest : of the workflow that gave the outputs.
    complete : whether all rows of the chunk are in it.
    failed : how many of them failed.
    """

    keys: list[str]
    of: str
    content: str
    digest: str
    complete: bool
    failed: int


class JobFolder:
    """The folder of one job.

    Parameters
    ----------
    path : made where it is not there.
    on_written : told each file that was written or is to be deleted elsewhere too, as where the job's output is on S3.
    """

    def __init__(self, path: Path, on_written: Callable[[Path], None] = lambda _path: None) -> None:
        self.path = path
        self._on_written = on_written
        self._lock = threading.Lock()

    def read_manifest(self) -> Manifest | None:
        """Return the manifest; None where the folder is new.

        Raises
        ------
        InputError
            The path is something else than the folder of a job.
        """
        other = f"{str(self.path)!r} is not the output of a job"
        fix = "Give another path for the output."
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{other}: it is a file.", fix=fix)
        file = self.path / MANIFEST
        try:
            return Manifest.from_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self.path.is_dir() and any(not entry.name.startswith((".", LOCK)) for entry in self.path.iterdir()):
                raise InputError(f"{other}: it has other files.", fix=fix) from None
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{other} that this version knows: {MANIFEST} has {error}.", fix=fix) from error

    def write_manifest(self, text: str) -> None:
        """Put a manifest in the place of the one before. Any thread may call it."""
        with self._lock:
            self._replace(self.path / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))

    def info(self, chunk: int) -> PartInfo | None:
        """Return what the part of a chunk says of itself; None where there is none, or none that can be read."""
        return _info(self._part(chunk))

    def records(self, chunk: int, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Record]]:
        """Return what a part knows of its rows, each with its key."""
        return _records(self._part(chunk), kinds)

    def write_part(
        self, chunk: int, rows: pa.Table, records: Sequence[Record], info: PartInfo, kinds: Mapping[str, Kind]
    ) -> None:
        """Write a part.

        Parameters
        ----------
        rows : the columns of the input, of those rows that are known.
        records : of the same rows.
        kinds : of the outputs' columns.
        """
        self._write(chunk, rows, arrays(records, _ordered(kinds)), info)

    def renew_inputs(self, chunk: int, rows: pa.Table, info: PartInfo, kinds: Mapping[str, Kind]) -> None:
        """Write a part anew with what the input has by now; parameters as for `write_part`."""
        import pyarrow.parquet as pq

        before = pq.read_table(self._part(chunk))
        outputs = {name: before[name] for name in _ordered(kinds) if name in before.column_names}
        self._write(chunk, rows, outputs, info)

    def _write(self, chunk: int, rows: pa.Table, outputs: Mapping[str, pa.Array], info: PartInfo) -> None:
        import pyarrow.parquet as pq

        table = rows
        for name, column in outputs.items():
            table = table.append_column(name, column)
        table = table.replace_schema_metadata({**(rows.schema.metadata or {}), **_noted(info)})
        self._replace(self._part(chunk), lambda path: pq.write_table(table, path))

    def drop_part(self, chunk: int) -> None:
        """Delete the part of a chunk, where there is one."""
        part = self._part(chunk)
        if part.exists():
            part.unlink()
            self._on_written(part)

    def conform(self, manifest: Manifest) -> None:
        """Give all parts the columns that the outputs have by now: `read_parquet` wants them to be alike."""
        import pyarrow.parquet as pq

        for part in self._parts():
            table = _conformed(pq.read_table(part), manifest.kinds)
            self._replace(part, lambda path, table=table: pq.write_table(table, path))  # type: ignore[misc]

    def write_aside(self, records: Mapping[str, Record], manifest: Manifest) -> None:
        """Keep what is known of rows, by their keys, for `earlier_records`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        info = PartInfo(list(records), "", "", manifest.digest, complete=False, failed=0)
        kinds = kinds_of(records.values(), manifest.kinds)
        table = pa.table(arrays(list(records.values()), kinds)).replace_schema_metadata(_noted(info))
        (self.path / EARLIER).mkdir(exist_ok=True)
        self._replace(self._next_aside(), lambda path: pq.write_table(table, path))

    def set_parts_aside(self) -> None:
        """Keep the parts of an input that has changed apart, for `earlier_records`."""
        (self.path / EARLIER).mkdir(exist_ok=True)
        for part in self._parts():
            aside = self._next_aside()
            part.replace(aside)
            self._on_written(part)
            self._on_written(aside)

    def _next_aside(self) -> Path:
        return self.path / EARLIER / f"part-{_last(self._parts_aside()) + 1:06}.parquet"

    def earlier_records(self, digest: str, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Record]]:
        """Return what the parts that were set aside know of rows, each with its key, where this workflow gave it."""
        for part in self._parts_aside():
            info = _info(part)
            if info is not None and info.digest == digest:
                yield from _records(part, kinds)

    def tidy_aside(self, digest: str) -> None:
        """Delete of what was set aside the rows that stand in other parts, or that another workflow gave."""
        import pyarrow.parquet as pq

        aside = self._parts_aside()
        seen = {key for part in (self._parts() if aside else ()) if (info := _info(part)) for key in info.keys}
        for part in aside:
            info = _info(part)
            of_now = info is not None and info.digest == digest
            left = [at for at, key in enumerate(info.keys) if key not in seen] if info and of_now else []
            if info and left:
                seen.update(info.keys)
            if info and 0 < len(left) < len(info.keys):
                rest = replace(info, keys=[info.keys[at] for at in left], complete=False)
                table = pq.read_table(part).take(left)
                table = table.replace_schema_metadata({**table.schema.metadata, **_noted(rest)})
                self._replace(part, lambda path, table=table: pq.write_table(table, path))  # type: ignore[misc]
            elif not left:
                part.unlink()
                self._on_written(part)

    def last_part(self) -> int:
        """Return the highest number of a part; -1 where there is none."""
        return _last(self._parts())

    def _part(self, chunk: int) -> Path:
        return self.path / f"part-{chunk:06}.parquet"

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob("part-*.parquet"))

    def _parts_aside(self) -> list[Path]:
        return sorted((self.path / EARLIER).glob("part-*.parquet"))

    def _replace(self, file: Path, write: Callable[[Path], object]) -> None:
        """Write a file beside its place, make it durable, and put it there in one go."""
        new = file.with_name(f".{file.name}.new")
        write(new)
        with new.open("rb+") as written:
            os.fsync(written.fileno())
        new.replace(file)
        self._on_written(file)


def _last(parts: Sequence[Path]) -> int:
    return int(parts[-1].stem.partition("-")[2]) if parts else -1


def _noted(info: PartInfo) -> dict[bytes, bytes]:
    return {_META: json.dumps(asdict(info)).encode()}


def _info(part: Path) -> PartInfo | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return PartInfo(**json.loads(pq.read_schema(part).metadata[_META]))
    except (FileNotFoundError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return None  # it is written anew


def _records(part: Path, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Record]]:
    import pyarrow.parquet as pq

    info, table = _info(part), pq.read_table(part)
    names = [name for name in kinds if name in table.column_names]
    return zip(info.keys if info else (), table.select(names).to_pylist(), strict=True)


def _ordered(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the columns in the order in which people want to see them: what the steps gave, then how that went."""
    about = {name: kind for name, kind in kinds.items() if name in ABOUT}
    return {name: kind for name, kind in kinds.items() if name not in about} | about


def _conformed(table: pa.Table, kinds: Mapping[str, Kind]) -> pa.Table:
    import pyarrow as pa

    inputs = [name for name in table.column_names if name not in kinds]
    made = table.select(inputs)
    for name, kind in _ordered(kinds).items():
        wanted = arrow_type(kind)
        if name not in table.column_names:
            column: Any = pa.nulls(len(table), wanted)
        elif table[name].type == wanted:
            column = table[name]
        elif kind == "str":
            values = [None if value is None else text_of(value) for value in table[name].to_pylist()]
            column = pa.array(values, wanted)
        else:
            column = table[name].cast(wanted, safe=False)  # of an integer that is no float exactly, the nearest one
        made = made.append_column(name, column)
    return made.replace_schema_metadata(table.schema.metadata)
