"""What the README shows works, and what it lists is complete."""

import re
from pathlib import Path

import pytest

from agentflow import RunResult
from agentflow.utils.env import VARIABLES
from tests.endpoint import Endpoint

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_its_example_runs(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_LOCAL_URL", scripted.url)  # in the place of one with the small model
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    result = names["result"]
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
