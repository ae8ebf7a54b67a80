"""What a notebook run by papermill leaves behind, and what does not stand in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import papermill
import pytest

import agentflow
from agentflow.core.errors import InputError

CELLS = [
    'key = "secret:NIGHT_KEY"\nfail = False',
    "import agentflow\nlength = len(agentflow.secret(key).get_secret_value())\nagentflow.secret(key)",
    "agentflow.record('length', length)\nassert not fail",
    "agentflow.completed()",
]


def run(folder: Path, **parameters: object) -> Path:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"cell-{number}", "source": source, "outputs": [], "execution_count": None}
        for number, source in enumerate(CELLS)
    ]
    tagged = [{**cell, "metadata": {"tags": ["parameters"] if cell is cells[0] else []}} for cell in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": tagged, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "in.ipynb").write_text(json.dumps(notebook))
    out = folder / "out.ipynb"
    try:
        papermill.execute_notebook(
            folder / "in.ipynb", out, parameters=parameters, kernel_name="python3", progress_bar=False
        )
    except papermill.PapermillExecutionError:
        assert parameters.get("fail")
    return out


def test_a_finished_notebook_has_its_mark_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_KEY", "planted-value")
    out = run(tmp_path)
    assert agentflow.recorded(out)["length"] == len("planted-value")
    assert "completed_at" in agentflow.recorded(out)
    assert "planted-value" not in out.read_text()
    stopped = run(tmp_path, fail=True)
    assert agentflow.recorded(stopped).keys() == {"length"}


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    assert "NOT_THERE" not in os.environ
    with pytest.raises(InputError, match="'NOT_THERE' is not set"):
        agentflow.secret("secret:NOT_THERE")
    with pytest.raises(InputError, match="by its name only") as error:
        agentflow.secret("planted-value")
    assert "planted-value" not in str(error.value)
    with pytest.raises(InputError, match="cannot be recorded"):
        agentflow.record("x", object())
    with pytest.raises(InputError, match="no notebook"):
        agentflow.recorded(tmp_path / "none.ipynb")
    (tmp_path / "text.ipynb").write_text("[1, 2]")
    with pytest.raises(InputError, match="is no notebook"):
        agentflow.recorded(tmp_path / "text.ipynb")


def test_outside_of_a_notebook_a_record_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    agentflow.record("rows", 3)
    assert capsys.readouterr().out == "rows = 3\n"
