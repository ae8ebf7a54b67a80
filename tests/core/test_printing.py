"""What steps print: it is in their rows and in the journal, and prints of everybody else go where they went before."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path

import pytest

import agentflow
from agentflow import AgentConfig, SimpleAgent, Workflow, WorkflowError
from agentflow.core.printing import MOST_PRINTED
from tests.endpoint import Endpoint


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "store"))


async def test_each_step_has_what_it_printed_and_so_has_the_journal(capsys: pytest.CaptureFixture[str]) -> None:
    async def awaited(item: int) -> int:
        print("item", item)
        await asyncio.sleep(0)
        print("after", item)
        return item

    def failing() -> None:
        print("\x1b[31mred\x1b[0m <b>")
        raise ValueError

    async def other() -> None:
        for _ in range(3):
            print("not a step")
            await asyncio.sleep(0)

    inner = Workflow("inner")
    inner.add_step("thread", lambda: print("on a thread"))
    workflow = Workflow("prints")
    workflow.add_step("awaited", awaited, {"item": [1, 2]}, map_over="item")
    workflow.add_step("inner", inner)
    workflow.add_step("failing", failing, depends_on=["awaited", "inner"])
    workflow.add_step("wanted", lambda: 1, when=lambda: print("a condition") or True)
    before = sys.stdout
    with pytest.raises(WorkflowError):
        await asyncio.gather(workflow.execute(), other())
    assert sys.stdout is before
    assert workflow.last_result is not None
    run_id = workflow.last_result.run_id
    for result in (workflow.last_result, agentflow.get_run(run_id)):
        rows = result.rows
        assert [item.printed for item in rows["awaited"].items or ()] == ["item 1\nafter 1\n", "item 2\nafter 2\n"]
        assert rows["failing"].printed == "red <b>\n"
        assert rows["inner"].inner is not None
        assert rows["inner"].inner.rows["thread"].printed == "on a thread\n"
        assert rows["wanted"].printed == ""
        assert "red &lt;b&gt;" in result._repr_html_()
    printed = capsys.readouterr().out  # in a terminal all of it is seen as before
    assert printed.count("not a step\n") == 3
    assert "on a thread\n" in printed
    assert "a condition\n" in printed


def test_a_tool_prints_into_the_step_that_has_it(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def weather(city: str) -> str:
        """Return the weather."""
        print("asked for", city)
        return "rain"

    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    call = {"tool_calls": [{"name": "weather", "input": {"city": "Oslo"}}]}
    scripted.follow(replies=[call, "It rains."])
    workflow = Workflow("tools")
    agent = SimpleAgent(AgentConfig(name="ask", model_type="haiku", tools=(weather,)), prompt_template="Weather?")
    workflow.add_step("ask", agent)
    assert workflow.run().rows["ask"].printed == "asked for Oslo\n"


def test_what_is_kept_is_bounded_and_the_rest_is_still_printed(capsys: pytest.CaptureFixture[str]) -> None:
    workflow = Workflow("long")
    workflow.add_step("long", lambda: [print("x" * 999) for _ in range(100)] and None)
    result = workflow.run()
    assert len(result.rows["long"].printed) == MOST_PRINTED
    assert len(capsys.readouterr().out) == 100_000
    assert result.to_frame()["printed"].iloc[0] == result.rows["long"].printed


def test_a_step_may_redirect_its_own_output(capsys: pytest.CaptureFixture[str]) -> None:
    def redirecting() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("mine")
        return own.getvalue()

    workflow = Workflow("own")
    workflow.add_step("own", redirecting)
    result = workflow.run()
    assert result.outputs["own"] == "mine\n"
    assert result.rows["own"].printed == ""
    assert capsys.readouterr().out == ""
