"""Places on S3 (`s3://BUCKET/KEY`), by boto3 with the settings of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentflow.core.errors import InputError
from agentflow.models.transport import existing_profile
from agentflow.utils.env import setting


def is_s3(path: object) -> bool:
    """Return whether a path is one of S3."""
    return isinstance(path, str) and path.startswith("s3://")


def place_on_s3(url: str) -> tuple[str, str]:
    """Return bucket and key.

    Raises
    ------
    InputError
        The URL has none of both.
    """
    bucket, _, path = url.removeprefix("s3://").partition("/")  # a key may have `?` and `#`, so this is no URL
    key = path.strip("/")
    if not bucket or not key:
        raise InputError(f"{url!r} is no place on S3.", fix="Give s3://BUCKET/KEY.")
    return bucket, key


@contextmanager
def s3_errors_of(url: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into an `InputError` that names the place."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise InputError(f"{url} cannot be used: {error}.", fix="Check the name, and your rights for it.") from error


def s3_client() -> Any:
    """Return a new client."""
    import boto3

    profile = existing_profile(setting("AWS_PROFILE").value)
    return boto3.Session(profile_name=profile).client("s3", region_name=setting("AWS_REGION").value)
