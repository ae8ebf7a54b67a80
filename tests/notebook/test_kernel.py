"""AgentFlow in a real kernel: the same calls work in a cell, awaited, pasted from a script, and when interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.notebook.kernel import Kernel, running_kernel

BUILD = """
from agentflow import RunInterrupted, Workflow
workflow = Workflow("cell")
workflow.add_step("a", lambda: 1)
workflow.add_step("b", lambda a: a + 1)
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel(AGENTFLOW_DISPLAY="off") as kernel:
        yield kernel


def test_run_and_await_execute_work_in_a_cell(kernel: Kernel) -> None:
    kernel.run(BUILD)
    assert kernel.run("workflow.run().outputs['b']") == "2"
    assert kernel.run("(await workflow.execute()).outputs['b']") == "2"
    assert kernel.run("async def nested():\n    return workflow.run().outputs['b']\nawait nested()") == "2"


def test_a_script_with_asyncio_run_can_be_pasted_after_the_magic(kernel: Kernel) -> None:
    kernel.run(BUILD)
    paste = "import asyncio\nasync def main():\n    return (await workflow.execute()).outputs['b']\nasyncio.run(main())"
    assert kernel.run(paste) == "RuntimeError"
    assert len(kernel.run("%load_ext agentflow\n%agentflow asyncio").splitlines()) == 1
    assert kernel.run(paste) == "2"


@pytest.mark.parametrize(
    "call", ["workflow.run()", "async def nested():\n    workflow.run()\nawait nested()", "await workflow.execute()"]
)
def test_an_interrupt_stops_a_run_at_once_and_keeps_what_was_done(kernel: Kernel, call: str) -> None:
    kernel.run(BUILD)
    kernel.run("import time\nworkflow.add_step('c', lambda b: (print('running', flush=True), time.sleep(30)))")
    started = time.monotonic()
    output = kernel.run(call, interrupt_on="running")
    assert output.endswith("CancelledError" if "execute" in call else "RunInterrupted")
    assert time.monotonic() - started < 4  # it would sleep for 30 s
    assert (
        kernel.run("workflow.last_result.status, workflow.last_result.outputs") == "('interrupted', {'a': 1, 'b': 2})"
    )


def test_an_error_is_a_sentence_under_the_users_own_frames(kernel: Kernel) -> None:
    kernel.run("from agentflow import Workflow\nbroken = Workflow('broken')")
    kernel.run("def divide(number):\n    return 1 / number\nbroken.add_step('divide', divide)")
    shown = kernel.run("broken.run(number=0)", tracebacks=True)
    assert "return 1 / number" in shown
    assert "WorkflowError: workflow 'broken' failed: Step 'divide' failed: ZeroDivisionError: division by zero" in shown
    assert "threads.py" not in shown
    shown = kernel.run("broken.run(numbr=0)", tracebacks=True)
    assert [line.split(":")[0] for line in shown.splitlines()] == ["InputError", "Fix", "Kept", "Then"]
    assert "did you mean 'numbr'" in shown
    kernel.run("broken.run(number=0)", tracebacks=True)
    assert "threads.py" in kernel.run("%tb", tracebacks=True)
