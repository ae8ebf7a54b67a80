"""The pytest plugin as a user has it: in a test run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentflow import BedrockClient
from agentflow.local.handle import LocalBedrock
from tests.endpoint import HAIKU

USER_TESTS = """
import os
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow

SAVED = []

def run(text):
    workflow = Workflow("triage")
    config = AgentConfig(name="classifier", max_tokens=20)
    workflow.add_step("classify", SimpleAgent(config, BedrockClient(), prompt_template="Classify: {ticket}"))
    return workflow.run(ticket=text).outputs["classify"]

def test_the_workflow_is_answered(bedrock):
    assert os.environ["BEDROCK_ENDPOINT_URL"] == bedrock.url
    bedrock.script(text="urgent")
    bedrock.faults({"fault": "throttled_requests", "first": 1})
    assert run("The shop is down") == "urgent"
    assert bedrock.stats()["billed"]["calls"] == 1
    assert bedrock.stats()["refused"] == 1
    SAVED.append(bedrock.url)

def test_the_next_test_finds_it_as_new(bedrock):
    assert bedrock.stats()["requests"] == 0
    assert "Classify: a" in run("a")
    assert [bedrock.url] == SAVED

def test_another_test_has_no_endpoint():
    assert "BEDROCK_ENDPOINT_URL" not in os.environ
"""


def pytest_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "agentflow.local.pytest_plugin", "-q", *arguments]
    # Without the other plugins of this environment, which take most of the time to import.
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=alone)


def test_a_users_tests_run_offline(tmp_path: Path) -> None:
    (tmp_path / "test_triage.py").write_text(USER_TESTS)
    done = pytest_run(tmp_path)
    assert "3 passed" in done.stdout, done.stdout


def test_its_fixture_is_documented_where_pytest_lists_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("")
    assert "BEDROCK_ENDPOINT_URL" in pytest_run(tmp_path, "--fixtures").stdout


def test_who_does_not_use_it_pays_no_import() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import agentflow.local.pytest_plugin\n"
        "import json; print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(json.loads(done.stdout))
    assert "agentflow" in loaded
    assert not loaded & {"boto3", "botocore", "aiohttp", "pydantic", "pandas", "yaml", "subprocess"}


async def test_agentflow_finds_it_by_the_variable(bedrock: LocalBedrock) -> None:
    bedrock.script(text="fixed")
    reply = await BedrockClient().invoke("haiku", "?", max_tokens=9)
    assert (reply.text, bedrock.stats()["answers"]) == ("fixed", 1)


def test_wrong_settings_are_a_clear_error(bedrock: LocalBedrock) -> None:
    with pytest.raises(ValueError, match=r"quotas\.a\.tpm: Extra inputs are not permitted"):
        bedrock.quotas({"a": {"tpm": 1}})
    with pytest.raises(ValueError, match=r"field clock\.advance_seconds: Input should be greater"):
        bedrock.clock.advance(-1)


def test_the_clock_stands_when_it_is_stopped(bedrock: LocalBedrock) -> None:
    bedrock.clock.stop()
    before = bedrock.clock.now()
    bedrock.clock.advance(3600)
    assert bedrock.clock.now() == before + 3600
    bedrock.clock.start()
    assert bedrock.clock.now() > before + 3600


def test_reset_takes_everything_back(bedrock: LocalBedrock) -> None:
    bedrock.script(text="fixed")
    bedrock.faults({"fault": "unavailable"})
    bedrock.quotas({HAIKU: {"requests_per_minute": 0}})
    bedrock.clock.advance(3600)
    bedrock.reset()
    message = {"role": "user", "content": [{"text": "echo"}]}
    answer = bedrock.client.converse(modelId=HAIKU, messages=[message])
    assert answer["output"]["message"]["content"][0]["text"] == "echo"
    assert bedrock.clock.now() < 3600
