"""Archives that are checked: a .tar.gz with the SHA-256 of each file in it, on this machine or on S3.

They can be unpacked by `tar -xzf` too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentflow import __version__
from agentflow.core.errors import InputError
from agentflow.models.s3 import is_s3, place_on_s3, s3_client, s3_errors_of

MANIFEST = "agentflow-manifest.json"
MOST_BYTES = 100_000_000  # of all files: an archive that says otherwise is none of ours


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


def packed(contents: Mapping[str, bytes], now: datetime) -> bytes:
    """Return an archive of files by their names."""
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


def unpacked(archive: bytes, place: str) -> dict[str, bytes]:
    """Return the files of an archive by their names, after all checks. Nothing in it is trusted.

    Parameters
    ----------
    place : where it lies, for the error.

    Raises
    ------
    InputError
        It is damaged, or none of ours.
    """
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(io.BytesIO(archive)) as compressed:
            plain = compressed.read(2 * MOST_BYTES)
        if len(plain) == 2 * MOST_BYTES:
            damaged(place, "it is larger than any archive")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse() or not _stays_inside(member.name) or member.name in contents:
                    damaged(place, f"it has {member.name!r}, which is no plain file inside of it")
                content = tar.extractfile(member)
                contents[member.name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError, OverflowError, ValueError) as error:
        damaged(place, f"it cannot be unpacked ({error})", error)
    if (text := contents.pop(MANIFEST, None)) is None:
        damaged(place, f"it has no {MANIFEST}, which each archive of AgentFlow has")
    try:
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as error:
        damaged(place, f"its {MANIFEST} cannot be read", error)
    if odd := sorted(contents.keys() ^ manifest.files.keys()):
        damaged(place, f"its {MANIFEST} and what is in it differ: {', '.join(odd)}")
    for name, entry in manifest.files.items():
        if hashlib.sha256(contents[name]).hexdigest() != entry.sha256:
            damaged(place, f"{name} is not what its checksum says")
    return contents


def damaged(place: str, why: str, cause: Exception | None = None) -> NoReturn:
    """Raise that an archive cannot be used."""
    raise InputError(f"{place} is no archive that can be used: {why}.", fix="Take another one.") from cause


def _stays_inside(name: str) -> bool:
    """Return whether a name leads to a place inside the folder that it is restored into, on any system."""
    path = PurePosixPath(name)
    is_plain = not path.is_absolute() and ".." not in path.parts and str(path) == name
    return is_plain and name.isprintable() and not any(character in name for character in "\\:")


def fetched(place: str) -> bytes:
    """Return the bytes of a file, or of an object on S3.

    Raises
    ------
    InputError
        It cannot be read, or is larger than any archive.
    """
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
        damaged(place, "it is larger than any archive")
    return data


def write_new(place: str, archive: bytes) -> None:
    """Write an archive to a place that has none yet: an older one is never overwritten.

    Raises
    ------
    InputError
        There is one, or the place cannot be written.
    """
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
        write_file(path, archive)
    except OSError as error:
        raise InputError(f"{place} cannot be written: {error.strerror}.", fix="Give another path.") from error


def _exists(place: str) -> InputError:
    return InputError(f"{place} is there already, and archives are never overwritten.", fix="Give another name.")


def write_file(path: Path, content: bytes) -> None:
    """Write a file that is there in full, or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
