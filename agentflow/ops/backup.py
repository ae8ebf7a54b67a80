"""Backups of configuration and workflows: a .tar.gz with the SHA-256 of each file, on this machine or on S3.

It can be unpacked by `tar -xzf` too. Hidden files, such as `.env`, are left out: they hold what nobody else is to read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentflow.core.definition.yaml_text import load_source
from agentflow.core.errors import DefinitionError, InputError
from agentflow.models.s3 import is_s3
from agentflow.ops.archive import MOST_BYTES, damaged, fetched, packed, unpacked, write_file, write_new
from agentflow.ops.deployment.config import read_deployment


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
    archive = packed(contents, now)
    place = _named(to, now)
    if not is_s3(place) and Path(place).resolve().is_relative_to(config.parent.resolve()):
        raise InputError(f"{place} would be a part of the next backup.", fix=f"Put it outside of {config.parent}.")
    write_new(place, archive)
    if unpacked(again := fetched(place), place) != contents:
        damaged(place, "it is not what was written")
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
    contents = unpacked(fetched(source), source)
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
                write_file(old, target.read_bytes())
                replaced[name] = old.relative_to(folder).as_posix()
            else:
                new.append(name)
            write_file(target, contents[name])
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


def _free_name(path: Path) -> Path:
    """Return a name beside a file that nothing has yet."""
    old = path.with_name(f"{path.name}.before-restore")
    number = 1
    while old.exists():
        number += 1
        old = path.with_name(f"{path.name}.before-restore-{number}")
    return old
