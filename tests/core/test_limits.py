"""Time limits of steps, the cap on active workflows, outputs that are not kept."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import StepError, StepTimeoutError
from agentflow.utils.env import SettingError


async def test_a_step_that_takes_too_long_is_named() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    workflow = Workflow("slow")
    workflow.add_step("fine", lambda: 1)
    workflow.add_step("hang", hang, timeout_seconds=0.05)
    with pytest.raises(WorkflowError, match=r"Step 'hang' failed: It took longer than its 0\.05 s\.") as error:
        await workflow.execute()
    assert isinstance(error.value.__cause__, StepError)
    assert isinstance(error.value.__cause__.__cause__, StepTimeoutError)
    assert "timeout_seconds" in error.value.fix


async def test_a_sync_step_that_takes_too_long_is_left_behind() -> None:
    workflow = Workflow("slow")
    workflow.add_step("hang", lambda: time.sleep(5), timeout_seconds=0.05)
    started = time.monotonic()
    with pytest.raises(WorkflowError, match="Step 'hang' failed: It took longer"):
        await workflow.execute()
    assert time.monotonic() - started < 4


async def test_a_timeout_error_of_the_steps_own_is_not_taken_for_its_limit() -> None:
    async def own() -> None:
        raise TimeoutError("mine")

    workflow = Workflow("own")
    workflow.add_step("own", own, timeout_seconds=30)
    with pytest.raises(WorkflowError, match="Step 'own' failed: TimeoutError: mine"):
        await workflow.execute()


async def test_a_step_that_will_not_stop_does_not_hold_the_run_up() -> None:
    release = asyncio.Event()

    async def stubborn() -> str:
        while not release.is_set():
            try:
                await asyncio.wait_for(release.wait(), 60)
            except asyncio.CancelledError:
                continue
        return "late"

    workflow = Workflow(WorkflowConfig(name="stubborn", timeout_seconds=0.1))
    workflow.add_step("stubborn", stubborn)
    workflow.add_step("after", lambda stubborn: stubborn)
    with pytest.raises(WorkflowError, match="in step 'stubborn'") as error:
        await asyncio.wait_for(workflow.execute(), 5)
    release.set()
    await asyncio.sleep(0.05)
    result = error.value.result
    assert (result.rows["stubborn"].status, result.rows["after"].status) == ("cancelled", "not run")
    assert result.outputs == {}


class Peak:
    def __init__(self) -> None:
        self.now = self.highest = 0

    async def step(self) -> None:
        self.now += 1
        self.highest = max(self.highest, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1


async def test_a_process_runs_no_more_workflows_at_once_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_ACTIVE_WORKFLOWS", "3")
    peak = Peak()

    def workflow() -> Workflow:
        made = Workflow("capped")
        made.add_step("step", peak.step)
        return made

    results = await asyncio.gather(*(workflow().execute() for _ in range(10)))
    assert (peak.highest, {result.status for result in results}) == (3, {"ok"})


def test_the_cap_holds_for_runs_of_several_threads_and_nested_ones_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_ACTIVE_WORKFLOWS", "1")
    inner = Workflow("inner")
    inner.add_step("one", lambda: 1)

    def outer(_number: int) -> object:
        workflow = Workflow("outer")
        workflow.add_step("sub", inner)
        workflow.add_step("called", lambda: inner.run().outputs["one"])
        return workflow.run().outputs

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(outer, range(8), timeout=30))
    assert results == [{"sub": {"one": 1}, "called": 1}] * 8


async def test_a_cancelled_run_that_waits_for_its_turn_gives_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_ACTIVE_WORKFLOWS", "1")
    go_on = asyncio.Event()
    workflow = Workflow("first")
    workflow.add_step("wait", go_on.wait)
    first = asyncio.create_task(workflow.execute())
    await asyncio.sleep(0.01)
    second = asyncio.create_task(workflow.execute())
    third = asyncio.create_task(workflow.execute())
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    assert (await first).status == (await asyncio.wait_for(third, 5)).status == "ok"


def test_a_cap_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_ACTIVE_WORKFLOWS", "many")
    with pytest.raises(SettingError, match="AGENTFLOW_MAX_ACTIVE_WORKFLOWS=many"):
        Workflow("w")


async def test_outputs_that_no_later_step_needs_are_dropped() -> None:
    workflow = Workflow(WorkflowConfig(name="lean", keep_outputs=False))
    workflow.add_step("a", lambda: [0] * 1000)
    workflow.add_step("b", lambda a: sum(a) + 1000)
    workflow.add_step("c", lambda a, b: len(a) + b)
    workflow.add_step("skipped", lambda b: b, when=lambda: False)
    workflow.add_step("end", lambda c: c)
    result = await workflow.execute()
    assert dict(result.outputs) == {"end": 2000}
    assert result.rows["a"].output is None
    assert result.rows["a"].status == "ok"
