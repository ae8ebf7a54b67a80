"""What the README shows works, and what it lists is complete."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, RunResult, SimpleAgent, Workflow
from agentflow.utils.env import VARIABLES
from tests.endpoint import Endpoint

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def lines_of(ticket: str) -> list[str]:
    return ticket.splitlines()


def score(line: str) -> int:
    return len(line)


async def run_cell(code: str, names: dict[str, Any]) -> None:
    """Run code as a notebook's cell: with `await` at the top."""
    made = eval(compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if made is not None:
        await made


@pytest.fixture
def names(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("AGENTFLOW_LOCAL_URL", scripted.url)  # in the place of one with the small model
    return {}


async def test_its_examples_of_steps_run(names: dict[str, Any]) -> None:
    client = BedrockClient(endpoint_url="local")
    workflow = Workflow("more")
    config = AgentConfig(name="c", output_type="urgent: bool")
    split = workflow.add_step("split", lines_of)
    classify = workflow.add_step("classify", SimpleAgent(config, client, prompt_template="Classify {ticket}"))
    agent = SimpleAgent(AgentConfig(name="a"), client, prompt_template="About {topic}")
    inner = Workflow("inner")
    inner.add_step("summary", SimpleAgent(AgentConfig(name="s"), client, prompt_template="Summarize {ticket}"))
    Path("shelf.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)  # noqa: ASYNC240
    names |= {"workflow": workflow, "classify": classify, "split": split, "score": score, "agent": agent}
    names |= {"other_workflow": inner, "Path": Path, "text": "one\nthree"}
    code = EXAMPLES[3].replace('"escalate", agent', '"escalate", agent, {"topic": split}')
    code = code.replace('"reply", agent', '"reply", agent, {"topic": workflow.steps["escalate"]}').replace(
        'optional="escalate"', 'optional="topic"'
    )
    await run_cell(code, names)
    result = await names["handle"]
    assert result.outputs["scores"] == [3, 5]
    assert result.rows["escalate"].status == "skipped"
    assert "image (png)" in result.outputs["photo"]
    assert Workflow.from_yaml(Path("triage.yaml")).to_yaml() == workflow.to_yaml()


async def test_its_first_examples_run(names: dict[str, Any]) -> None:
    await run_cell(EXAMPLES[0], names)
    await run_cell(EXAMPLES[1], names)
    await run_cell(EXAMPLES[2], names | {"text": "The checkout page is down."})
    result = names["result"]
    assert repr(names["past"]) == repr(result)
    assert isinstance(result, RunResult)
    assert result.outputs["length"] == len(result.outputs["reply"].split()) > 20  # the scripted model echoes its prompt


def test_its_table_of_settings_is_complete() -> None:
    listed = set(re.findall(r"`([A-Z_]{6,})`", README.split("## Settings")[1].split("## ")[0]))
    assert listed == set(VARIABLES) - {"AGENTFLOW_LOCAL_URL"}


def test_every_file_it_names_is_there() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"\]\(([^)#]+)\)|`((?:agentflow|config|notebooks)/[\w/.]*)`", README)
    for link, path in named:
        if not link.startswith("http"):
            assert (root / (link or path)).exists(), link or path
