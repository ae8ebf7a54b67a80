"""One process at a time works at a job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from agentflow.batch.folder import LOCK
from agentflow.core.errors import InputError
from agentflow.store.owner import Owner, this_process


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a job's folder until the end of the block.

    Raises
    ------
    InputError
        Another process works there, or nobody can write there.
    """
    if folder.exists() and not folder.is_dir():
        yield  # whoever reads the manifest says so
        return
    is_new = not folder.exists()
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(file)
    except OSError as error:
        raise InputError(
            f"{str(folder)!r} cannot be written: {error.strerror}.", fix="Give another path for the output."
        ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # it is not empty: the job has begun
                folder.rmdir()


def keep(folder: Path) -> None:
    """Say that the process is still there, to those on other machines."""
    with suppress(OSError):
        os.utime(folder / LOCK)


def _take(file: Path) -> None:
    text = json.dumps(asdict(this_process()))
    for _ in range(2):
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            other = _owner(file)
            if other is not None and other.is_alive(_modified(file)):
                raise InputError(
                    f"Process {other.pid} on {other.host} works at this job already.",
                    fix="Wait for its end, or end that process.",
                ) from None
            file.unlink(missing_ok=True)  # its process is gone
        else:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            return
    raise InputError(f"Another process works at the job of {str(file.parent)!r}.", fix="Wait for its end.")


def _owner(file: Path) -> Owner | None:
    try:
        return Owner(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _modified(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:
        return datetime.now(UTC)
