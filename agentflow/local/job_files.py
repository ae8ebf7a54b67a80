"""The files of model invocation jobs in S3: JSON lines in, results and a manifest out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ENDING = ".jsonl"


class WrongInputError(Exception):
    """The input of a job cannot be used; the message is the job's."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of an input file."""

    file: str  # its name, without the folder
    record_id: str
    model_input: Mapping[str, Any]


class JobFiles:
    """The buckets that jobs read and write, by boto3.

    Parameters
    ----------
    s3_url : str, optional
        The S3 endpoint; None for the one that boto3 finds, which is Amazon's unless ``AWS_ENDPOINT_URL_S3`` names
        another. An endpoint on this machine is sent made-up keys, any other those that boto3 finds.
    """

    def __init__(self, s3_url: str | None) -> None:
        self._s3_url = s3_url

    def read(self, uri: str, region: str) -> Sequence[Record]:
        """Return the records of a ``.jsonl`` file, or of all such files in a folder.

        Raises
        ------
        WrongInputError
            There is no such file, or a line is no record.
        """
        bucket, key = _place(uri)
        client = self._client(region)
        keys = [key] if key.endswith(_ENDING) else _keys(client, bucket, key)
        if not keys:
            raise WrongInputError(f"There is no file that ends in {_ENDING} at {uri}.")
        records: list[Record] = []
        for name in keys:
            text = client.get_object(Bucket=bucket, Key=name)["Body"].read().decode()
            records += _records(name.rpartition("/")[2], text)
        return records

    def write(self, uri: str, name: str, lines: Sequence[Mapping[str, Any]], region: str) -> None:
        """Write JSON lines to a file in a folder."""
        bucket, prefix = _place(uri)
        key = "/".join(filter(None, (prefix.rstrip("/"), name)))
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        self._client(region).put_object(Bucket=bucket, Key=key, Body=body.encode())

    def _client(self, region: str) -> Any:
        import boto3

        own = self._s3_url is not None and urlsplit(self._s3_url).hostname in _LOOPBACK
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if own else {}
        return boto3.Session().client("s3", region_name=region, endpoint_url=self._s3_url, **keys)


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _keys(client: Any, bucket: str, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ()) if entry["Key"].endswith(_ENDING)]


def _records(file: str, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield Record(file, str(record.get("recordId") or f"CALL{number:07}"), dict(record["modelInput"]))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            message = f"Line {number} of {file} is not a JSON object with the member modelInput."
            raise WrongInputError(message) from error
