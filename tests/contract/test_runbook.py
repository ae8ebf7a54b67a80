"""The operation runbook's Python, as it writes it, against the local endpoint."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, ModelType, SimpleAgent, Workflow, WorkflowConfig
from agentflow.ops.query_texts import QUERIES
from agentflow.utils.env import setting
from tests.contract.runbook import BLOCKS, block
from tests.endpoint import Endpoint

ROOT = Path(__file__).parents[2]


def run(part: str, **names: Any) -> dict[str, Any]:
    """Run the block that has a part, as a module, and return its names."""
    module: dict[str, Any] = {"__name__": "runbook", **names}
    exec(compile(block(part), "operation_runbook.md", "exec"), module)
    return module


@pytest.fixture
def bedrock(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint, where the snippets look for Bedrock."""
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    return scripted


def test_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(block("BEDROCK_MAX_CONNECTIONS"))
    assert setting("AWS_REGION").source == ".env"
    assert setting("BEDROCK_ENDPOINT_URL").value is None
    client = BedrockClient()
    assert (client.endpoint_url, client.max_connections, client.max_retries) == (None, 10, 3)
    assert WorkflowConfig(name="x").timeout_seconds == 300


async def test_the_deployment_verification(
    bedrock: Endpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_deployment = run("async def verify_deployment")["verify_deployment"]
    assert await verify_deployment() is True
    assert capsys.readouterr().out == "✓ Deployment verification successful\n"
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    assert await verify_deployment() is False
    assert capsys.readouterr().out.startswith("✗ Deployment verification failed: ")


def _deployment_check(endpoint_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BEDROCK_ENDPOINT_URL": endpoint_url, "AGENTFLOW_MAX_RETRIES": "0"}
    command = [sys.executable, str(ROOT / "test_deployment.py")]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_our_deployment_check_passes_and_fails_by_its_exit_code(scripted: Endpoint, tmp_path: Path) -> None:
    passed = _deployment_check(scripted.url, tmp_path)
    assert (passed.returncode, "✓ Deployment verification successful" in passed.stdout) == (0, True), passed.stderr
    failed = _deployment_check("http://127.0.0.1:9", tmp_path)
    assert failed.returncode == 1
    assert "✗ Deployment verification failed: workflow 'deployment_test' failed" in failed.stdout
    assert "cannot be reached" in failed.stdout


async def test_the_health_check(bedrock: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    """It never looks at the logs: `agentflow.health_check()` does."""
    health_check = run("async def health_check", BedrockClient=BedrockClient, ModelType=ModelType)["health_check"]
    assert await health_check() == {"bedrock_connectivity": True, "model_access": True, "cloudwatch_logs": False}
    assert capsys.readouterr().out == ""
    bedrock.follow(errors=[{"code": "AccessDeniedException", "message": "You don't have access to the model."}])
    assert not any((await health_check()).values())
    assert "Bedrock check failed: " in capsys.readouterr().out


def create_test_workflow(name: str) -> Workflow:
    """What the runbook's load test leaves to its reader: a workflow of one prompt, with a client of its own."""
    workflow = Workflow(WorkflowConfig(name=name))
    agent = SimpleAgent(
        config=AgentConfig(name="load", model_type=ModelType.HAIKU_4_5, max_tokens=20),
        bedrock_client=BedrockClient(),
        prompt_template="Say 'Deployment successful!'",
    )
    workflow.add_step("test", agent, {})
    return workflow


async def _load_test(capsys: pytest.CaptureFixture[str]) -> str:
    await run("async def load_test", create_test_workflow=create_test_workflow)["load_test"]()
    return capsys.readouterr().out


async def test_the_load_test_of_100_workflows(bedrock: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    bedrock.follow(text="Deployment successful!", latency_ms=20)
    said = await _load_test(capsys)
    assert re.match(r"Completed 100 workflows in \d+\.\d\ds\nSuccess rate: 100\.0%\nThroughput: \d+\.\d\d wor", said)
    assert bedrock.stats()["requests"] == 100


@pytest.mark.soak
async def test_the_load_test_on_the_small_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", "local")
    assert "Success rate: 100.0%" in await _load_test(capsys)


def test_circular_dependencies_and_the_timeout_can_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    workflow = Workflow(run("optimized_workflow", WorkflowConfig=WorkflowConfig)["workflow_config"])
    assert workflow.config.enable_parallel
    workflow.add_step("test", lambda: 1, {})
    run("_validate_workflow", workflow=workflow)
    assert capsys.readouterr().out == "300.0\n"
    assert WorkflowConfig(name="x", timeout_seconds=600).timeout_seconds == 600


def test_an_agent_with_few_tokens() -> None:
    agent_config = run("summary_agent", AgentConfig=AgentConfig)["agent_config"]
    assert (agent_config.max_tokens, agent_config.model_type) == (500, None)


def test_the_model_is_chosen_by_the_task() -> None:
    select_model = run("def select_model", ModelType=ModelType)["select_model"]
    assert select_model("Summarize this") is ModelType.HAIKU_4_5
    assert select_model("Think") is ModelType.SONNET_4


def test_the_concise_prompt_has_one_input() -> None:
    prompt = run("3 key insights")["prompt"]
    workflow = Workflow("insights")
    workflow.add_step("insights", SimpleAgent(AgentConfig(name="a"), prompt_template=prompt))
    assert workflow.inputs == {"data": True}


def test_the_memory_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The runbook marks it as bash."""
    run("import psutil")
    assert re.fullmatch(r"Memory: \d+\.\d%\n", capsys.readouterr().out)


def test_a_logger_is_set_up() -> None:
    snippet, query = block("logger = setup_logger").split("# Check logs for slow steps\n")
    module: dict[str, Any] = {"__name__": "runbook"}
    exec(snippet, module)
    assert isinstance(module["logger"], logging.Logger)
    assert module["logger"].level == logging.INFO
    assert query.strip() in QUERIES.values()


def test_each_query_is_one_of_ours() -> None:
    """Word for word: what they mean is the business of the tests of operations."""
    written = {text[text.index("fields @") :].strip() for text in BLOCKS if "fields @" in text}
    assert written == set(QUERIES.values())
