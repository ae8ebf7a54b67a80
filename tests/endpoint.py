"""A local endpoint in a process of its own, as the tests see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
HAIKU_BARE = HAIKU.removeprefix("us.")
SERVE = [sys.executable, "-m", "agentflow", "local", "serve"]


@dataclass
class Endpoint:
    """A running endpoint."""

    process: subprocess.Popen[str]
    first_line: str

    @property
    def url(self) -> str:
        return next(word for word in self.first_line.split() if word.startswith("http://"))

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @cached_property
    def client(self) -> Any:
        return self.new_client()

    def new_client(self, *, connections: int = 10) -> Any:
        return boto3.client(
            "bedrock-runtime",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=connections),
        )

    def say(self, text: str, **more: Any) -> Any:
        """Call Converse with one user message."""
        return self.client.converse(**{"modelId": HAIKU, "messages": user(text), **more})

    def stats(self) -> Any:
        return self.get("/_stats")

    def follow(self, **script: Any) -> None:
        """Give the scripted model another script."""
        self.get("/_config", json.dumps({"script": script}).encode())

    def get(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, data=body, timeout=10) as response:
            return json.load(response)


def user(text: str) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def text_of(response: Mapping[str, Any]) -> str:
    text: str = response["output"]["message"]["content"][0]["text"]
    return text


@contextmanager
def running(*arguments: str, stderr: int | None = None, **environment: str) -> Iterator[Endpoint]:
    """Run `agentflow local serve` until the end of the block."""
    with subprocess.Popen(
        [*SERVE, *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Endpoint(process, process.stdout.readline())
        finally:
            process.terminate()
            process.wait(10)
