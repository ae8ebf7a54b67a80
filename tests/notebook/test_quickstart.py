"""The quickstart notebook as papermill runs it (nbval runs it too): its parameters, its answers, its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import papermill
import pytest

from tests.endpoint import Endpoint

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def execute(output: Path, **parameters: Any) -> str:
    """Run the notebook and return everything it printed."""
    executed = papermill.execute_notebook(
        NOTEBOOK, output, parameters, kernel_name="python3", cwd=NOTEBOOK.parent, progress_bar=False
    )
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def test_a_missing_document_is_named_before_anything_is_called(scripted: Endpoint, tmp_path: Path) -> None:
    before = scripted.stats()["requests"]
    with pytest.raises(
        papermill.PapermillExecutionError, match=r"There is no document .*nowhere\.txt: set document_path"
    ):
        execute(tmp_path / "out.ipynb", backend=scripted.url, document_path="nowhere.txt")
    assert scripted.stats()["requests"] == before


def test_an_unknown_model_is_named_before_anything_is_called(scripted: Endpoint, tmp_path: Path) -> None:
    before = scripted.stats()["requests"]
    with pytest.raises(papermill.PapermillExecutionError, match=r"'haikuu' is no model .*did you mean 'haiku'"):
        execute(tmp_path / "out.ipynb", backend=scripted.url, model="haikuu")
    assert scripted.stats()["requests"] == before


@pytest.mark.soak
@pytest.mark.parametrize("time", range(10))
def test_the_small_model_answers_right(tmp_path: Path, time: int) -> None:
    """Every answer is checked; the local model draws a new seed for each request."""
    printed = execute(tmp_path / f"{time}.ipynb", backend="local")
    assert "P0: The checkout page is down in Europe " in printed
    assert "the payment certificate expired. We're working on it." in printed
    formal = printed.split("formal:")[1].split("\n")[0]
    assert all(word in formal for word in ("checkout page", "Europe", "payment certificate expired", "working on it"))
    assert "removed" not in formal
