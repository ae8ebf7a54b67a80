"""Input and output on S3: the input is fetched first, the output mirrored file by file, by boto3.

A job's folder on S3 has what the one on this machine has, the manifest and the rows of unfinished chunks among it, so
that another machine can go on. What it cannot know are the answers since the last checkpoint: at most those of
`job.CHECKPOINT_SECONDS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentflow.batch.folder import LOCK
from agentflow.batch.lock import locked_on_s3
from agentflow.batch.manifest import digest_of
from agentflow.batch.world import GOES_ON, JobStopped
from agentflow.core.errors import InputError
from agentflow.models.s3 import is_s3, place_on_s3, s3_client, s3_errors_of
from agentflow.utils.env import home_folder


@contextmanager
def local_copy(rows: Any) -> Iterator[Any]:
    """Give the rows as they are, or the copy of a file on S3, until the end of the block.

    Raises
    ------
    InputError
        The file cannot be fetched.
    """
    if not is_s3(rows):
        yield rows
        return
    bucket, key = place_on_s3(rows)
    with tempfile.TemporaryDirectory(prefix="agentflow-") as folder:
        copy = Path(folder) / Path(key).name
        with s3_errors_of(rows):
            s3_client().download_file(bucket, key, str(copy))
        yield copy


@contextmanager
def mirrored(out: Path | str) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Give the folder on this machine for an output, and what to tell each file that is written or deleted there.

    Raises
    ------
    InputError
        The output on S3 cannot be read.
    """
    if isinstance(out, Path):
        yield out, lambda _file: None
        return
    bucket, prefix = place_on_s3(out)
    folder = home_folder() / "jobs" / f"s3-{digest_of([out])}"
    folder.mkdir(parents=True, exist_ok=True)
    client = s3_client()

    def on_written(file: Path) -> None:
        key = f"{prefix}/{file.relative_to(folder).as_posix()}"
        try:
            with s3_errors_of(out):
                if file.exists():
                    client.upload_file(str(file), bucket, key)
                else:
                    client.delete_object(Bucket=bucket, Key=key)
        except InputError as error:
            raise JobStopped(f"The output cannot be written: {error.what}", fix=GOES_ON) from error

    with locked_on_s3(client, bucket, f"{prefix}/{LOCK}", out):
        with s3_errors_of(out):
            _fetch(client, bucket, prefix, folder)
        yield folder, on_written


def _fetch(client: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Make a folder what S3 has under a prefix; S3 is right where the two differ."""
    there: set[Path] = set()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", ()):
            file = folder / entry["Key"].removeprefix(f"{prefix}/")
            if folder not in file.resolve().parents or file.name == LOCK:
                continue
            there.add(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(file))
    for file in folder.rglob("*"):
        if file.is_file() and file not in there and file.name != LOCK:
            file.unlink()
