"""Mapped, nested, skipped and stored steps, warnings and interrupts, in the text, the card and the frames."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agentflow import RunResult, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.outputs import Stored
from agentflow.views.frames import runs_frame
from agentflow.views.summary import so_far
from agentflow.views.text import interrupted_text

NASTY = "<script>alert(1)</script>\x1b[31m"


async def mapped(count: int, *, fail_every: int = 0) -> RunResult:
    async def item(number: int) -> int:
        if fail_every and number % fail_every == 0:
            raise ValueError(f"{NASTY} {number}")
        return number

    workflow = Workflow(WorkflowConfig(name="mapped", journal=False))
    workflow.add_step("item", item, map_over="number")
    try:
        return await workflow.execute(number=range(count))
    except WorkflowError as error:
        return error.result


async def test_a_mapped_step_is_one_line_with_how_its_items_fared() -> None:
    result = await mapped(1000, fail_every=250)
    text, html = repr(result), result._repr_html_()
    for shown in (text, html):
        assert "996 of 1,000 items ok · 4 failed" in shown
        assert "\x1b" not in shown
    assert text.count("\n") < 15
    assert "<script>" not in html
    assert html.index(">item 750<") < html.index(">item 1<")  # those that failed come first
    assert "more: .to_frame()" in html
    frame = result.to_frame()
    assert len(frame) == 1000
    assert frame["status"].value_counts().to_dict() == {"ok": 996, "failed": 4}


async def test_ten_thousand_items_make_a_small_card() -> None:
    result = await mapped(10_000)
    began = time.perf_counter()
    card = result._repr_html_()
    assert len(card) < 200_000
    assert time.perf_counter() - began < 5  # something quadratic would take minutes


async def test_no_items_are_said_to_be_none() -> None:
    assert "item: no items" in repr(await mapped(0))


async def test_a_nested_workflow_is_summed_up_and_unfolds() -> None:
    inner = Workflow("inner")
    inner.add_step("one", lambda: 1)
    inner.add_step("never", lambda: 1, when=lambda: False)
    workflow = Workflow(WorkflowConfig(name="outer", journal=False))
    workflow.add_step("sub", inner)
    result = await workflow.execute()
    assert "sub: 1 of 2 steps ok · 1 skipped" in repr(result)
    card = result._repr_html_()
    assert "1 of 2 steps ok" in card
    assert "never" in card
    assert result.to_frame()["status"].to_list() == ["ok", "skipped"]


async def test_why_a_step_was_skipped_stands_beside_it() -> None:
    workflow = Workflow(WorkflowConfig(name="skips", journal=False))
    workflow.add_step("a", lambda: 1, when=lambda: False)
    workflow.add_step("b", lambda a: a)
    result = await workflow.execute()
    for shown in (repr(result), result._repr_html_().replace("&#x27;", "'")):
        assert "its condition does not hold" in shown
        assert "it needs 'a', which was skipped" in shown


def test_warnings_are_told_once_each_and_not_without_end() -> None:
    result = RunResult(workflow="w", warnings=[f"{NASTY} {number % 8}" for number in range(80)])
    for shown in (repr(result), result._repr_html_()):
        assert shown.count("alert(1)") == 5
        assert "… and 3 more" in shown
        assert "\x1b" not in shown
    assert "<script>" not in result._repr_html_()


async def test_a_stored_output_is_not_read_for_a_glance() -> None:
    def load() -> Any:
        raise AssertionError("read for a glance")

    workflow = Workflow(WorkflowConfig(name="stored", journal=False))
    workflow.add_step("large", lambda: 1)
    result = await workflow.execute()
    result.replace_output("large", None, Stored(load, 2_500_000))
    for shown in (repr(result), result._repr_html_().replace("&#x27;", "'")):
        assert "in the journal, 2,500,000 bytes: .outputs['large'] reads it" in shown
    with pytest.raises(AssertionError):
        result.outputs["large"]


async def test_an_interrupt_shows_the_table_and_the_bill() -> None:
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.sleep(60)

    workflow = Workflow(WorkflowConfig(name="stopped", journal=False))
    for number in range(40):
        workflow.add_step(f"s{number}", hang)
    task = asyncio.create_task(workflow.execute())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = workflow.last_result
    assert result is not None
    shown = interrupted_text(result)
    assert shown.startswith("The run was interrupted; .result has what was finished.\nSo far: nothing was answered.")
    assert "... 15 more steps" in shown
    assert so_far(result) in result._repr_html_()


def test_a_history_without_runs_has_its_columns_and_types() -> None:
    frame = runs_frame([])
    assert frame.empty
    assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"
    assert [str(frame[name].dtype) for name in ("run_id", "steps", "cost_usd", "memory_mb")] == [
        "string", "Int64", "Float64", "Float64",
    ]  # fmt: skip
    assert frame.attrs["units"]["memory_mb"] == "MB"
