"""The command is killed, told to end, runs out of money or of access: what was answered is never asked again."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from agentflow.cli import main
from tests.batch.command import CALLS_A_ROW, WORKFLOW, finished, start, tickets
from tests.endpoint import Endpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tickets(60).to_csv(tmp_path / "in.csv", index=False)
    return tmp_path


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    scripted: Endpoint, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command in this process, which is quicker: its exit code, output and errors."""
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    monkeypatch.setenv("BEDROCK_MAX_CONNECTIONS", "16")
    monkeypatch.chdir(folder)
    (folder / "workflow.yaml").write_text(WORKFLOW)

    def run(*more: str) -> tuple[int, str, str]:
        code = main(["batch", "in.csv", "--workflow", "workflow.yaml", "--out", "out", *more])
        output, errors = capsys.readouterr()
        return code, output, errors

    return run


def slow(endpoint: Endpoint, milliseconds: int = 20) -> None:
    endpoint.follow(text="fine")
    endpoint.faults({"fault": "latency", "delay_ms": milliseconds})


def wait_for_answers(endpoint: Endpoint, answers: int) -> None:
    deadline = time.monotonic() + 60
    while endpoint.stats()["answers"] < answers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_and_go_on(endpoint: Endpoint, folder: Path, rows: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    calls = rows * CALLS_A_ROW
    for _ in range(kills):
        process = start(endpoint, folder)
        answered = endpoint.stats()["answers"]
        wait_for_answers(endpoint, min(calls, answered + chance.randrange(1, max(2, (calls - answered) // 2))))
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.communicate()
    requests = endpoint.stats()["requests"]
    code, output, errors = finished(start(endpoint, folder))
    assert code == 0, errors
    told = re.search(r"([\d,]+) rows to ask", errors)
    to_ask = int(told[1].replace(",", "")) if told else 0
    assert to_ask <= endpoint.stats()["requests"] - requests <= to_ask * CALLS_A_ROW
    assert f"{rows} of {rows} rows are done" in output.replace(",", "")
    frame = pd.read_parquet(folder / "out")
    assert sorted(frame["weight"]) == list(range(rows))
    assert set(frame["status"]) == {"ok"}
    # What was on its way when a process was killed may have been answered after its end: that alone is asked again.
    assert endpoint.stats()["answers"] <= calls + kills * 16
    assert endpoint.stats()["duplicates"] <= kills * 16


def test_a_killed_command_goes_on_where_it_was(scripted: Endpoint, folder: Path) -> None:
    slow(scripted)
    kill_and_go_on(scripted, folder, rows=60, kills=2, seed=1)
    requests = scripted.stats()["requests"]
    code, output, errors = finished(start(scripted, folder))  # a job that is done does nothing
    assert (code, scripted.stats()["requests"]) == (0, requests)
    assert "60 of 60 rows are done" in output
    assert errors == ""


@pytest.mark.soak
def test_twenty_kills_over_two_thousand_rows(scripted: Endpoint, tmp_path: Path) -> None:
    tickets(2_000).to_csv(tmp_path / "in.csv", index=False)
    slow(scripted, milliseconds=10)
    kill_and_go_on(scripted, tmp_path, rows=2_000, kills=20, seed=2)


def test_a_command_that_is_told_to_end_writes_what_it_has(scripted: Endpoint, folder: Path) -> None:
    slow(scripted)
    process = start(scripted, folder)
    wait_for_answers(scripted, 70)
    process.send_signal(signal.SIGTERM)
    code, _, errors = finished(process)
    assert code == 143, errors
    answered = scripted.stats()["answers"]
    assert len(pd.read_parquet(folder / "out")) >= 10
    code, _, errors = finished(start(scripted, folder))
    assert code == 0, errors
    assert scripted.stats()["answers"] <= 60 * CALLS_A_ROW + 16
    assert scripted.stats()["requests"] - answered <= 60 * CALLS_A_ROW - answered + 16


@pytest.mark.soak
def test_an_interrupted_command_says_how_to_go_on(scripted: Endpoint, folder: Path) -> None:
    slow(scripted)
    process = start(scripted, folder)
    wait_for_answers(scripted, 10)
    process.send_signal(signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130
    assert "the same command goes on" in errors
    assert "Traceback" not in errors


def spent_usd(endpoint: Endpoint) -> float:
    billed = endpoint.stats()["billed"]
    return float(billed["input_tokens"] * 1.1e-6 + billed["output_tokens"] * 5.5e-6)  # Haiku 4.5, us profile


def test_a_budget_holds_over_restarts(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="a good answer that takes some tokens")
    for _ in range(2):
        code, output, errors = command("--budget", "0.003")
        assert code == 4, errors
        assert "budget of $0.003" in output
        assert "the same command goes on, with a budget of at least $0.00" in output
        assert 0.002 < spent_usd(scripted) <= 0.003
    code, _, errors = command("--budget", "1")
    assert code == 0, errors
    assert scripted.stats()["duplicates"] == 0
    assert scripted.stats()["billed"]["calls"] == 60 * CALLS_A_ROW


def test_the_worlds_errors_stop_the_job_and_nothing_is_lost(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="fine")
    scripted.faults({"fault": "iam_denied", "prompt": "ticket 9"})
    code, output, errors = command("--max-concurrency", "4")
    assert code == 5, errors
    assert "The IAM policy does not allow" in output
    assert scripted.stats()["refused"] <= 8
    frame = pd.read_parquet(folder / "out")
    assert set(frame["status"]) == {"ok"}  # the world's error is no row's
    scripted.faults()
    code, _, errors = command()
    assert code == 0, errors
    assert scripted.stats()["duplicates"] == 0


@pytest.mark.parametrize("chunk_rows", [1000, 4, 1])
def test_an_outage_stops_the_job_and_its_rows_are_asked_again(
    scripted: Endpoint, folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    for module in ("files", "source"):
        monkeypatch.setattr(f"agentflow.batch.{module}.CHUNK_ROWS", chunk_rows)
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    monkeypatch.setattr("agentflow.batch.job.CHECKPOINT_SECONDS", 0.01)  # written while it is not clear yet
    scripted.follow(text="fine")
    scripted.faults({"fault": "unavailable"})
    code, output, _ = command("--max-concurrency", "4")
    assert code == 5
    assert output.startswith("0 of 60 rows are done")
    assert "5 rows failed one after the other" in output
    assert scripted.stats()["requests"] <= 12
    scripted.faults()
    code, _, errors = command()
    assert code == 0, errors
    assert set(pd.read_parquet(folder / "out")["status"]) == {"ok"}


def test_what_was_refused_for_the_worlds_sake_costs_nothing(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="fine", latency_ms=20)
    expired = {"fault": "error", "code": "ExpiredTokenException", "status": 403, "message": "expired"}
    scripted.faults(expired)
    for _ in range(2):
        code, output, errors = command("--budget", "0.1")
        assert code == 5, errors
        assert "$0.00 spent" in output
    scripted.faults()
    assert command("--budget", "0.1")[0] == 0


def test_rows_that_take_too_long_one_after_the_other_are_an_outage(
    scripted: Endpoint, folder: Path, command: Command
) -> None:
    text = WORKFLOW.replace("timeout_seconds: 60", "timeout_seconds: 0.2")
    (folder / "workflow.yaml").write_text(text)
    scripted.follow(text="fine", latency_ms=1000)
    code, output, errors = command("--max-concurrency", "4")
    assert code == 5, errors
    assert output.startswith("0 of 60 rows are done;")
    assert "5 rows failed one after the other" in output
    scripted.follow(text="fine")
    (folder / "workflow.yaml").write_text(WORKFLOW)
    code, _, errors = command()
    assert code == 0, errors


def test_rows_to_blame_for_what_looks_like_an_outage_can_be_let_fail(
    scripted: Endpoint, folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    scripted.follow(text="fine")
    scripted.faults({"fault": "internal_error", "prompt": "ticket 1[0-9]"})
    code, output, _ = command("--max-concurrency", "2")
    assert code == 5
    assert "--max-failures N" in output
    code, output, errors = command("--max-concurrency", "2", "--max-failures", "20")
    assert code == 3, errors
    assert "10 of them failed" in output


def test_failed_rows_are_rows_and_can_be_asked_again(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="fine")
    scripted.faults(
        {
            "fault": "error",
            "code": "ValidationException",
            "status": 400,
            "message": "The input is odd.",
            "prompt": "ticket 7$|ticket 7,",
        }
    )
    code, output, errors = command()
    assert code == 3, errors
    assert "1 of them failed" in output
    frame = pd.read_parquet(folder / "out")
    [failed] = frame[frame["status"] == "failed"].to_dict("records")
    assert failed["ticket"] == "ticket 7"
    assert "The input is odd." in failed["error"]
    requests = scripted.stats()["requests"]
    scripted.faults()
    assert command()[0] == 3
    assert scripted.stats()["requests"] == requests
    assert command("--retry-failed")[0] == 0
    assert scripted.stats()["requests"] == requests + CALLS_A_ROW
    assert set(pd.read_parquet(folder / "out")["status"]) == {"ok"}


def test_failed_rows_are_not_asked_again_when_a_stopped_job_goes_on(
    scripted: Endpoint, folder: Path, command: Command
) -> None:
    scripted.follow(text="fine")
    scripted.faults({"fault": "error", "code": "ValidationException", "status": 400, "message": "Odd."})
    for times in (1, 2):
        code, _, errors = command("--max-failures", "3", "--max-concurrency", "1")
        assert code == 5, errors
        failed = scripted.stats()["requests"]
        assert times * 4 <= failed <= times * 5  # one may be on its way
        assert len(pd.read_parquet(folder / "out")) == failed  # none was asked twice
    scripted.faults()
    code, output, errors = command()
    assert code == 3, errors
    assert f"{60 - failed} rows to ask ({failed} of 60 are done)" in errors
    assert f"60 of 60 rows are done, {failed} of them failed" in output
    assert scripted.stats()["requests"] == failed + (60 - failed) * CALLS_A_ROW
    frame = pd.read_parquet(folder / "out")
    assert frame[frame["status"] == "failed"]["error"].str.contains("Odd.").all()
    assert command("--retry-failed")[0] == 0
    assert scripted.stats()["requests"] == failed + 60 * CALLS_A_ROW


def test_only_rows_that_are_new_or_were_changed_are_asked(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="fine")
    assert command()[0] == 0
    frame = pd.read_csv(folder / "in.csv")
    frame.loc[5, "ticket"] = "another ticket"
    more = pd.concat([pd.DataFrame({"ticket": ["first"], "weight": [100]}), frame])
    more.to_csv(folder / "in.csv", index=False)
    code, _, errors = command()
    assert code == 0, errors
    assert scripted.stats()["requests"] == (60 + 2) * CALLS_A_ROW
    assert list(pd.read_parquet(folder / "out")["ticket"]) == list(more["ticket"])


def test_a_changed_workflow_is_refused_until_it_is_accepted(scripted: Endpoint, folder: Path, command: Command) -> None:
    scripted.follow(text="fine")
    assert command()[0] == 0
    text = (folder / "workflow.yaml").read_text()
    (folder / "workflow.yaml").write_text(text.replace("Reply to", "Answer"))
    requests = scripted.stats()["requests"]
    code, _, errors = command()
    assert code == 1
    assert "'reply' (changed)" in errors
    assert scripted.stats()["requests"] == requests
    code, _, errors = command("--accept-changes")
    assert code == 0, errors
    assert scripted.stats()["requests"] == requests + 60  # the other step's answers are those of before


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["batch", "--help"])
    assert "4 the budget is used up" in " ".join(capsys.readouterr().out.split())
