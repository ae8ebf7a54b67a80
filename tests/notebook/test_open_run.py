"""`agentflow open`: a step of a past run as a notebook, which asks for nothing but that step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, open_run
from agentflow.cli import main
from agentflow.core.errors import AgentFlowError, WorkflowError
from agentflow.core.result import RunResult
from tests.endpoint import Endpoint


def agent(endpoint: Endpoint, prompt: str, **settings: Any) -> SimpleAgent:
    config = AgentConfig(name="a", **{"model_type": "haiku", **settings})
    return SimpleAgent(config, BedrockClient(endpoint_url=endpoint.url), prompt_template=prompt)


@pytest.fixture
def triage(scripted: Endpoint) -> Workflow:
    """Two prompts, of which the second has all that a line can say, and a system prompt that no line can hold."""
    workflow = Workflow("triage")
    first = workflow.add_step("classify", agent(scripted, "Ticket `{ticket}`", system="You are\nstrict."))
    workflow.add_step(
        "reply",
        agent(scripted, 'As {"a": {}}: {text}\n\n{ticket} {{x}}\n', max_tokens=77, temperature=0.5, top_p=0.9),
        {"text": first},
    )
    return workflow


def run_notebook(path: Path) -> list[str]:
    """Run a notebook from top to bottom, and return what each code cell shows."""
    notebook = nbformat.read(path, 4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return ["".join(_text(output) for output in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def test_the_notebook_runs_from_top_to_bottom_and_asks_for_its_step_alone(
    triage: Workflow, scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = triage.run(ticket="It burns {here}")
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    path = open_run("last", out=tmp_path / "again.ipynb")
    notebook = nbformat.read(path, 4)  # type: ignore[no-untyped-call]
    sources = [cell.source for cell in notebook.cells]
    step = next(source for source in sources if source.startswith("%%step"))
    assert step.partition("\n")[2] == 'As {"a": {}}: {text}\n\n{ticket} {{x}}\n'
    assert "reply --model haiku --input text ticket --max-tokens 77 --temperature 0.5" in step
    assert any("The cell leaves out `top_p=0.9`" in source for source in sources)
    before = scripted.stats()["requests"]
    shown = run_notebook(path)
    assert scripted.stats()["requests"] == before + 1
    asked = next(text for text in shown if "triage: reply · ok" in text)
    assert "As {" in asked
    assert f"run {run.run_id}" in shown[1]
    assert "prompt_template" in shown[-2]
    assert shown[-1].startswith("triage · 2 steps")
    assert "backtest" in sources[-2]


def test_the_notebook_is_the_same_each_time_and_never_overwrites(triage: Workflow, tmp_path: Path) -> None:
    run = triage.run(ticket="x")
    first, second = open_run(run.run_id, "classify"), open_run(run.run_id, "classify")
    assert (first.name, second.name) == (f"{run.run_id}-classify.ipynb", f"{run.run_id}-classify-2.ipynb")
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(AgentFlowError, match="is there already"):
        open_run(run.run_id, out=first)
    with pytest.raises(AgentFlowError, match="There is no folder"):
        open_run(run.run_id, out=tmp_path / "nowhere" / "x.ipynb")


def test_an_item_of_a_mapped_step_and_the_one_that_failed(scripted: Endpoint) -> None:
    def check(ticket: str) -> str:
        if ticket == "bad":
            raise ValueError(ticket)
        return ticket

    inner = Workflow("inner")
    inner.add_step("ask", agent(scripted, "{ticket}"))
    workflow = Workflow(WorkflowConfig(name="mapped", on_error="continue"))
    workflow.add_step("check", check)
    workflow.add_step("each", agent(scripted, "Say {ticket} {tone}"), {"ticket": ["a", "b"]}, map_over="ticket")
    workflow.add_step("sub", inner, {"ticket": "deep"})
    with pytest.raises(WorkflowError):
        workflow.run(ticket="bad", tone="glad")
    notebook = nbformat.read(open_run("last", "each", 1), 4)  # type: ignore[no-untyped-call]
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert 'run.step_inputs("each", item=1)' in sources
    assert "Put its prompt into your workflow" in sources  # the journal cannot build one that holds Python
    inside = nbformat.read(open_run("last", "sub.ask"), 4)  # type: ignore[no-untyped-call]
    assert any(cell.source.startswith("%%step ask") for cell in inside.cells)


def test_the_prompt_of_a_row_that_failed_is_found_without_its_name(scripted: Endpoint) -> None:
    def check(answer: str) -> str:
        if answer != "a":
            raise ValueError(answer)
        return answer

    inner = Workflow("inner")
    asked = inner.add_step("ask", agent(scripted, "{ticket}"))
    inner.add_step("check", check, {"answer": asked})
    workflow = Workflow(WorkflowConfig(name="outer", on_error="continue"))
    workflow.add_step("rows", inner, {"ticket": ["a", "b", "c"]}, map_over="ticket")
    with pytest.raises(WorkflowError):
        workflow.run()
    for item, opened in [(None, 1), (2, 2), (0, 0)]:
        notebook = nbformat.read(open_run("last", item=item), 4)  # type: ignore[no-untyped-call]
        assert notebook.cells[0].source.startswith(f"# Step `rows[{opened}].ask` of run")
    with pytest.raises(AgentFlowError, match=r"Name one of rows\[2\]\.ask, rows\[2\]\.check"):
        open_run("last", "rows", 2)
    with pytest.raises(AgentFlowError, match="Step 'rows' was given 3 items"):
        open_run("last", item=7)


def test_what_is_not_there_is_one_clear_sentence(triage: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    run: RunResult = triage.run(ticket="x")
    for arguments, told in [
        (["lost"], "There is no run 'lost'."),
        ([run.run_id[:-1]], f"did you mean '{run.run_id}'?"),
        (["last", "--step", "replay"], "has no step 'replay' (did you mean 'reply'?). It has classify, reply."),
        (["last", "--item", "3"], "is not mapped, so it has no item 3"),
    ]:
        assert main(["open", *arguments]) == 1
        error = capsys.readouterr().err
        assert told in error
        assert len(error.splitlines()) == 1
    assert main(["open", "last", "--step", "classify", "--out", "here"]) == 0
    assert capsys.readouterr().out == "here.ipynb\n"


def test_a_journal_without_runs_says_so_and_python_has_no_cell() -> None:
    with pytest.raises(AgentFlowError, match="The journal has no run yet"):
        open_run("last")
    workflow = Workflow("python")
    workflow.add_step("code", lambda: 1)
    workflow.run()
    with pytest.raises(AgentFlowError, match="has no prompt among its steps"):
        open_run("last")
    with pytest.raises(AgentFlowError, match="is a Python function, which a %%step cell cannot hold"):
        open_run("last", "code")
