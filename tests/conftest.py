"""The scripted endpoint that tests call over HTTP: AgentFlow's own, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentflow.utils.env import VARIABLES


class Endpoint:
    """A running local endpoint, and what a test may ask of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def script(self, **script: Any) -> None:
        """Say what the scripted model answers from now on (`agentflow.local.scripted.Script`)."""
        self._ask("/_config", json.dumps(script).encode())

    def requests(self) -> int:
        """Return how many requests for a model have come in."""
        return int(self._ask("/_stats")["requests"])

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


@pytest.fixture(scope="session")
def _scripted_endpoint() -> Iterator[Endpoint]:
    command = [sys.executable, "-m", "agentflow", "local", "serve", "--model", "scripted", "--port", "0", "--parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first_line = process.stdout.readline()
        yield Endpoint(next(word for word in first_line.split() if word.startswith("http")))
        process.stdin.close()


@pytest.fixture
def endpoint(_scripted_endpoint: Endpoint) -> Endpoint:
    """A scripted endpoint that echoes, until a test scripts it."""
    _scripted_endpoint.script()
    return _scripted_endpoint


@pytest.fixture(autouse=True)
def _clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's own settings and `.env` out of the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.chdir(tmp_path)
