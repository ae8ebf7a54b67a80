"""Backups of configuration and workflows: a .tar.gz with the SHA-256 of each file, on this machine or on S3.

It can be unpacked by `tar -xzf` too. Hidden files, such as `.env`, are left out: they hold what nobody else is to read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentflow import __version__
from agentflow.core.definition.yaml_text import load_source
from agentflow.core.errors import DefinitionError, InputError
from agentflow.models.s3 import is_s3, place_on_s3, s3_client, s3_errors_of
from agentflow.ops.deploy_config import read_deployment

MANIFEST = "agentflow-backup.json"
MOST_BYTES = 100_000_000  # of all files: configuration is small, and an archive that says otherwise is none of ours


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: Literal[1]
    created: str
    agentflow: str
    files: Mapping[str, _Entry]


@dataclass(frozen=True)
class Backup:
    """A backup that was written, and read again to compare the checksums.

    Attributes
    ----------
    place : path or URL.
    files : their names in it.
    left_out : hidden files of the configuration's folder.
    sha256 : of the archive.
    """

    place: str
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    sha256: str

    def __str__(self) -> str:
        left_out = f" Left out, as hidden files are: {', '.join(self.left_out)}." if self.left_out else ""
        return f"{len(self.files)} files are in {self.place}, read again and right (SHA-256 {self.sha256}).{left_out}"


@dataclass(frozen=True)
class Restored:
    """What was restored: names of files that were not there, that were the same already, and that were replaced.

    A replaced file is kept beside the new one, under the name that `replaced` has for it.
    """

    into: Path
    new: tuple[str, ...]
    same: tuple[str, ...]
    replaced: Mapping[str, str]

    def __str__(self) -> str:
        count = len(self.new) + len(self.same) + len(self.replaced)
        kept = "".join(f" The old {name} is now {old}." for name, old in self.replaced.items())
        return (
            f"{count} files are in {self.into}, as their checksums say: {len(self.new)} new, "
            f"{len(self.same)} unchanged, {len(self.replaced)} replaced.{kept}"
        )


def back_up(to: str, config: Path, workflows: Sequence[Path] = ()) -> Backup:
    """Write a backup and return what is in it.

    Parameters
    ----------
    to : a new file or a URL of S3; a folder, or a URL that ends in `/`, gets a file named by the time.
    config : the deployment's configuration. Its folder is saved with all that is in it, and the workflows that it names
        with those that are their steps. It need not be there, its folder has to be.
    workflows : more of them.

    Raises
    ------
    DefinitionError
        The configuration or a workflow cannot be read.
    InputError
        There is nothing to save, a file is there already, or the place cannot be written.
    """
    now = datetime.now(UTC)
    files, left_out = _found(config, workflows)
    root = Path(os.path.commonpath([config.parent.resolve().parent, *(file.parent for file in files)]))
    contents = {file.relative_to(root).as_posix(): _read(file) for file in files}
    if (size := sum(map(len, contents.values()))) > MOST_BYTES:
        raise InputError(f"The files have {size:,} bytes; a backup takes {MOST_BYTES:,}.", fix="Keep data elsewhere.")
    archive = _packed(contents, now)
    place = _named(to, now)
    if not is_s3(place) and Path(place).resolve().is_relative_to(config.parent.resolve()):
        raise InputError(f"{place} would be a part of the next backup.", fix=f"Put it outside of {config.parent}.")
    _write(place, archive)
    if _unpacked(again := _fetched(place), place) != contents:
        _damaged(place, "it is not what was written")
    return Backup(place, tuple(contents), tuple(left_out), hashlib.sha256(again).hexdigest())


def restore(source: str, into: Path) -> Restored:
    """Restore the files of a backup. All are checked before the first is written.

    Parameters
    ----------
    source : a path, or a URL of S3.
    into : a folder; it is made where it is not there.

    Raises
    ------
    InputError
        The backup is damaged or none of ours, or a file cannot be written.
    """
    contents = _unpacked(_fetched(source), source)
    folder = into.resolve()
    targets = {name: folder / name for name in contents}
    for name, target in targets.items():
        # A link in the folder could lead elsewhere.
        if not target.parent.resolve().is_relative_to(folder) or target.is_dir():
            raise InputError(f"{name} would not be written into {into}.", fix="Restore into an empty folder.")
    new, same, replaced = [], [], {}
    try:
        for name, target in targets.items():
            if target.exists() and target.read_bytes() == contents[name]:
                same.append(name)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                old = _free_name(target)
                _write_file(old, target.read_bytes())
                replaced[name] = old.relative_to(folder).as_posix()
            else:
                new.append(name)
            _write_file(target, contents[name])
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}.", fix="Then restore again.") from error
    return Restored(into, tuple(new), tuple(same), replaced)


def _found(config: Path, workflows: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return what is to be saved, sorted, and the hidden files that are not."""
    folder = config.parent.resolve()
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    hidden = {path for path in there if any(part.startswith(".") for part in path.relative_to(folder).parts)}
    named = [*(read_deployment(config).workflows if config.is_file() else ()), *workflows]
    nested = {file for workflow in named for file in _with_nested(workflow.resolve(), ())}
    files = sorted({*there} - hidden | nested)
    if not files:
        raise InputError(f"There is nothing to save in {folder}.", fix="Run it beside config/, or give --config FILE.")
    return files, [path.relative_to(folder.parent).as_posix() for path in sorted(hidden - nested)]


def _with_nested(workflow: Path, within: tuple[Path, ...]) -> Iterator[Path]:
    """Give a workflow's file, and the files of the workflows that are its steps."""
    if workflow in within:
        return
    try:
        data, _ = load_source(workflow)
    except DefinitionError as error:
        raise DefinitionError(f"The workflow {workflow} cannot be read: {error}") from error
    yield workflow
    for name in _names_of_workflows(data):
        yield from _with_nested((workflow.parent / name).resolve(), (*within, workflow))


def _names_of_workflows(data: Any) -> Iterator[str]:
    steps = data.get("steps") if isinstance(data, Mapping) else None
    for step in steps.values() if isinstance(steps, Mapping) else ():
        inner = step.get("workflow") if isinstance(step, Mapping) else None
        if isinstance(inner, str):
            yield inner
        else:
            yield from _names_of_workflows(inner)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.", fix="Check its rights.") from error


def _named(to: str, now: datetime) -> str:
    """Return the place of a backup, with a name where none was given."""
    name = f"agentflow-config-{now:%Y%m%d-%H%M%S}.tar.gz"
    if is_s3(to):
        is_bucket = "/" not in to.removeprefix("s3://")
        return f"{to.rstrip('/')}/{name}" if to.endswith("/") or is_bucket else to
    return str(Path(to) / name) if Path(to).is_dir() or to.endswith("/") else to


def _packed(contents: Mapping[str, bytes], now: datetime) -> bytes:
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    created = now.isoformat(timespec="seconds")
    manifest = {"format": 1, "created": created, "agentflow": __version__, "files": entries}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **contents}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), int(now.timestamp()), 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _unpacked(archive: bytes, place: str) -> dict[str, bytes]:
    """Return the files of an archive by their names, after all checks. Nothing in it is trusted."""
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(io.BytesIO(archive)) as packed:
            plain = packed.read(2 * MOST_BYTES)
        if len(plain) == 2 * MOST_BYTES:
            _damaged(place, "it is larger than any backup")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse() or not _stays_inside(member.name) or member.name in contents:
                    _damaged(place, f"it has {member.name!r}, which is no plain file inside of it")
                content = tar.extractfile(member)
                contents[member.name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError, OverflowError, ValueError) as error:
        _damaged(place, f"it cannot be unpacked ({error})", error)
    if (text := contents.pop(MANIFEST, None)) is None:
        _damaged(place, f"it has no {MANIFEST}, which each backup of AgentFlow has")
    try:
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as error:
        _damaged(place, f"its {MANIFEST} cannot be read", error)
    if odd := sorted(contents.keys() ^ manifest.files.keys()):
        _damaged(place, f"its {MANIFEST} and what is in it differ: {', '.join(odd)}")
    for name, entry in manifest.files.items():
        if hashlib.sha256(contents[name]).hexdigest() != entry.sha256:
            _damaged(place, f"{name} is not what its checksum says")
    return contents


def _damaged(place: str, why: str, cause: Exception | None = None) -> NoReturn:
    raise InputError(f"{place} is no backup that can be used: {why}.", fix="Take another one.") from cause


def _stays_inside(name: str) -> bool:
    """Return whether a name leads to a place inside the folder that it is restored into, on any system."""
    path = PurePosixPath(name)
    is_plain = not path.is_absolute() and ".." not in path.parts and str(path) == name
    return is_plain and name.isprintable() and not any(character in name for character in "\\:")


def _fetched(place: str) -> bytes:
    """Return the bytes of a file, or of an object on S3."""
    if is_s3(place):
        bucket, key = place_on_s3(place)
        with s3_errors_of(place):
            body = s3_client().get_object(Bucket=bucket, Key=key)["Body"]
            data: bytes = body.read(MOST_BYTES + 1)
    else:
        try:
            with Path(place).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise InputError(f"{place} cannot be read: {error.strerror}.", fix="Check the path.") from error
    if len(data) > MOST_BYTES:
        _damaged(place, "it is larger than any backup")
    return data


def _write(place: str, archive: bytes) -> None:
    """Write an archive to a place that has none yet: an older backup is never overwritten."""
    if is_s3(place):
        from botocore.exceptions import ClientError

        bucket, key = place_on_s3(place)
        with s3_errors_of(place):
            try:
                s3_client().put_object(
                    Bucket=bucket, Key=key, Body=archive, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    raise _exists(place) from error
                raise
        return
    path = Path(place)
    if path.exists():
        raise _exists(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_file(path, archive)
    except OSError as error:
        raise InputError(f"{place} cannot be written: {error.strerror}.", fix="Give another path.") from error


def _exists(place: str) -> InputError:
    return InputError(f"{place} is there already, and backups are never overwritten.", fix="Give another name.")


def _write_file(path: Path, content: bytes) -> None:
    """Write a file that is there in full, or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _free_name(path: Path) -> Path:
    """Return a name beside a file that nothing has yet."""
    old = path.with_name(f"{path.name}.before-restore")
    number = 1
    while old.exists():
        number += 1
        old = path.with_name(f"{path.name}.before-restore-{number}")
    return old
