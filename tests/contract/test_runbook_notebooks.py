"""What all notebooks of the runbook have in common, as they are in the repository; nbval runs them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runbook import block

FOLDER = Path(__file__).parents[2] / "notebooks/runbook"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def cells(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_for_whoever_is_paged_and_for_papermill(name: str) -> None:
    first, *_ = found = cells(name)
    assert first["source"][0].startswith("# ")
    assert "paged" in "".join(first["source"]).lower()
    assert [cell["metadata"].get("tags") for cell in found if cell["metadata"].get("tags")] == [["parameters"]]
    code = [cell for cell in found if cell["cell_type"] == "code"]
    assert "agentflow.completed()" in "".join(code[-1]["source"])


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_can_be_read_without_a_kernel(name: str) -> None:
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert "stderr" not in {output.get("name") for output in outputs}
    assert "error" not in {output["output_type"] for output in outputs}
    assert len(outputs) > 5


def test_the_load_test_is_the_runbooks() -> None:
    def load_test(code: str) -> str:
        [function] = [node for node in ast.walk(ast.parse(code)) if getattr(node, "name", "") == "load_test"]
        return ast.dump(function)

    [cell] = [cell for cell in cells("06_performance_tuning.ipynb") if "def load_test" in "".join(cell["source"])]
    assert load_test(block("async def load_test")) in load_test(
        "".join(cell["source"]).replace("\nawait load", "\nload")
    )
