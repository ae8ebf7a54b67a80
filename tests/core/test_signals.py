"""SIGTERM is a first interrupt: what was finished is kept, and the process exits with 143."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import agentflow
from tests.notebook.kernel import running_kernel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

SCRIPT = """
    import asyncio, time
    from agentflow import Workflow
    workflow = Workflow("terminated")
    workflow.add_step("first", lambda: 1)
    workflow.add_step("hang", lambda first: (print("running", flush=True), time.sleep(60)))
    try:
        CALL
    finally:
        print(workflow.last_result.status, dict(workflow.last_result.outputs), flush=True)
"""


def stopped(call: str, number: signal.Signals) -> tuple[str, int]:
    """Run a script, send it a signal while its second step hangs, and return what it printed and its exit code."""
    script = textwrap.dedent(SCRIPT).replace("CALL", call)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=45)
    return output, process.returncode


@pytest.mark.parametrize(
    "call",
    [
        "workflow.run()",
        "asyncio.run(workflow.execute())",
        "workflow.start().wait()",
        "asyncio.run(asyncio.wait_for(workflow.execute(), 60))",
    ],
)
def test_sigterm_keeps_what_was_finished_and_exits_with_143(call: str) -> None:
    assert stopped(call, signal.SIGTERM) == ("interrupted {'first': 1}\n", 143)
    row = agentflow.runs().iloc[0]
    assert row["status"] == "interrupted"
    result = agentflow.get_run(row["run_id"])
    assert dict(result.outputs) == {"first": 1}
    assert result.rows["hang"].status == "cancelled"


def test_ctrl_c_in_asyncio_run_keeps_what_was_finished() -> None:
    output, code = stopped("asyncio.run(workflow.execute())", signal.SIGINT)
    assert output == "interrupted {'first': 1}\n"
    assert code in {-signal.SIGINT, 130}


def test_a_handler_of_the_programs_own_is_left_alone() -> None:
    call = "import signal, os; signal.signal(signal.SIGTERM, lambda *_: os._exit(7)); workflow.run()"
    assert stopped(call, signal.SIGTERM)[1] == 7


def test_a_kernel_that_is_told_to_terminate_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "kernel"
    with running_kernel() as kernel:
        kernel.run(f"import os, signal, threading, time\nos.environ['AGENTFLOW_HOME'] = {str(home)!r}")
        kernel.run("from agentflow import Workflow\nworkflow = Workflow('kernel')\nworkflow.add_step('a', lambda: 1)")
        kernel.run("workflow.add_step('b', lambda a: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)))")
        kernel.client.execute("workflow.run()")
        provisioner = kernel.manager.provisioner
        assert provisioner is not None
        process = provisioner.process  # type: ignore[attr-defined]
        assert process.wait(20) == 143
    monkeypatch.setenv("AGENTFLOW_HOME", str(home))
    assert agentflow.runs()["status"].to_list() == ["interrupted"]
    assert dict(agentflow.get_run(agentflow.runs()["run_id"][0]).outputs) == {"a": 1}
