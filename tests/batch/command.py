"""The command `agentflow batch` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.endpoint import Endpoint

WORKFLOW = """
name: triage
timeout_seconds: 60
steps:
  classify:
    agent: {name: classify, model_type: haiku, max_tokens: 60}
    prompt_template: "Classify this ticket: {ticket}"
  reply:
    agent: {name: reply, model_type: haiku, max_tokens: 60}
    prompt_template: "Reply to {ticket}, which is {classify}"
"""
CALLS_A_ROW = 2


def tickets(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"ticket": [f"ticket {number}" for number in range(rows)], "weight": range(rows)})


def start(
    endpoint: Endpoint, folder: Path, *more: str, rows: str = "in.csv", out: str = "out"
) -> subprocess.Popen[str]:
    """Start the command in a folder, where it finds its workflow and its rows."""
    if not (folder / "workflow.yaml").exists():
        (folder / "workflow.yaml").write_text(WORKFLOW)
    command = ["batch", "in.csv", "--workflow", "workflow.yaml", "--out", out, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "agentflow", *command],
        cwd=folder,
        env={**os.environ, "BEDROCK_ENDPOINT_URL": endpoint.url, "BEDROCK_MAX_CONNECTIONS": "16"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors
