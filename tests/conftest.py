"""What every test has: clean settings, and a scripted endpoint in a process of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from agentflow.local.launch import EndpointProcess
from agentflow.models.failover import breakers
from agentflow.models.limiting.lanes import lanes
from agentflow.models.retries import retry_budget
from agentflow.utils.env import VARIABLES
from tests.dictated import Dictated, dictated_server
from tests.endpoint import Endpoint

# No test is a matter of time. `make soak` takes more examples.
settings.register_profile("agentflow", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("agentflow")

pytest_plugins = ["agentflow.local.pytest_plugin"]  # also where this AgentFlow is not the one that is installed


@pytest.fixture(scope="session")
def scripted_process(bedrock_process: EndpointProcess) -> Endpoint:
    return Endpoint(bedrock_process.first_line)


@pytest.fixture
def scripted(scripted_process: Endpoint) -> Endpoint:
    """The endpoint of the fixture `bedrock`, as new, with no variable that points to it."""
    scripted_process.reset()
    return scripted_process


@pytest.fixture(scope="session")
def dictated_process() -> Iterator[Dictated]:
    with dictated_server() as server:
        yield server


@pytest.fixture
def dictated(dictated_process: Dictated) -> Dictated:
    """A server that gives the answers that the test wrote down."""
    dictated_process.reset()
    return dictated_process


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


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    """Keep the log and the signals that one test asked for out of the others."""
    yield
    log = logging.getLogger("agentflow")
    log.setLevel(logging.NOTSET)
    log.handlers.clear()
    if signals := sys.modules.get("agentflow.ops.signals"):
        signals.reset()


@pytest.fixture(autouse=True)
def _nothing_learned() -> None:
    """Keep what one test learned of quotas and regions out of the others."""
    lanes.reset()
    breakers.reset()
    retry_budget.reset()
