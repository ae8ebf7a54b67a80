"""The operation runbook's snippets, as it writes them, against the local endpoint."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentflow.utils.env import setting
from tests.endpoint import Endpoint

ROOT = Path(__file__).parents[2]

DOTENV = """\
# AWS Configuration
AWS_REGION=us-east-1
AWS_PROFILE=default

# AgentFlow Configuration
AGENTFLOW_LOG_LEVEL=INFO
AGENTFLOW_MAX_RETRIES=3
AGENTFLOW_TIMEOUT=300

# Bedrock Configuration
BEDROCK_ENDPOINT_URL=  # Optional: custom endpoint
BEDROCK_MAX_CONNECTIONS=10
"""


def test_the_env_file_as_written(tmp_path: Path) -> None:
    from agentflow.models.bedrock_client import BedrockClient

    (tmp_path / ".env").write_text(DOTENV)
    assert setting("AWS_REGION").source == ".env"
    assert setting("BEDROCK_ENDPOINT_URL").value is None
    client = BedrockClient()
    assert (client.endpoint_url, client.max_connections, client.max_retries) == (None, 10, 3)


def _deployment_check(endpoint_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BEDROCK_ENDPOINT_URL": endpoint_url, "AGENTFLOW_MAX_RETRIES": "0"}
    command = [sys.executable, str(ROOT / "test_deployment.py")]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_deployment_check_passes_and_fails_by_its_exit_code(scripted: Endpoint, tmp_path: Path) -> None:
    passed = _deployment_check(scripted.url, tmp_path)
    assert (passed.returncode, "✓ Deployment verification successful" in passed.stdout) == (0, True), passed.stderr
    failed = _deployment_check("http://127.0.0.1:9", tmp_path)
    assert failed.returncode == 1
    assert "✗ Deployment verification failed: workflow 'deployment_test' failed" in failed.stdout
    assert "cannot be reached" in failed.stdout


async def test_the_health_check(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    from agentflow.models.bedrock_client import BedrockClient, ModelType

    async def health_check() -> dict[str, bool]:
        checks = {"bedrock_connectivity": False, "model_access": False, "cloudwatch_logs": False}
        try:
            bedrock = BedrockClient()
            response = await bedrock.invoke(ModelType.HAIKU_4_5, "test", max_tokens=10)
            assert response.text
            checks["bedrock_connectivity"] = True
            checks["model_access"] = True
        except Exception as e:
            print(f"Bedrock check failed: {e}")
        return checks

    assert await health_check() == {"bedrock_connectivity": True, "model_access": True, "cloudwatch_logs": False}


def create_test_workflow(name: str) -> Any:
    """What the runbook's load test leaves to its reader: a workflow of one prompt, with a client of its own."""
    from agentflow import AgentConfig, Workflow, WorkflowConfig
    from agentflow.core.agent import SimpleAgent
    from agentflow.models.bedrock_client import BedrockClient, ModelType

    workflow = Workflow(WorkflowConfig(name=name))
    agent = SimpleAgent(
        config=AgentConfig(name="load", model_type=ModelType.HAIKU_4_5, max_tokens=20),
        bedrock_client=BedrockClient(),
        prompt_template="Say 'Deployment successful!'",
    )
    workflow.add_step("test", agent, {})
    return workflow


async def load_test(num_workflows: int = 100) -> list[Any]:
    start_time = time.time()
    tasks = []
    for i in range(num_workflows):
        workflow = create_test_workflow(f"test_{i}")
        tasks.append(workflow.execute())
    results = await asyncio.gather(*tasks, return_exceptions=True)
    duration = time.time() - start_time
    successes = sum(1 for r in results if not isinstance(r, Exception))
    print(f"Completed {num_workflows} workflows in {duration:.2f}s")
    print(f"Success rate: {successes / num_workflows * 100:.1f}%")
    print(f"Throughput: {num_workflows / duration:.2f} workflows/second")
    return results


async def test_the_load_test_of_100_workflows(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    scripted.follow(text="Deployment successful!", latency_ms=20)
    before = scripted.stats()["requests"]
    results = await load_test()
    assert [result.outputs["test"] for result in results] == ["Deployment successful!"] * 100
    assert scripted.stats()["requests"] - before == 100


@pytest.mark.soak
async def test_the_load_test_on_the_small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", "local")
    results = await load_test()
    assert [result.status for result in results] == ["ok"] * 100


def test_circular_dependencies_and_the_timeout_can_be_looked_up() -> None:
    from agentflow import Workflow, WorkflowConfig

    workflow = Workflow(WorkflowConfig(name="optimized_workflow", enable_parallel=True))
    workflow.add_step("test", lambda: 1, {})
    assert workflow._validate_workflow() is None
    assert workflow.config.timeout_seconds == 300
    assert WorkflowConfig(name="x", timeout_seconds=600).timeout_seconds == 600


def test_an_agent_with_few_tokens() -> None:
    from agentflow import AgentConfig

    agent_config = AgentConfig(
        name="summary_agent",
        max_tokens=500,  # Sufficient for summary, saves cost
    )
    assert (agent_config.max_tokens, agent_config.model_type) == (500, None)


def test_the_model_is_chosen_by_the_task() -> None:
    from agentflow.models.bedrock_client import ModelType

    def select_model(task_description: str) -> ModelType:
        simple_keywords = ["summarize", "extract", "classify"]
        if any(kw in task_description.lower() for kw in simple_keywords):
            return ModelType.HAIKU_4_5
        return ModelType.SONNET_4

    assert select_model("Summarize this") is ModelType.HAIKU_4_5
    assert select_model("Think") is ModelType.SONNET_4


def test_a_logger_is_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    from agentflow.utils.logging import setup_logger

    logger = setup_logger(__name__)
    assert isinstance(logger, logging.Logger)
    assert logger.level == logging.INFO
