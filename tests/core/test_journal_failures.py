"""A disk that fails while a run goes on, and answers that come when nobody waits for them any longer."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from tests.endpoint import Endpoint
from tests.store.mounts import fill, small_disk


def echo(client: BedrockClient, prompt: str) -> SimpleAgent:
    return SimpleAgent(AgentConfig(name="echo", model_type="haiku"), client, prompt_template=prompt)


def until_answers(run_id: str, count: int) -> None:
    """Wait until the journal has as many answers of a run."""
    end = time.monotonic() + 15
    while sum(len(row.replies) for row in agentflow.get_run(run_id).rows.values()) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_disk_that_fills_up_is_told_and_the_run_goes_on(
    scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("AGENTFLOW_HOME", str(disk / "home"))
        workflow = Workflow("full")
        workflow.add_step("first", echo(client, "first {topic}"))
        workflow.add_step("fill", lambda first: fill(disk))
        workflow.add_step("second", echo(client, f"{{topic}} {'long ' * 2000}"), depends_on="fill")
        result = workflow.run(topic="tea")
        assert result.status == "ok"
        [warning] = result.warnings
        assert "the disk is full" in warning
        assert "Free some space" in warning
        for file in disk.iterdir():
            if file.is_file():
                file.unlink()
        until_answers(result.run_id, 2)  # what could not be written was kept in memory, and is written now
        past = agentflow.get_run(result.run_id)
        assert (past.status, past.outputs) == ("ok", result.outputs)
        agentflow.core.ports.load("journal")().close()


def test_a_journal_that_another_process_locks_is_waited_for(
    scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentflow.store.database.BUSY_SECONDS", 0.2)
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow("locked")
    workflow.add_step("ask", echo(client, "{topic}"))
    workflow.run(topic="before")
    other = sqlite3.connect(tmp_path / ".agentflow" / "agentflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    result = workflow.run(topic="while locked")
    assert result.status == "ok"
    assert any("another process has locked it" in warning for warning in result.warnings)
    other.execute("COMMIT")
    other.close()
    until_answers(result.run_id, 1)
    assert agentflow.get_run(result.run_id).status == "ok"


@pytest.mark.parametrize("how", ["the run's time is up", "the step's time is up", "its task is cancelled"])
async def test_an_answer_that_comes_late_is_kept_and_not_asked_for_again(how: str, scripted: Endpoint) -> None:
    scripted.follow(latency_ms=700)
    client = BedrockClient(endpoint_url=scripted.url)
    config = WorkflowConfig(name="late", timeout_seconds=0.3 if "run" in how else 30)
    workflow = Workflow(config)
    step_limit = 0.3 if "step" in how else None
    workflow.add_step("ask", echo(client, "{topic}"), timeout_seconds=step_limit)
    before = scripted.stats()["requests"]
    task = asyncio.create_task(workflow.execute(topic="tea"))
    if "task" in how:
        await asyncio.sleep(0.3)
        task.cancel()
    with pytest.raises((WorkflowError, asyncio.CancelledError)):
        await task
    assert workflow.last_result is not None
    run_id = workflow.last_result.run_id
    await asyncio.to_thread(until_answers, run_id, 1)
    assert (await workflow.resume(run_id)).outputs == {"ask": "tea"}
    assert scripted.stats()["requests"] - before == 1
    [attempt] = agentflow.get_run(run_id).rows["ask"].attempts
    assert attempt.error_code is None
