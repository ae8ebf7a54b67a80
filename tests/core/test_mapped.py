"""`map_over=`: one step over a list."""

from __future__ import annotations

import asyncio
import gc
import time

import pandas as pd
import pytest

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import DefinitionError, ItemsFailedError, StepError, StepTimeoutError


def item_statuses(workflow: Workflow, step: str) -> list[str]:
    assert workflow.last_result is not None
    return [row.status.value for row in workflow.last_result.rows[step].items or []]


async def test_each_item_is_a_run_of_the_step_and_the_output_keeps_their_order() -> None:
    async def double(number: int, factor: int) -> int:
        await asyncio.sleep(0.01 / number)
        return number * factor

    workflow = Workflow("doubling")
    workflow.add_step("numbers", lambda: [1, 2, 3])
    workflow.add_step("double", double, {"number": workflow.steps["numbers"]}, map_over="number")
    workflow.add_step("total", lambda double: sum(double) + 0)
    result = await workflow.execute(factor=2)
    assert result.outputs == {"numbers": [1, 2, 3], "double": [2, 4, 6], "total": 12}
    frame = result.to_frame()
    assert frame.loc[frame["step"] == "double", "item"].to_list() == [0, 1, 2]
    assert frame.loc[frame["step"] == "double", "output"].to_list() == [2, 4, 6]
    assert frame.loc[frame["step"] == "total", "item"].isna().all()


async def test_items_run_at_the_same_time() -> None:
    all_in = asyncio.Event()
    inside = 0

    async def item(number: int) -> int:
        nonlocal inside
        inside += 1
        if inside == 20:
            all_in.set()
        await asyncio.wait_for(all_in.wait(), 5)
        return number

    workflow = Workflow("gate")
    workflow.add_step("item", item, map_over="number")
    assert (await workflow.execute(number=range(20))).outputs["item"] == list(range(20))


@pytest.mark.parametrize(
    ("config", "most"),
    [(WorkflowConfig(name="serial", enable_parallel=False), 1), (WorkflowConfig(name="three", max_concurrency=3), 3)],
)
async def test_items_count_as_steps_where_concurrency_is_limited(config: WorkflowConfig, most: int) -> None:
    now = highest = 0
    order = []

    async def item(number: int) -> None:
        nonlocal now, highest
        now += 1
        highest = max(highest, now)
        order.append(number)
        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1

    workflow = Workflow(config)
    workflow.add_step("item", item, map_over="number")
    await workflow.execute(number=list(range(10)))
    assert (highest, order) == (most, list(range(10)))


async def test_failed_items_leave_the_others_alone_and_fail_the_step_at_the_end() -> None:
    workflow = Workflow("partial")
    workflow.add_step("invert", lambda number: 1 / number, map_over="number")
    workflow.add_step("after", lambda invert: invert)
    with pytest.raises(WorkflowError, match=r"2 of 5 items failed; the first is item 1: ZeroDivisionError") as error:
        await workflow.execute(number=[1, 0, 2, 0, 4])
    assert item_statuses(workflow, "invert") == ["ok", "failed", "ok", "failed", "ok"]
    assert error.value.result.outputs == {"invert": [1, None, 0.5, None, 0.25]}
    assert error.value.result.rows["after"].status == "not run"
    cause = error.value.__cause__
    assert isinstance(cause, StepError)
    assert isinstance(cause.__cause__, ItemsFailedError)
    assert list(cause.__cause__.failures) == [1, 3]
    assert any("1 / number" in line for line in error.value._render_traceback_())


async def test_a_step_that_can_do_without_is_given_the_items_that_did_not_fail() -> None:
    workflow = Workflow(WorkflowConfig(name="partial", on_error="continue"))
    workflow.add_step("invert", lambda number: 1 / number, map_over="number")
    workflow.add_step("after", lambda invert=None: invert)
    with pytest.raises(WorkflowError) as error:
        await workflow.execute(number=[1, 0])
    assert error.value.result.outputs["after"] == [1, None]


async def test_no_items_give_an_empty_list() -> None:
    workflow = Workflow("empty")
    workflow.add_step("item", lambda number: number, map_over="number")
    workflow.add_step("count", lambda item: len(item) + 0)
    result = await workflow.execute(number=[])
    assert result.outputs == {"item": [], "count": 0}
    assert (result.status, result.rows["item"].status) == ("ok", "ok")


async def test_the_rows_of_a_dataframe_are_its_items() -> None:
    workflow = Workflow("frame")
    workflow.add_step("greet", lambda row: f"{row['name']} {row['age']}", map_over="row")
    frame = pd.DataFrame({"name": ["Ada", "Bob"], "age": [36, 7]})
    assert (await workflow.execute(row=frame)).outputs["greet"] == ["Ada 36", "Bob 7"]


@pytest.mark.parametrize("value", ["text", {"a": 1}, 7, b"bytes", None])
async def test_what_is_no_list_fails_the_step(value: object) -> None:
    workflow = Workflow("no list")
    workflow.add_step("item", lambda number: number, map_over="number")
    with pytest.raises(WorkflowError, match=r"mapped over 'number', which is no list.*Give a list"):
        await workflow.execute(number=value)


async def test_a_step_can_stand_for_the_parameter_that_is_bound_to_it() -> None:
    workflow = Workflow("by step")
    split = workflow.add_step("split", lambda: {"parts": ["a", "b"]})
    workflow.add_step("loud", lambda part: part.upper(), {"part": split.parts}, map_over=split.parts)
    parts = workflow.add_step("parts", lambda: ["c"])
    workflow.add_step("louder", lambda parts: parts.upper(), map_over=parts)
    result = await workflow.execute()
    assert (result.outputs["loud"], result.outputs["louder"]) == (["A", "B"], ["C"])
    with pytest.raises(DefinitionError, match="no parameter that is bound to split"):
        workflow.add_step("wrong", lambda part: part, map_over=split)


async def test_a_time_limit_holds_for_each_item() -> None:
    async def item(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    workflow = Workflow("limits")
    workflow.add_step("item", item, map_over="seconds", timeout_seconds=0.2)
    with pytest.raises(WorkflowError, match=r"1 of 3 items failed.*item 1: It took longer than its 0\.2 s") as error:
        await workflow.execute(seconds=[0.0, 30.0, 0.0])
    result = error.value.result
    assert isinstance((result.rows["item"].items or [])[1].error, StepTimeoutError)


async def test_a_cancelled_run_keeps_the_items_that_were_finished() -> None:
    started = asyncio.Event()

    async def item(number: int) -> int:
        if number == 3:
            started.set()
            await asyncio.sleep(60)
        return number

    workflow = Workflow("cancelled")
    workflow.add_step("item", item, map_over="number")
    task = asyncio.create_task(workflow.execute(number=[1, 2, 3, 4]))
    await asyncio.wait_for(started.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert item_statuses(workflow, "item") == ["ok", "ok", "cancelled", "ok"]


async def test_ten_thousand_items_take_no_longer_for_each_than_a_thousand() -> None:
    async def item(number: int) -> int:
        return number

    workflow = Workflow("many")
    workflow.add_step("item", item, map_over="number")

    async def seconds_per_item(count: int) -> float:
        started = time.process_time()  # others on the machine do not count
        result = await workflow.execute(number=range(count))
        assert len(result.outputs["item"]) == count
        return (time.process_time() - started) / count

    gc.freeze()  # what earlier tests have left behind is not to be looked through
    try:
        few = min([await seconds_per_item(1_000) for _ in range(5)])
        many = min([await seconds_per_item(10_000) for _ in range(3)])
    finally:
        gc.unfreeze()
    assert many < 4 * few  # quadratic would be tenfold
