"""The notebook of jobs as papermill runs it over a table of the reader's own (nbval runs it over ours)."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import papermill
import pytest

from agentflow.cli import main
from tests.endpoint import Endpoint

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "batch.ipynb"


def test_rows_that_all_failed_are_shown_with_a_command_that_opens_them(
    scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.faults({"fault": "error", "code": "ValidationException", "message": "No."})
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "store"))
    table = tmp_path / "two.parquet"
    pd.DataFrame({"description": ["It burns.", "It is wet."]}).to_parquet(table)
    executed = papermill.execute_notebook(
        NOTEBOOK,
        tmp_path / "out.ipynb",
        {"input_path": str(table), "backend": scripted.url},
        kernel_name="python3",
        cwd=NOTEBOOK.parent,
        progress_bar=False,
    )
    shown = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", ()))
    assert "2 of 2 rows failed" in shown
    command = next(line for line in shown.splitlines() if "agentflow open" in line)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert "rows-0-.triage" in capsys.readouterr().out
