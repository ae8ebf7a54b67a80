"""What every test has: clean settings, and local endpoints that run in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentflow.utils.env import VARIABLES
from tests.bedrock import Bedrock, bedrock_server
from tests.endpoint import Endpoint, running


@pytest.fixture(scope="session")
def scripted_process() -> Iterator[Endpoint]:
    with running("--port", "0", "--model", "scripted") as endpoint:
        yield endpoint


@pytest.fixture
def scripted(scripted_process: Endpoint) -> Endpoint:
    """The scripted model with an empty script: it echoes."""
    scripted_process.follow()
    return scripted_process


@pytest.fixture(scope="session")
def bedrock_process() -> Iterator[Bedrock]:
    with bedrock_server() as server:
        yield server


@pytest.fixture
def bedrock(bedrock_process: Bedrock) -> Bedrock:
    """A server that gives the answers that the test wrote down."""
    bedrock_process.reset()
    return bedrock_process


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
