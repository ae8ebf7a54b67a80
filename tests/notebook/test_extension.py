"""`%load_ext agentflow` and `%agentflow`: one line that says where a kernel stands, and what the other words do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow import Workflow, WorkflowConfig, load_ipython_extension
from agentflow.models.credential_sources import credential_source
from tests.endpoint import Endpoint
from tests.notebook.shell import Shell, loaded_shell


def test_loading_says_where_it_stands_in_one_line(shell: Shell, scripted: Endpoint) -> None:
    shown = shell.run("%reload_ext agentflow")
    assert len(shown.splitlines()) == 1
    for told in ("AgentFlow 0.", "region us-east-1 (default)", "credentials not needed", scripted.url, "budget none"):
        assert told in shown


def test_loading_twice_and_in_another_shell_is_harmless(shell: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    load_ipython_extension(shell.shell)
    shell.run("%%step a --model haiku\nSay hello")
    assert list(shell.workflow().steps) == ["a"]
    with loaded_shell(capfd) as other:
        assert "step b · new" in other.run("%%step b --model haiku\nSay hello")
        assert list(other.workflow().steps) == ["b"]


def test_a_region_and_missing_credentials_are_said(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDROCK_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    shown = shell.run("%agentflow backend")
    assert "region eu-west-1 (from AWS_REGION)" in shown
    assert "credentials none found" in shown
    assert "backend Amazon Bedrock" in shown
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    shown = shell.run("%agentflow backend")
    assert "credentials found (environment)" in shown
    assert "AKIA" not in shown


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("[profile work]\naws_access_key_id = x", 'profile "work", keys'),
        (
            "[profile work]\nsso_session = s\n[sso-session s]\nsso_start_url = u",
            "not logged in: aws sso login --profile work",
        ),
        ("[profile work]\nrole_arn = r", 'profile "work", role'),
        ("[profile other]\nrole_arn = r", ""),
        ("not a config file", ""),
    ],
)
def test_credentials_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, told: str) -> None:
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    found = credential_source("work")
    assert told in found if told else found == ""


def test_workflows_of_the_kernel_reuse_answers_and_an_explicit_no_stays(shell: Shell) -> None:
    assert Workflow("mine").config.cache
    assert Workflow(WorkflowConfig(name="mine", cache=False)).config.cache is False
    shell.run("%unload_ext agentflow")
    assert not Workflow("mine").config.cache
    assert "not found" in shell.run("%agentflow help")
    assert "AgentFlow" in shell.run("%load_ext agentflow")


def test_a_budget_holds_for_the_kernel(shell: Shell, scripted: Endpoint) -> None:
    assert "budget $0.000001" in shell.run("%agentflow budget 0.000001")
    shown = shell.run("%%step a --model haiku --run\nSay hello")
    assert "BudgetExceeded" in shown
    assert scripted.stats()["requests"] == 0
    assert "budget none" in shell.run("%agentflow budget off")
    assert "no amount" in shell.run("%agentflow budget lots")


def test_the_backend_is_changed_for_steps_that_are_there(shell: Shell, scripted: Endpoint) -> None:
    shell.run("%%step a --model haiku\nSay hello")
    assert "backend Amazon Bedrock" in shell.run("%agentflow backend aws")
    agent: Any = shell.workflow().steps["a"].agent
    asked: list[str | None] = [agent.client.endpoint_url]
    shell.run(f"%agentflow backend {scripted.url}")
    asked.append(agent.client.endpoint_url)
    assert asked == [None, scripted.url]
    assert "give local, aws, or a URL" in shell.run("%agentflow backend lokal")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stpes", "did you mean 'steps'?"),
        ("models now", "takes nothing"),
        ("forget frist", "did you mean 'first'?"),
        ("forget", "takes the name of a step"),
        ("forget first", "is named by second"),
        ("edit", "takes the name of a step"),
    ],
)
def test_wrong_words_get_the_nearest(shell: Shell, line: str, told: str) -> None:
    shell.run("%%step first --model haiku\nOne")
    shell.run("%%step second --model haiku --when first\nOne")
    shown = shell.run(f"%agentflow {line}")
    assert told in shown
    assert len(shown.splitlines()) == 1


def test_the_other_words(shell: Shell) -> None:
    assert "%agentflow forget STEP" in shell.run("%agentflow help")
    assert "haiku-4-5" in shell.run("%agentflow models")
    assert "run_id" in shell.run("%agentflow runs")
    assert "No workflow was made" in shell.run("%agentflow steps")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%%step second --model hai", "haiku"),
        ("%%step second --mo", "--model"),
        ("%%step fi", "first"),
        ("%%step second --when fi", "first"),
        ("%%step second --model haiku --input art", "article"),
        ("%%step second --workflow note", "notebook"),
        ("%agentflow bud", "budget"),
        ("%agentflow forget fi", "first"),
        ("%agentflow backend lo", "local"),
    ],
)
def test_completion(shell: Shell, line: str, offered: str) -> None:
    shell.run("article = 'x'")
    shell.run("%%step first --model haiku\nOne")
    _, matches = shell.shell.complete(None, line, len(line))
    assert offered in matches
