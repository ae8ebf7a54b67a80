"""What the runbook's notebook 03 says of a run that is not there, under papermill."""

from __future__ import annotations

from pathlib import Path

import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

NOTEBOOK = Path(__file__).parents[2] / "notebooks/runbook/03_troubleshooting.ipynb"


@pytest.mark.soak
def test_a_run_that_is_not_there_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(PapermillExecutionError, match="and so no 'r-7f3a'") as caught:
        papermill.execute_notebook(
            NOTEBOOK, tmp_path / "out.ipynb", {"run_id": "r-7f3a"}, progress_bar=False, cwd=tmp_path
        )
    assert "AGENTFLOW_HOME" in str(caught.value)  # what to do
    assert str(caught.value).count("\n") < 20  # and no traceback of ours
