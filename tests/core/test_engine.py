"""One run: concurrency, timeouts, failures, interrupts, events."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextvars import ContextVar

import pytest

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import DefinitionError, StepError, WorkflowTimeoutError
from agentflow.core.events import RunFinished, RunStarted, StepFinished, StepStarted
from agentflow.utils.threads import FUNCTION_THREADS


class Gate:
    """Counts how many steps are inside at once, and lets them out together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside = 0
        self.peak = 0
        self._all_in = asyncio.Event()

    async def pass_through(self) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        if self.inside == self.size:
            self._all_in.set()
        await self._all_in.wait()


async def test_independent_steps_run_at_once() -> None:
    gate = Gate(3)
    workflow = Workflow("parallel")
    for name in "abc":
        workflow.add_step(name, gate.pass_through)
    result = await asyncio.wait_for(workflow.execute(), 5)
    assert (result.status, gate.peak) == ("ok", 3)


@pytest.mark.parametrize(
    ("config", "peak"),
    [
        (WorkflowConfig(name="serial", enable_parallel=False), 1),
        (WorkflowConfig(name="two", max_concurrency=2), 2),
        (WorkflowConfig(name="free"), 6),
    ],
)
async def test_concurrency_is_limited(config: WorkflowConfig, peak: int) -> None:
    now = highest = 0

    async def step() -> None:
        nonlocal now, highest
        now += 1
        highest = max(highest, now)
        for _ in range(10):
            await asyncio.sleep(0)
        now -= 1

    workflow = Workflow(config)
    for name in "abcdef":
        workflow.add_step(name, step)
    await workflow.execute()
    assert highest == peak


async def test_a_step_starts_when_its_own_inputs_are_there() -> None:
    """`quick_next` does not wait for `slow`, which stands on the same level as `quick`."""
    done = asyncio.Event()

    async def slow() -> str:
        await asyncio.wait_for(done.wait(), 5)
        return "slow"

    async def quick() -> str:
        return "quick"

    async def quick_next(quick: str) -> None:
        assert quick
        done.set()

    workflow = Workflow("no levels")
    workflow.add_step("slow", slow)
    workflow.add_step("quick", quick)
    workflow.add_step("quick_next", quick_next)
    assert (await workflow.execute()).status == "ok"


async def test_sync_functions_run_off_the_event_loop_with_the_callers_context() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")
    barrier = threading.Barrier(20)

    def step() -> tuple[str, bool]:
        barrier.wait(5)
        return variable.get(), threading.current_thread() is threading.main_thread()

    workflow = Workflow("threads")
    for number in range(20):
        workflow.add_step(f"s{number}", step)
    assert set((await workflow.execute()).outputs.values()) == {("seen", False)}


async def test_a_failure_cancels_the_others_and_keeps_what_was_finished() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    def fail(ready: int) -> None:
        raise ValueError(f"no {ready}")

    workflow = Workflow("failing")
    workflow.add_step("ready", lambda: 1)
    workflow.add_step("hang", hang)
    workflow.add_step("fail", fail)
    workflow.add_step("after", lambda fail: fail)
    with pytest.raises(WorkflowError, match="workflow 'failing' failed: Step 'fail' failed: ValueError: no 1") as error:
        await workflow.execute()
    result = error.value.result
    assert result is workflow.last_result
    assert {row.step: row.status.value for row in result.rows.values()} == {
        "ready": "ok", "hang": "cancelled", "fail": "failed", "after": "not run",
    }  # fmt: skip
    assert result.outputs == {"ready": 1}
    assert isinstance(error.value.__cause__, StepError)
    assert isinstance(error.value.__cause__.__cause__, ValueError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_step_that_wants_to_exit_fails_and_the_loop_lives(error: BaseException) -> None:
    def leave() -> None:
        raise error

    async def leave_async() -> None:
        raise error

    for function in (leave, leave_async):
        workflow = Workflow("exit")
        workflow.add_step("leave", function)
        with pytest.raises(WorkflowError, match=type(error).__name__):
            workflow.run()
        workflow.add_step("leave", lambda: "stayed")
        assert workflow.run().outputs == {"leave": "stayed"}


async def test_on_error_continue_runs_all_that_can_still_run() -> None:
    def fail() -> None:
        raise ValueError("no")

    workflow = Workflow(WorkflowConfig(name="going on", on_error="continue"))
    workflow.add_step("fail", fail)
    workflow.add_step("needs_it", lambda fail: fail)
    workflow.add_step("other", lambda: 1)
    workflow.add_step("next", lambda other: other + 1)
    with pytest.raises(WorkflowError) as error:
        await workflow.execute()
    assert error.value.result.outputs == {"other": 1, "next": 2}


async def test_a_timeout_names_the_hung_step() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    workflow = Workflow(WorkflowConfig(name="slow", timeout_seconds=0.05))
    workflow.add_step("fine", lambda: 1)
    workflow.add_step("hung", hang)
    with pytest.raises(WorkflowError, match=r"longer than its 0\.05 s, in step 'hung'.*timeout_seconds") as error:
        await workflow.execute()
    assert isinstance(error.value.__cause__, WorkflowTimeoutError)


async def test_cancelling_execute_leaves_a_partial_result() -> None:
    workflow = Workflow("cancelled")
    started = asyncio.Event()

    async def hang(first: int) -> None:
        started.set()
        await asyncio.sleep(60 * first)

    workflow.add_step("first", lambda: 1)
    workflow.add_step("hang", hang)
    task = asyncio.create_task(workflow.execute())
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert workflow.last_result is not None
    assert (workflow.last_result.status, workflow.last_result.outputs) == ("interrupted", {"first": 1})


async def test_run_works_where_a_loop_already_runs_but_not_inside_a_step() -> None:
    workflow = Workflow("outer")
    workflow.add_step("a", lambda: 1)
    assert workflow.run().status == "ok"

    async def nested() -> None:
        workflow.run()

    outer = Workflow("nested")
    outer.add_step("nested", nested)
    with pytest.raises(WorkflowError, match=r"run\(\) was called inside a step") as error:
        outer.run()
    assert isinstance(error.value.__cause__, StepError)
    assert isinstance(error.value.__cause__.__cause__, DefinitionError)


def test_sync_steps_that_run_workflows_do_not_wait_for_each_others_threads() -> None:
    inner = Workflow(WorkflowConfig(name="inner", timeout_seconds=10))
    inner.add_step("one", lambda: 1)
    outer = Workflow("outer")
    for number in range(FUNCTION_THREADS + 8):
        outer.add_step(f"s{number}", lambda: inner.run().outputs["one"])
    assert set(outer.run().outputs.values()) == {1}


async def test_stream_yields_the_events_of_a_run() -> None:
    workflow = Workflow("events")
    workflow.add_step("a", lambda: 1)
    workflow.add_step("b", lambda a: a + 1)
    events = [event async for event in workflow.stream()]
    assert [type(event) for event in events] == [
        RunStarted, StepStarted, StepFinished, StepStarted, StepFinished, RunFinished,
    ]  # fmt: skip


async def test_leaving_a_stream_early_cancels_the_run() -> None:
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    workflow = Workflow("left")
    workflow.add_step("hang", hang)
    stream = workflow.stream()
    async for event in stream:
        if isinstance(event, StepStarted):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    assert await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_thousand_steps_in_a_chain_and_side_by_side() -> None:
    workflow = Workflow("large")
    workflow.add_step("s0", lambda: 0)
    for number in range(1, 1000):
        workflow.add_step(f"s{number}", lambda before: before + 1, {"before": workflow.steps[f"s{number - 1}"]})
    for number in range(1000):
        workflow.add_step(f"w{number}", lambda: 1)
    outputs = (await workflow.execute()).outputs
    assert outputs["s999"] == 999
    assert len(outputs) == 2000


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_stops_a_script_at_once_and_keeps_what_was_done() -> None:
    """Also while a sync step sits in a thread that nothing can stop."""
    script = textwrap.dedent("""
        import time
        from agentflow import RunInterrupted, Workflow
        workflow = Workflow("script")
        workflow.add_step("first", lambda: 1)
        workflow.add_step("hang", lambda first: (print("running", flush=True), time.sleep(60)))
        try:
            workflow.run()
        except RunInterrupted as error:
            print(error.result.status, error.result.outputs, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    sent = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert output == "interrupted {'first': 1}\n"
    assert (process.returncode, time.monotonic() - sent < 5) == (0, True)


async def test_a_cancelled_error_of_something_else_fails_the_step() -> None:
    async def awaits_cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    workflow = Workflow("inner")
    workflow.add_step("inner", awaits_cancelled)
    workflow.add_step("after", lambda inner: inner)
    with pytest.raises(WorkflowError, match="Step 'inner' failed: CancelledError") as error:
        await workflow.execute()
    assert error.value.result.status == "failed"


def test_a_stop_iteration_fails_the_step() -> None:
    workflow = Workflow("stop")
    workflow.add_step("stop", lambda: next(iter(())))
    with pytest.raises(WorkflowError, match="StopIteration"):
        workflow.run()


@pytest.mark.parametrize("error", [BaseException("base"), type("Mute", (Exception,), {"__str__": lambda _: 1 / 0})()])
async def test_any_exception_ends_the_run_and_its_stream(error: BaseException) -> None:
    async def leave() -> None:
        raise error

    workflow = Workflow("any")
    workflow.add_step("leave", leave)
    last = None
    with pytest.raises(WorkflowError, match=r"Step 'leave' failed: (BaseException: base|Mute)"):  # noqa: PT012
        async for event in workflow.stream():
            last = event
    assert isinstance(last, RunFinished)
    assert last.status == "failed"
    result = workflow.last_result
    assert result is not None
    assert type(error).__name__ in repr(result)
    assert type(error).__name__ in result._repr_html_()
    assert result.to_frame()["error_type"].to_list() == [type(error).__name__]


def test_a_generator_is_no_output() -> None:
    workflow = Workflow("generator")
    workflow.add_step("numbers", lambda: (number for number in range(3)))
    with pytest.raises(WorkflowError, match=r"returned a generator.*Return its values"):
        workflow.run()


async def test_a_signal_handler_that_is_set_during_a_run_stays() -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    workflow = Workflow("signals")
    workflow.add_step("handler", lambda: loop.call_soon_threadsafe(loop.add_signal_handler, signal.SIGUSR1, seen.set))

    async def linger(handler: object) -> None:
        await asyncio.sleep(0.01)

    workflow.add_step("linger", linger)
    await workflow.execute()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert await asyncio.wait_for(seen.wait(), 5)
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_runs_workflows_of_its_own() -> None:
    workflow = Workflow("fork")
    workflow.add_step("pid", os.getpid)
    parent = workflow.run().outputs["pid"]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child = pool.apply_async(_pid_of_a_run).get(timeout=20)
    assert child not in {parent, None}


def _pid_of_a_run() -> object:
    workflow = Workflow("fork")
    workflow.add_step("pid", os.getpid)
    return workflow.run().outputs["pid"]


def test_errors_pass_between_processes() -> None:
    def fail() -> None:
        raise ValueError("no")

    workflow = Workflow("pickled")
    workflow.add_step("fail", fail)
    with pytest.raises(WorkflowError) as caught:
        workflow.run()
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert copied.result.rows["fail"].status == "failed"
