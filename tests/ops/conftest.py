"""What the tests of operations share: the log of runs as lines, a client of the endpoint, moto in the place of AWS."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from agentflow import BedrockClient
from agentflow.core.readers import wait_for_readers
from agentflow.utils.logging import JsonFormatter
from tests.endpoint import Endpoint
from tests.ops.moto_server import reset, running_moto


class Log:
    """AgentFlow's log as JSON lines."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(JsonFormatter())
        logging.getLogger("agentflow").addHandler(handler)
        logging.getLogger("agentflow").setLevel(logging.INFO)

    @property
    def text(self) -> str:
        wait_for_readers()
        return self._stream.getvalue()

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        read = [json.loads(line) for line in self.text.splitlines()]
        return [record for record in read if event is None or record.get("event") == event]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def client(scripted: Endpoint) -> BedrockClient:
    return BedrockClient("us-east-1", endpoint_url=scripted.url)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


class Aws:
    """moto's server as AgentFlow finds it, and boto3's clients of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="us-east-1", endpoint_url=self.url)


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    reset(moto_url)  # nothing that another test has left
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", moto_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return Aws(moto_url)
