"""`start()`: a run in the background, and its handle."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentflow import RunInterrupted, Workflow, WorkflowError
from agentflow.core.errors import InputError


def waiting() -> tuple[Workflow, threading.Event, threading.Event]:
    started, go_on = threading.Event(), threading.Event()

    def step(first: int) -> int:
        started.set()
        go_on.wait(30)
        return first + 1

    workflow = Workflow("background")
    workflow.add_step("first", lambda: 1)
    workflow.add_step("second", step)
    return workflow, started, go_on


def test_start_returns_at_once_and_the_result_grows() -> None:
    workflow, started, go_on = waiting()
    handle = workflow.start()
    assert started.wait(5)
    assert (handle.done, handle.result.status, dict(handle.result.outputs)) == (False, "running", {"first": 1})
    assert "running" in repr(handle)
    go_on.set()
    assert handle.wait().outputs == {"first": 1, "second": 2}
    assert handle.done


async def test_a_handle_can_be_awaited_also_twice() -> None:
    workflow, _, go_on = waiting()
    handle = workflow.start()
    go_on.set()
    assert (await handle).status == "ok"
    assert (await handle) is handle.result


def test_cancel_keeps_what_was_finished() -> None:
    workflow, started, go_on = waiting()
    handle = workflow.start()
    assert started.wait(5)
    handle.cancel()
    with pytest.raises(RunInterrupted) as error:
        handle.wait()
    assert dict(error.value.result.outputs) == {"first": 1}
    assert error.value.result.status == "interrupted"
    go_on.set()


async def test_awaiting_a_cancelled_run_is_a_cancelled_error_with_its_result() -> None:
    workflow, started, go_on = waiting()
    handle = workflow.start()
    assert await asyncio.to_thread(started.wait, 5)
    handle.cancel()
    with pytest.raises(asyncio.CancelledError) as error:
        await handle
    assert error.value.result.outputs == {"first": 1}  # type: ignore[attr-defined]
    go_on.set()


async def test_a_failure_is_raised_where_somebody_waits() -> None:
    workflow = Workflow("failing")
    workflow.add_step("fail", lambda: 1 / 0)
    handle = workflow.start()
    with pytest.raises(WorkflowError, match="division by zero"):
        await handle
    with pytest.raises(WorkflowError, match="division by zero"):
        handle.wait()


def test_wrong_inputs_are_told_before_anything_starts() -> None:
    workflow = Workflow("wrong")
    workflow.add_step("a", lambda text: text)
    with pytest.raises(InputError):
        workflow.start()


def test_a_hundred_runs_at_once() -> None:
    workflow = Workflow("many")
    workflow.add_step("double", lambda number: number * 2)
    handles = [workflow.start(number=number) for number in range(100)]
    assert [handle.wait().outputs["double"] for handle in handles] == [number * 2 for number in range(100)]
