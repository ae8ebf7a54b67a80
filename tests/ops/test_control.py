"""Runs of other processes are seen and steered: `agentflow runs`, `agentflow stop`, `agentflow set`."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import agentflow
from agentflow.cli import main
from agentflow.ops import control
from agentflow.store.journal import journal
from tests.batch.command import CALLS_A_ROW, finished, tickets
from tests.batch.command import start as start_job
from tests.endpoint import Endpoint
from tests.ops.control_program import build

LATENCY_MS = 100

Start = Callable[..., subprocess.Popen[str]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "store"))


@pytest.fixture
def start(scripted: Endpoint) -> Iterator[Start]:
    """Start a run in a process of its own, where each call takes a moment, and wait for its first answers."""
    scripted.follow(latency_ms=LATENCY_MS)
    processes = []

    def begin(name: str = "triage", number: int = 400, mode: str = "parallel") -> subprocess.Popen[str]:
        answers = scripted.stats()["answers"] + (0 if mode == "busy" else 4)
        program = [sys.executable, "-m", "tests.ops.control_program", scripted.url, name, str(number), mode]
        process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        processes.append(process)
        until(lambda: process.pid in agentflow.runs(status="running")["pid"].to_list())
        until(lambda: scripted.stats()["answers"] >= answers)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, which is quicker: its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def active(command: Command) -> list[dict[str, Any]]:
    code, output, _ = command("runs", "--active", "--json")
    assert code == 0
    records: list[dict[str, Any]] = json.loads(output)
    return records


async def test_a_run_is_listed_stopped_and_gone_on_with_and_nothing_is_paid_twice(
    scripted: Endpoint, start: Start, command: Command
) -> None:
    process = start(number=100)
    [record] = active(command)
    assert set(record) == set(agentflow.runs().columns)
    assert (record["workflow"], record["status"], record["pid"]) == ("triage", "running", process.pid)
    _, table, _ = command("runs", "--active")
    assert str(process.pid) in table
    assert record["run_id"] in table

    code, output, _ = command("stop", "last")
    asked = scripted.stats()["requests"]
    assert code == 0
    assert output.startswith(
        f"Stopped run {record['run_id']} of 'triage' (pid {process.pid}).\nKept: 1 of 2 steps finished (first), "
    )
    assert f"Then: await workflow.resume({record['run_id']!r}) goes on where it stopped." in output
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    who = f"stopped by `agentflow stop` (pid {os.getpid()})"
    assert f"The run was {who}" in said
    assert scripted.stats()["requests"] == asked < 100
    assert active(command) == []
    result = agentflow.get_run(record["run_id"])
    assert (result.status, result.stopped_by) == ("interrupted", f"`agentflow stop` (pid {os.getpid()})")
    assert result.warnings == [f"The run was {who}."]

    scripted.follow(latency_ms=0)
    result = await build(scripted.url, "triage").resume(record["run_id"])
    assert (result.status, result.stopped_by, len(result.outputs["ask"])) == ("ok", "", 100)
    assert scripted.stats()["requests"] <= 100 + 4  # what was on its way at the stop is asked again, and nothing else


@pytest.mark.soak
def test_a_run_has_more_or_fewer_calls_at_work_from_now_on(scripted: Endpoint, start: Start, command: Command) -> None:
    process = start()
    [record] = active(command)
    assert scripted.stats()["peak_in_flight"] == 4
    code, output, _ = command("set", record["run_id"], "max_concurrency=9")
    assert code == 0
    assert output == f"max_concurrency of run {record['run_id']} of 'triage' (pid {process.pid}) is 9 now.\n"
    until(lambda: scripted.stats()["in_flight"] == 9)
    assert command("set", "last", "max_concurrency=2")[0] == 0
    until(lambda: scripted.stats()["in_flight"] == 2)
    for _ in range(10):
        assert scripted.stats()["in_flight"] <= 2
        time.sleep(0.02)
    assert scripted.stats()["peak_in_flight"] == 9
    by = f"`agentflow set` (pid {os.getpid()})"
    warnings = agentflow.get_run(record["run_id"]).warnings
    assert warnings == [f"max_concurrency was set to {limit} by {by}." for limit in (9, 2)]


@pytest.mark.soak
def test_all_runs_are_stopped_at_once(scripted: Endpoint, start: Start, command: Command) -> None:
    processes = [start("triage"), start("reply")]
    assert {record["workflow"] for record in active(command)} == {"triage", "reply"}
    code, output, _ = command("stop", "--all")
    assert code == 0
    assert output.count("Stopped run") == 2
    assert [process.wait(20) for process in processes] == [130, 130]
    assert set(agentflow.runs()["status"]) == {"interrupted"}
    assert command("stop", "--all") == (0, "No run goes on on this host.\n", "")
    assert command("runs", "--active") == (0, "No run goes on.\n", "")


def test_a_killed_process_has_no_active_run(start: Start, command: Command) -> None:
    process = start()
    process.kill()
    process.wait()
    assert active(command) == []
    code, _, errors = command("stop", "last")
    assert code == 1
    assert "has ended (interrupted). `agentflow runs --active` lists those that go on." in errors


async def test_an_order_that_a_process_did_not_live_to_take_is_none_to_the_one_that_goes_on(
    scripted: Endpoint, start: Start
) -> None:
    process = start(number=8, mode="busy")
    [run_id] = agentflow.runs()["run_id"]
    number = journal().order(run_id, "stop")
    process.kill()
    process.wait()
    assert journal().order_outcome(number) is None
    result = await build(scripted.url, "triage").resume(run_id)
    assert (result.status, result.warnings[1:]) == ("ok", [])


@pytest.mark.soak
def test_a_process_that_does_not_answer_is_named(
    start: Start, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WAIT_SECONDS", 0.3)
    process = start(mode="busy")
    code, output, _ = command("stop", "last")
    assert code == 1
    assert "was told to stop, but goes on after 0.3 s" in output
    assert f"`kill -9 {process.pid}` ends its process" in output
    code, _, errors = command("set", "last", "max_concurrency=3")
    assert code == 1
    assert "has not answered for 0.3 s" in errors


@pytest.mark.soak
def test_a_workflow_that_wants_one_step_at_a_time_keeps_to_it(start: Start, command: Command) -> None:
    start(mode="sequential")
    code, _, errors = command("set", "last", "max_concurrency=3")
    assert code == 1
    assert "stays what it is, since the workflow runs its steps one after the other (enable_parallel=False)" in errors


async def test_who_awaits_a_run_that_is_stopped_gets_what_is_finished(scripted: Endpoint) -> None:
    scripted.follow(latency_ms=LATENCY_MS)
    task = asyncio.create_task(build(scripted.url, "triage").execute(word=[f"word-{number}" for number in range(400)]))
    await asyncio.to_thread(until, lambda: scripted.stats()["answers"] >= 4)
    assert (await asyncio.to_thread(control.stop, "last"))[1] == 0
    with pytest.raises(asyncio.CancelledError, match=r"The run was stopped by `agentflow stop` \(pid") as caught:
        await task
    assert caught.value.result.outputs == {"first": 400}  # type: ignore[attr-defined]


def test_a_job_is_made_wider_and_stopped_and_the_same_command_goes_on(
    scripted: Endpoint, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 60
    tickets(rows).to_csv(tmp_path / "in.csv", index=False)
    scripted.follow(text="fine", latency_ms=LATENCY_MS)
    process = start_job(scripted, tmp_path, "--max-concurrency", "2")
    until(lambda: scripted.stats()["answers"] >= 2)
    assert command("set", "last", "max_concurrency=8")[0] == 0
    until(lambda: scripted.stats()["in_flight"] == 8)
    code, output, _ = command("stop", "last")
    assert code == 0
    assert "Then: the same command goes on with the job over these rows." in output
    code, output, errors = finished(process)
    assert code == 5, errors
    assert f"The job was stopped by `agentflow stop` (pid {os.getpid()})." in output
    assert "failed" not in output
    assert set(pd.read_parquet(tmp_path / "out")["status"]) == {"ok"}

    scripted.follow(text="fine")
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    code, output, errors = command("batch", "in.csv", "--workflow", "workflow.yaml", "--out", "out")
    assert code == 0, errors
    assert f"{rows} of {rows} rows are done" in output
    assert scripted.stats()["requests"] <= rows * CALLS_A_ROW + 8  # what was on its way at the stop


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stop", "r-000000000001"], "There is no run 'r-000000000001' (did you mean 'r-000000000000'?)."),
        (["stop", "last"], "Run r-000000000000 has ended (ok)."),
        (["stop", "r-elsewhere"], "Run r-elsewhere goes on on another host, there. Give the command there."),
        (["set", "last", "max_concurency=5"], "'max_concurency' cannot be set (did you mean 'max_concurrency'?)."),
        (
            ["set", "last", "max_concurrency=0"],
            "max_concurrency=0 cannot be set. What can be set: max_concurrency, 1 to 1,000,000.",
        ),
        (["set", "last", "max_concurrency=many"], "max_concurrency='many' cannot be set."),
        (["set", "last", "stop=1"], "'stop' cannot be set."),
        (["set", "last", "max_concurrency=5"], "Run r-000000000000 has ended (ok)."),
        (["runs", "--status", "runing"], "No run is 'runing' (did you mean 'running'?)."),
        (["runs", "--since", "soon"], "since='soon' is no moment."),
        (["runs", "--limit", "0"], "limit=0 is no number of runs."),
    ],
)
def test_what_cannot_be_done_is_said(command: Command, arguments: list[str], says: str) -> None:
    for run_id in ("r-elsewhere", "r-000000000000"):
        workflow = agentflow.Workflow("triage")
        workflow.add_step("first", lambda: 1)
        kept = workflow.run().run_id
        rename(kept, run_id)
    change_row("r-elsewhere", "status = 'running', closed = 0, host = 'there'")
    code, output, errors = command(*arguments)
    assert (code, output) == (1, "")
    assert says in errors


@pytest.mark.parametrize("arguments", [["stop"], ["stop", "r-1", "--all"], ["set", "r-1"], ["set", "r-1", "5"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_an_empty_store_is_said_in_a_sentence(command: Command, tmp_path: Path) -> None:
    code, output, _ = command("runs")
    assert code == 0
    assert output == (
        f"No runs yet: each run of a workflow is kept in {tmp_path / 'store'}, or where AGENTFLOW_HOME says.\n"
    )
    assert command("runs", "--json") == (0, "[]\n", "")


def change_row(run_id: str, setting: str) -> None:
    with sqlite3.connect(journal()._database.path) as connection:
        connection.execute(f"UPDATE runs SET {setting} WHERE run_id = ?", (run_id,))


def rename(run_id: str, new: str) -> None:
    journal().flush(5)
    change_row(run_id, f"run_id = '{new}'")
