"""`agentflow health`: what it prints, as text and as JSON, and its exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentflow.cli import main
from tests.endpoint import Endpoint
from tests.ops.test_health import NAMES, NOBODY

COMMAND = [sys.executable, "-m", "agentflow", "health"]


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_healthy_one_exits_with_0_and_has_a_line_each(scripted: Endpoint) -> None:
    done = run(BEDROCK_ENDPOINT_URL=scripted.url, COLUMNS="120")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"health of us-east-1 · local · scripted at {scripted.url.removeprefix('http://')}"
    assert [line.split()[1] for line in lines[2:-2] if not line.startswith("    ")] == NAMES
    assert lines[-1] == "Nothing failed in 13 checks. Not configured: cloudwatch_logs, metrics, credentials."
    assert "    to turn it on: export AGENTFLOW_LOG_GROUP=/aws/agentflow/app" in lines
    assert "\x1b" not in done.stdout
    assert scripted.stats()["requests"] == 1


def test_a_red_one_exits_with_1_and_shows_the_fix_below(scripted: Endpoint, tmp_path: Path) -> None:
    scripted.faults({"fault": "model_access_denied"})
    done = run(BEDROCK_ENDPOINT_URL=scripted.url, COLUMNS="80")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert next(line for line in lines if "model_access " in line).startswith("FAIL  model_access          You have no")
    assert "    fix: Enable the model for the account in the Bedrock console of us-east-1" in lines
    assert lines[-2].startswith("1 of 13 checks failed: model_access.")
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80


def test_json_is_one_object_with_all_checks(scripted: Endpoint, capsys: pytest.CaptureFixture[str], env: Any) -> None:
    scripted.faults({"fault": "expired_token"})
    env.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    assert main(["health", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert list(told) == NAMES
    assert {tuple(check) for check in told.values()} == {("ok", "state", "figure", "fix")}
    assert told["bedrock_connectivity"]["ok"] is True
    assert (told["model_access"]["ok"], told["model_access"]["state"]) == (False, "failed")
    assert "aws sso login" in told["model_access"]["fix"]


def test_no_call_asks_no_model(scripted: Endpoint, capsys: pytest.CaptureFixture[str], env: Any) -> None:
    env.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    assert main(["health", "--no-call", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model_access"]["state"] == "not checked"
    assert scripted.stats()["requests"] == 0


def test_an_endpoint_that_is_down_and_no_credentials_exit_with_1(
    capsys: pytest.CaptureFixture[str], env: pytest.MonkeyPatch
) -> None:
    env.setenv("AWS_ENDPOINT_URL", NOBODY)
    assert main(["health"]) == 1
    assert "3 of 13 checks failed: bedrock_connectivity, model_access, credentials." in capsys.readouterr().out


def test_a_configuration_names_the_models(
    scripted: Endpoint, capsys: pytest.CaptureFixture[str], env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    path = Path(__file__).parents[2] / "config/deployment_config.yaml"
    assert main(["health", "--no-call", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "all 2 in use are among the " in shown
    assert "haiku-4-5, sonnet-5: no end is near" in shown


@pytest.mark.soak
def test_a_terminal_has_colours_unless_they_are_unwanted(scripted: Endpoint) -> None:
    def shown(**environment: str) -> str:
        ours, theirs = pty.openpty()
        env = {**os.environ, "BEDROCK_ENDPOINT_URL": scripted.url, **environment}
        with subprocess.Popen([*COMMAND, "--no-call"], stdout=theirs, env=env, close_fds=True):
            os.close(theirs)
            text = b""
            try:
                while some := os.read(ours, 10_000):
                    text += some
            except OSError:  # the other end is closed
                pass
        os.close(ours)
        return text.decode()

    assert "\x1b[32mok  \x1b[0m  bedrock_connectivity" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")


def test_the_help_has_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["health", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0 nothing failed, 1 something failed, 2 wrong arguments." in told


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch
