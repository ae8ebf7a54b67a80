"""The columns of the input, the outputs and the job's own never have one name, and that is settled before any call."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from agentflow import Workflow
from agentflow.core.errors import InputError


def shouting(*steps: str) -> Workflow:
    workflow = Workflow("shouting")
    for step in steps:
        workflow.add_step(step, lambda text: text.upper())
    return workflow


def test_no_column_overwrites_another(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a"], "status": ["x"], "input_status": ["y"], "shout": ["z"], "shout.it": [1]})
    done = shouting("shout").map(frame, out=tmp_path / "out", progress=False)
    first = done.iloc[0]
    assert first[["text", "input_status", "input_input_status", "status"]].tolist() == ["a", "y", "x", "ok"]
    assert first[["input_shout", "input_shout.it", "shout"]].tolist() == ["z", 1, "A"]


@pytest.mark.parametrize("name", ["status", "shout"])
def test_an_index_with_the_name_of_an_output_is_kept_under_another(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"]}, index=pd.Index(["i", "j"], name=name))
    done = shouting("shout").map(frame, out=tmp_path / "out", progress=False)
    assert list(done.index) == ["i", "j"]
    assert done.index.name == f"input_{name}"
    assert list(done["status"]) == ["ok", "ok"]
    assert list(done["shout"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("steps", "column", "words"),
    [
        (["status"], "more", "step 'status' would give the column 'status'"),
        (["a", "a.b"], "more", "steps 'a' and 'a.b' may both give a column 'a.b'"),
        (["shout"], "__index_level_0__", "column '__index_level_0__' of the input has the name"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(steps: list[str], column: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        shouting(*steps).map(pd.DataFrame({"text": ["a"], column: [1]}), out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
