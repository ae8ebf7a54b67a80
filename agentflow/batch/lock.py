"""One process at a time works at a job, whose folder has a file that says which; so has its place on S3."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentflow.batch.folder import LOCK
from agentflow.core.errors import InputError
from agentflow.models.s3 import s3_errors_of
from agentflow.store.owner import FRESH, Owner, this_process

KEEP_SECONDS = FRESH.total_seconds() / 3  # how often S3 is told that the process is still there


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
        if _owner(file) == this_process():
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
            other, modified = _owner(file), _modified(file)
            if other is not None and other.is_alive(modified):
                raise _taken_by(other) from None
            if other is None and datetime.now(UTC) - modified < FRESH:
                break  # its process has made it, and not written it yet
            file.unlink(missing_ok=True)  # its process is gone
        else:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            return
    raise InputError(f"Another process works at the job of {str(file.parent)!r}.", fix="Wait for its end.")


def _taken_by(other: Owner) -> InputError:
    return InputError(
        f"Process {other.pid} on {other.host} works at this job already.", fix="Wait for its end, or end that process."
    )


def _owner(file: Path) -> Owner | None:
    try:
        return _read_owner(file.read_text(encoding="utf-8"))
    except OSError:
        return None


def _read_owner(text: str | bytes) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _modified(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:
        return datetime.now(UTC)


@contextmanager
def locked_on_s3(client: Any, bucket: str, key: str, place: str) -> Iterator[None]:
    """Keep other machines out of a job's place on S3 until the end of the block.

    Raises
    ------
    InputError
        Another process works there, or was there a moment ago; or the place cannot be used.
    """
    mine = json.dumps(asdict(this_process())).encode()
    with s3_errors_of(place):
        _take_on_s3(client, bucket, key, mine)
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(KEEP_SECONDS):
            with suppress(InputError), s3_errors_of(place):  # the next part that is written says what is wrong
                client.put_object(Bucket=bucket, Key=key, Body=mine)

    keeper = threading.Thread(target=keep_on, name="agentflow-lock", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        with suppress(InputError), s3_errors_of(place):  # others wait a little longer
            client.delete_object(Bucket=bucket, Key=key)


def _take_on_s3(client: Any, bucket: str, key: str, mine: bytes) -> None:
    from botocore.exceptions import ClientError

    for _ in range(2):
        try:
            client.put_object(Bucket=bucket, Key=key, Body=mine, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
        else:
            return
        with suppress(client.exceptions.NoSuchKey):
            found = client.get_object(Bucket=bucket, Key=key)
            other = _read_owner(found["Body"].read())
            if other is not None and other.is_alive(found["LastModified"]):
                raise _taken_by(other)
            client.delete_object(Bucket=bucket, Key=key)  # its process is gone
    raise InputError(f"Another process works at the job of s3://{bucket}/{key}.", fix="Wait for its end.")
