"""Readers of events: they see all of a run, and can neither stop nor slow it."""

from __future__ import annotations

import threading
import time

import pytest

from agentflow import AgentConfig, RunResult, SimpleAgent, Workflow
from agentflow.core.events import Event, RunFinished, RunStarted
from tests.endpoint import Endpoint


def workflow(steps: int = 3) -> Workflow:
    made = Workflow("read")
    for number in range(steps):
        made.add_step(f"s{number}", lambda: 1)
    return made


def test_a_reader_is_given_every_event_in_order_on_its_own_thread() -> None:
    seen: list[Event] = []
    threads = set()
    done = threading.Event()

    def reader(event: Event, result: RunResult) -> None:
        seen.append(event)
        threads.add(threading.current_thread().name)
        if isinstance(event, RunFinished) and result.run_id == made.last_result.run_id:  # type: ignore[union-attr]
            done.set()

    made = workflow()
    made.add_reader(reader)
    made.run()
    assert done.wait(5)
    assert isinstance(seen[0], RunStarted)
    assert (len(seen), threads) == (8, {"agentflow-reader"})


def test_a_reader_that_raises_is_counted_and_told_once() -> None:
    done = threading.Event()

    def broken(event: Event, _result: RunResult) -> None:
        if isinstance(event, RunFinished):
            done.set()
        raise ValueError("no disk")

    made = workflow()
    made.add_reader(broken)
    result = made.run()
    assert result.status == "ok"
    assert done.wait(5)
    until = time.monotonic() + 5
    while result.reader_failures < 8 and time.monotonic() < until:
        time.sleep(0.01)
    assert result.reader_failures == 8
    assert len(result.warnings) == 1
    assert "broken' failed on RunStarted: ValueError: no disk" in result.warnings[0]


def test_a_slow_reader_does_not_slow_the_run() -> None:
    go_on = threading.Event()
    made = workflow(100)

    def slow(_event: Event, _result: RunResult) -> None:
        go_on.wait(30)

    made.add_reader(slow)
    assert made.run().status == "ok"  # it would take for ever
    go_on.set()


def test_a_reader_that_was_removed_sees_nothing_more() -> None:
    seen: list[Event] = []

    def reader(event: Event, _result: RunResult) -> None:
        seen.append(event)

    made = workflow()
    made.add_reader(reader)
    made.remove_reader(reader)
    made.run()
    assert seen == []


def test_who_may_not_stream_is_answered_all_the_same(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    denied = {"fault": "error", "code": "AccessDeniedException", "status": 403, "message": "not authorized"}
    scripted.faults({**denied, "operation": "ConverseStream"})
    workflow = Workflow("watched")
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="ask", model_type="haiku"), prompt_template="Say it"))
    workflow.add_reader(lambda _event, _result: None, deltas=True)
    result = workflow.run()
    assert (result.status, result.attempts) == ("ok", 1)
