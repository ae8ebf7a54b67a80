"""`setup_logger` and the runbook's debug snippet in programs of their own: who reads, and what they see."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections import Counter

import pytest

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.readers import wait_for_readers
from agentflow.utils.logging import setup_logger
from tests.contract.runbook import block
from tests.endpoint import Endpoint
from tests.notebook.kernel import running_kernel
from tests.utils.test_redaction import KEYS, logs_of

RUN = """
from agentflow.core.readers import wait_for_readers
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
workflow = Workflow("watched")
client = BedrockClient("us-east-1", endpoint_url=sys.argv[1])
workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="About {topic}"))
workflow.add_step("count", lambda ask: len(ask))
workflow.run(topic="planted-prompt")
"""

SET_UP = """
import logging, sys
from agentflow.utils.logging import setup_logger
logger = setup_logger(__name__)
logger.info("mine")
"""

DEBUG = "import sys\n" + block("# Set to DEBUG level")


def test_a_machine_reads_json_lines(scripted: Endpoint) -> None:
    records = [json.loads(line) for line in logs_of(SET_UP + RUN, scripted.url, **KEYS).splitlines()]
    assert [record.get("event", record["message"]) for record in records] == [
        "mine",
        "run_started",
        "attempt",
        "step",
        "step",
        "run",
    ]


def test_a_person_reads_lines(scripted: Endpoint) -> None:
    reading, writing = pty.openpty()
    command = [sys.executable, "-c", SET_UP + RUN, scripted.url]
    environment = os.environ | KEYS | {"AGENTFLOW_METRICS": "logs"}
    subprocess.run(command, stderr=writing, env=environment, timeout=60, check=True)
    os.close(writing)
    lines = os.read(reading, 100_000).decode().splitlines()
    assert [" ".join(line.split()[1:4]) for line in lines] == [
        "INFO __main__ mine",
        "INFO agentflow.runs workflow",
        "INFO agentflow.runs step",
        "INFO agentflow.runs step",
        "INFO agentflow.runs step",
        "INFO agentflow.runs workflow",
    ]
    assert "local · scripted answered in" in lines[2]


def test_the_runbooks_debug_snippet_logs_all_operations_once_and_leaks_nothing(scripted: Endpoint) -> None:
    scripted.follow(text="planted-answer")
    for before in ("", SET_UP):
        logs = logs_of(before + DEBUG + RUN, scripted.url, **KEYS)
        for operation in ("workflow 'watched' started", "answered in", "step 'count' ended well"):
            assert logs.count(operation) == 1, operation
        assert logs.count("step 'ask' started") == (not before)  # the level of `setup_logger` stands
        assert "botocore.endpoint" in logs
        lines = Counter(line for line in logs.splitlines() if "agentflow" in line)
        assert [line for line, times in lines.items() if times > 1] == []
        assert "planted" not in logs
        assert "Signature=" not in logs.replace("Signature=[redacted]", "")


def test_a_cell_shows_lines(scripted: Endpoint) -> None:
    with running_kernel() as kernel:
        shown = kernel.run(f"import sys\nsys.argv[1:] = [{scripted.url!r}]\n{SET_UP}{RUN}wait_for_readers()")
    lines = shown.splitlines()
    assert len(lines) == 6
    assert "INFO    agentflow.runs  workflow 'watched' ended well" in lines[-1]


def test_a_level_is_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_LEVEL", "WARNING")
    setup_logger(__name__)
    workflow = Workflow(WorkflowConfig(name="watched", journal=False, on_error="continue"))
    workflow.add_step("one", lambda: 1)
    workflow.add_step("two", lambda one: one / 0)
    with pytest.raises(WorkflowError):
        workflow.run()
    wait_for_readers()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
