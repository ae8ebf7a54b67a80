"""`agentflow health --serve` in a process of its own: /live, /ready, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.cli import main
from agentflow.core.errors import WorkflowError
from agentflow.ops.health import readiness
from agentflow.ops.health.readiness import Readiness
from agentflow.store.journal import journal
from tests.endpoint import Endpoint
from tests.ops.gateway import silence

NOBODY = "http://127.0.0.1:9"


@contextmanager
def serving(*options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "agentflow", "health", "--serve", "--port", "0", *options]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            yield next(word for word in first.split() if word.startswith("http://127.0.0.1:")), process
        finally:
            process.kill()


def get(url: str, **headers: str) -> tuple[int, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def ask(endpoint_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a workflow of one prompt, and return the id of the run."""
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    workflow = Workflow("traffic")
    client = BedrockClient("us-east-1", endpoint_url=endpoint_url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="ask"), client, prompt_template="Hello"))
    try:
        return workflow.run().run_id
    except WorkflowError as error:
        return error.result.run_id
    finally:
        assert journal().flush(10)


def test_live_calls_nobody_and_ready_probes_once_for_all_who_ask(scripted: Endpoint) -> None:
    with serving(BEDROCK_ENDPOINT_URL=scripted.url) as (url, process):
        status, live = get(f"{url}/live")
        assert (status, live["live"], live["pid"]) == (200, True, process.pid)
        assert scripted.stats()["requests"] == 0
        with ThreadPoolExecutor(8) as askers:
            answers = list(askers.map(get, [f"{url}/ready"] * 8))
        assert {(status, told["ready"], told["by"]) for status, told in answers} == {(200, True, "probe")}
        assert get(f"{url}/ready")[0] == 200
        assert scripted.stats()["requests"] == 1
        assert get(f"{url}/")[0] == 404


def test_not_ready_is_503_with_the_reason_and_live_all_the_same() -> None:
    with serving(BEDROCK_ENDPOINT_URL=NOBODY) as (url, _):
        status, told = get(f"{url}/ready")
        assert (status, told["ready"]) == (503, False)
        assert "bedrock_connectivity: 127.0.0.1:9 cannot be reached" in told["said"]
        assert get(f"{url}/live")[0] == 200


def test_live_answers_while_a_probe_waits() -> None:
    with ThreadPoolExecutor(1) as asker, silence() as silent, serving(BEDROCK_ENDPOINT_URL=silent) as (url, _):
        waiting = asker.submit(get, f"{url}/ready")
        assert get(f"{url}/live")[0] == 200
        assert not waiting.done()


def test_real_traffic_tells_before_any_probe(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(BEDROCK_ENDPOINT_URL=NOBODY) as (url, _):  # where a probe would fail
        run_id = ask(scripted.url, monkeypatch)
        status, told = get(f"{url}/ready")
        assert (status, told["by"], told["said"]) == (200, "traffic", f"haiku-4-5 answered (run {run_id})")
        scripted.faults({"fault": "expired_token"})
        run_id = ask(scripted.url, monkeypatch)
        status, told = get(f"{url}/ready")
        assert (status, told["said"]) == (503, f"haiku-4-5: ExpiredTokenException (run {run_id})")
        scripted.faults()
        ask(scripted.url, monkeypatch)
        assert get(f"{url}/ready")[0] == 200


@pytest.mark.parametrize(
    ("fault", "ready"),
    [("unavailable", False), ("iam_denied", False), ("throttled_per_day", True), ("wrong_profile", True)],
)
def test_a_failure_that_is_one_requests_own_leaves_it_ready(
    scripted: Endpoint, monkeypatch: pytest.MonkeyPatch, fault: str, ready: bool
) -> None:
    scripted.faults({"fault": fault})
    ask(scripted.url, monkeypatch)
    verdict = Readiness(call=True).now()
    assert (verdict.ready, verdict.by) == (ready, "traffic")
    assert scripted.stats()["requests"] == 1


class Later(datetime):
    """The time, some minutes later."""

    @classmethod
    def now(cls, tz: Any = None) -> Later:
        return cls.fromtimestamp((datetime.now(tz) + timedelta(minutes=5)).timestamp(), tz)


def test_old_traffic_says_nothing_and_an_old_probe_is_made_again(
    scripted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(scripted.url, monkeypatch)
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    monkeypatch.setattr(readiness, "datetime", Later)
    ready = Readiness(call=True)
    assert (ready.now().by, ready.now().by) == ("probe", "probe")
    assert scripted.stats()["requests"] == 2
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0)
    assert ready.now().ready
    assert scripted.stats()["requests"] == 3


def test_without_calls_a_probe_only_reaches_the_endpoint(scripted: Endpoint) -> None:
    with serving("--no-call", BEDROCK_ENDPOINT_URL=scripted.url) as (url, _):
        status, told = get(f"{url}/ready")
        assert (status, told["by"]) == (200, "probe")
        assert scripted.stats()["requests"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal_with_0(scripted: Endpoint, number: signal.Signals) -> None:
    with serving(BEDROCK_ENDPOINT_URL=scripted.url) as (url, process):
        assert get(f"{url}/live")[0] == 200
        process.send_signal(number)
        assert process.wait(10) == 0


def test_it_ends_also_while_a_probe_waits() -> None:
    with silence() as silent, serving(BEDROCK_ENDPOINT_URL=silent) as (url, process):
        asker = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        asker.sendall(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert get(f"{url}/live")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        asker.close()


def test_web_pages_are_refused(scripted: Endpoint) -> None:
    with serving(BEDROCK_ENDPOINT_URL=scripted.url) as (url, _):
        assert get(f"{url}/ready", Host="rebound.example.com")[0] == 403
        assert get(f"{url}/ready", Host="rebound.example.com:80")[0] == 403
        assert scripted.stats()["requests"] == 0


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with silence() as taken:
        port = taken.rpartition(":")[2]
        assert main(["health", "--serve", "--port", port]) == 1
        assert f"Port {port} cannot be used on 127.0.0.1" in capsys.readouterr().err
