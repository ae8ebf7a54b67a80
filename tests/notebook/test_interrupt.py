"""The stop button with fifty calls in flight: the cell returns at once, nothing more is sent, no answer is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentflow
from tests.endpoint import Endpoint, running
from tests.notebook.kernel import Kernel, running_kernel

IN_FLIGHT, QUEUED = 50, 30
ANSWER_SECONDS = 4.0  # so long do the calls in flight take

BUILD = """
import os
os.environ.update(BEDROCK_ENDPOINT_URL={url!r}, BEDROCK_MAX_CONNECTIONS="{connections}", AGENTFLOW_HOME={home!r})
from agentflow import AgentConfig, SimpleAgent, Workflow
agent = SimpleAgent(AgentConfig(name="echo", model_type="haiku"), prompt_template="Say {{word}}")
workflow = Workflow("stopped")
workflow.add_step("first", lambda: print("started", flush=True))
workflow.add_step("ask", agent, map_over="word", depends_on="first")
words = [str(number) for number in range({words})]
async def nested():
    return workflow.run(word=words)
def magic(line):
    return workflow.run(word=words)
get_ipython().register_magic_function(magic, "line", "magic")
"""
CALLS = {
    "run": "workflow.run(word=words)",
    "execute": "await workflow.execute(word=words)",
    "magic": "%magic",
    "run inside a coroutine": "await nested()",
}


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel(AGENTFLOW_DISPLAY="off") as kernel:
        yield kernel


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running("--port", "0", "--model", "scripted") as endpoint:
        yield endpoint


def until(seconds: float, reached: object) -> None:
    """Wait until a condition, given as a function, holds."""
    end = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_returns_at_once_and_the_answers_in_flight_are_kept(
    kernel: Kernel, endpoint: Endpoint, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "store"))
    endpoint.follow(latency_ms=ANSWER_SECONDS * 1000)
    kernel.run(
        BUILD.format(url=endpoint.url, connections=IN_FLIGHT, home=str(tmp_path / "store"), words=IN_FLIGHT + QUEUED)
    )
    pressed = 0.0

    def wait_for_calls() -> None:
        nonlocal pressed
        until(10, lambda: endpoint.stats()["in_flight"] == IN_FLIGHT)
        pressed = time.monotonic()

    shown = kernel.run(CALLS[call], interrupt_on="started", before_interrupt=wait_for_calls, tracebacks=True)
    assert time.monotonic() - pressed < ANSWER_SECONDS / 2
    assert "The run was interrupted" in shown
    assert "given up" in shown

    endpoint.follow(latency_ms=ANSWER_SECONDS * 500)
    again = f"len(workflow.run(word=words[:{IN_FLIGHT}]).outputs['ask'])"
    assert kernel.run(again).endswith(str(IN_FLIGHT))
    stats = endpoint.stats()
    assert stats["requests"] == 2 * IN_FLIGHT  # of the queued ones none was sent
    assert stats["peak_in_flight"] == 2 * IN_FLIGHT  # the second run had its full width while the first calls went on

    first = agentflow.runs()["run_id"].iloc[-1]
    until(10, lambda: len(agentflow.get_run(first).rows["ask"].replies) == IN_FLIGHT)
    assert agentflow.get_run(first).status == "interrupted"
    assert kernel.run(f"len((await workflow.resume({first!r})).outputs['ask'])") == str(IN_FLIGHT + QUEUED)
    assert endpoint.stats()["requests"] == 2 * IN_FLIGHT + QUEUED  # what was answered late was not asked again


def test_a_second_interrupt_is_hard(kernel: Kernel, endpoint: Endpoint, tmp_path: Path) -> None:
    kernel.run(BUILD.format(url=endpoint.url, connections=2, home=str(tmp_path / "store"), words=1))
    kernel.run(
        """
import threading, time
started = threading.Event()
async def stubborn():
    time.sleep(30)  # blocks the loop: nothing can stop it
slow = Workflow("slow")
slow.add_step("stubborn", stubborn)
def twice():
    import _thread
    time.sleep(0.5)
    _thread.interrupt_main()
    time.sleep(0.5)
    _thread.interrupt_main()
"""
    )
    began = time.monotonic()
    shown = kernel.run("threading.Thread(target=twice).start()\nslow.run()")
    assert shown.endswith("KeyboardInterrupt")
    assert time.monotonic() - began < 10
