"""`workflow.to_code()`: the code is run, and what it builds is the same workflow."""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow import AgentConfig, BedrockClient, Guardrail, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.definition.code import text_literal
from agentflow.core.definition.workflows import to_dict
from agentflow.core.step_parts import workflow_parts


def built(code: str) -> Workflow:
    """Return the workflow that the code builds, as if it were pasted into a cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<pasted>", "exec"), names)
    workflow: Workflow = names["workflow"]
    return workflow


def in_a_cell(source: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run code as IPython runs a cell: its lines are known, and it is in no file."""
    name = f"<cell {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    names = vars(main)
    exec(compile(source, name, "exec"), names)
    return names


@dataclass
class Ticket:
    urgent: bool


def prompt(text: str, **settings: Any) -> SimpleAgent:
    return SimpleAgent(AgentConfig(name="a", **settings), BedrockClient(endpoint_url="local"), prompt_template=text)


def test_everything_that_yaml_can_hold_is_the_same() -> None:
    inner = Workflow("inner")
    inner.add_step("deep", prompt("{ticket}\n\n  'and' \"more\" \\n {{x}}\n", model_type="haiku"))
    workflow = Workflow(WorkflowConfig(name="all", budget_usd="0.50", cache="FILE", timeout_seconds=12))
    first = workflow.add_step(
        "first",
        prompt(
            'As {"a": 1}: {ticket}\n"""\n\ttrailing \n',
            system="Line\nline",
            output_type="urgent: bool, kind: 'P0' | 'P1'",
            stop_sequences=("a", "b"),
            guardrail=Guardrail("g", "1"),
            extra_fields={"top_k": 5},
            max_tokens=7,
        ),
    )
    workflow.add_step("typed", prompt("{text}", output_type=Ticket), {"text": first.urgent, "more": [1, {"x": None}]})
    workflow.add_step("file", prompt("{photo}{raw}"), {"photo": Path("a/b.png"), "raw": b"\x00"}, depends_on=["typed"])
    workflow.add_step("nested", inner, {"ticket": first["kind"]}, when=first.urgent, timeout_seconds=3)
    workflow.add_step("each", prompt("{ticket}"), map_over="ticket", optional="ticket")
    code = workflow.to_code()
    assert to_dict(built(code)) == to_dict(workflow)
    assert workflow_parts(built(code).steps).fingerprints == workflow_parts(workflow.steps).fingerprints
    assert "# To do" not in code
    assert code.rstrip().endswith("# result = workflow.run(ticket=...)")
    assert max(map(len, code.splitlines())) <= 160


@given(st.text())
def test_a_text_is_the_same_byte_for_byte(text: str) -> None:
    assert eval(text_literal(text)) == text


def test_functions_and_classes_of_cells_come_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = in_a_cell(
        "import json\nfrom pathlib import Path as P\nfrom pydantic import BaseModel\nLIMIT = 3\n"
        "class Inner(BaseModel):\n    n: int\n"
        "class Answer(BaseModel):\n    inner: Inner\n"
        "def shorten(text):\n    return text[:LIMIT]\n"
        "def step(name: str):\n    '''Say it.'''\n    return json.dumps(shorten(name)) + P('x').name\n",
        monkeypatch,
    )
    workflow = Workflow("cells")
    workflow.add_step("step", cell["step"])
    workflow.add_step("typed", prompt("{step}", output_type=cell["Answer"], tools=(cell["shorten"],)))
    code = workflow.to_code()
    again = built(code)
    assert again.steps["step"].agent.function(name="Adalbert") == '"Ada"x'  # type: ignore[attr-defined]  # a function
    assert again.steps["typed"].agent.config.output_type.model_json_schema() == cell["Answer"].model_json_schema()  # type: ignore[attr-defined]  # a prompt
    assert "# To do" not in code


def test_what_has_no_source_is_named_and_says_so_when_it_runs() -> None:
    workflow = Workflow("without")
    names: dict[str, Any] = {}
    exec("def made(name):\n    return name", names)
    workflow.add_step("made", names["made"])
    code = workflow.to_code()
    assert code.startswith("# To do: the function of step 'made': its source is not to be had here")
    with pytest.raises(Exception, match="NotImplementedError: the function of step 'made'"):
        built(code).run(name="x")


def test_a_lambda_is_written_where_its_cell_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = in_a_cell("LIMIT = 2\npair = (lambda text: text[:LIMIT],\n        lambda text: text)\n", monkeypatch)
    workflow = Workflow("lambda")
    workflow.add_step("short", cell["pair"][0])
    workflow.add_step("same", cell["pair"][1])
    code = workflow.to_code()
    assert "# To do" not in code
    assert dict(built(code).run(text="abc").outputs) == {"short": "ab", "same": "abc"}


def test_what_a_function_needs_and_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = in_a_cell("import threading\nlock = threading.Lock()\ndef step(text):\n    return lock, text\n", monkeypatch)
    workflow = Workflow("needs")
    workflow.add_step("step", cell["step"])
    assert "# To do: step uses lock, of type lock, which has to be made here." in workflow.to_code()
