"""The journal of a process: what was acknowledged is there, runs are taken over, a fork has its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentflow.core import ports
from agentflow.core.errors import ResumeError, RunNotFoundError
from agentflow.core.events import RunFinished, RunStarted, StepFinished, StepMapped, StepStarted
from agentflow.core.journal import Journal, RunJournal
from agentflow.core.model import Request
from agentflow.store.codec import encode
from agentflow.store.journal import SqliteJournal, journal
from agentflow.utils.env import SettingError
from tests.store.runs import Recorded, attempt, open_journal, reply, rich_run, taken_over


def ignore(_problem: str) -> None:
    """Take a problem that no test looks at."""


def in_another_process(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


def test_it_fills_the_port(journal: SqliteJournal) -> None:
    as_port: Journal = journal
    as_run: RunJournal = Recorded(journal, "a").run
    assert as_port.is_open
    assert as_run.wait_until_durable()


def test_it_is_opened_by_need_and_twice_does_no_harm(home: Path) -> None:
    journal = SqliteJournal(home)
    assert not journal.is_open
    assert not home.exists()
    assert journal.flush(1)
    journal.open()
    journal.open()
    journal.close()
    assert journal.runs() == []  # opens it
    journal.close()


@pytest.mark.parametrize("shared", [False, True], ids=["write-ahead log", "rollback journal"])
def test_a_run_is_written_and_read_on_every_file_system(home: Path, shared: bool) -> None:
    journal = open_journal(home, shared=shared)
    run = rich_run(journal)
    assert journal.past_run(run.run_id).result.outputs == run.result.outputs
    assert journal.prune(run_ids=[run.run_id]) == 1
    with ThreadPoolExecutor(8) as pool:
        run = Recorded(journal, "a")
        kept = pool.map(lambda number: run.run.keep_answer("a", None, Request("?"), reply(key=str(number))), range(40))
        assert all(kept)
    assert len(journal.past_run(run.run_id).answers["a", None]) == 40
    journal.close()


def test_events_become_durable_by_themselves(home: Path, journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    assert journal.flush(5)
    run.step("a", "soon")
    other = open_journal(home)
    while "a" not in other.past_run(run.run_id).result.outputs:  # the test's timeout is the run's
        time.sleep(0.01)
    other.close()


def test_many_threads_keep_answers_of_many_runs(journal: SqliteJournal) -> None:
    runs = [Recorded(journal, "a") for _ in range(4)]

    def ask(number: int) -> bool:
        run = runs[number % 4]
        run.run.write(StepStarted("a", time.perf_counter()))
        return run.run.keep_answer("a", None, Request("?"), reply(key=f"k{number}", text=str(number)))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(ask, range(400)))
    keys = [key for run in runs for key, _ in journal.past_run(run.run_id).answers["a", None]]
    assert sorted(keys) == sorted(f"k{number}" for number in range(400))


def test_a_late_answer_is_kept_after_the_end_of_the_run_and_of_the_journal(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    run.end("interrupted")
    assert run.run.keep_answer("a", None, Request("?"), reply(key="late"))
    journal.close()
    assert run.run.keep_answer("a", None, Request("?"), reply(key="later"))
    past = journal.past_run(run.run_id)
    assert [key for key, _ in past.answers["a", None]] == ["late", "later"]
    assert past.result.status == "interrupted"
    assert run.problems == []


def test_an_answer_of_a_run_that_was_deleted_is_not_kept(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    run.end()
    journal.prune(run_ids=[run.run_id])
    assert run.run.keep_answer("a", None, Request("?"), reply(key="late"))
    with journal._database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (0,)


def test_a_run_that_ended_is_taken_over_and_goes_on(journal: SqliteJournal) -> None:
    first = Recorded(journal, "a", "b", inputs={"n": 1})
    first.put(StepMapped("a", 2, time.perf_counter()))
    first.step("a", "kept", 0)
    first.answer("a", reply(attempt(1, error="ThrottlingException"), attempt(2)), 0)
    first.end("interrupted")
    past, again = journal.claim(taken_over(first.run_id, "a", "b", "c"), first.problems.append)
    assert past.inputs == {"n": 1}
    assert past.result.rows["a"].items is not None
    assert past.result.rows["a"].items[0].output == "kept"
    assert (journal.runs()[0]["status"], journal.runs()[0]["error"]) == ("running", None)
    begin = time.perf_counter()
    again.write(RunStarted(first.run_id, "triage", ("a", "b", "c"), datetime.now(UTC), begin, resumed=True))
    again.write(StepStarted("b", begin))
    again.write(StepFinished("b", 2, begin + 1), encode(2))
    again.write(RunFinished("ok", None, begin + 1))
    again.close()
    result = journal.past_run(first.run_id).result
    assert (result.status, result.outputs, list(result.rows)) == ("ok", {"b": 2}, ["a", "b", "c"])
    since_first_start = (datetime.now(UTC) - first.started_at).total_seconds() * 1000
    assert result.rows["b"].started_ms == pytest.approx(since_first_start, abs=2000)
    assert result.rows["b"].latency_ms == pytest.approx(1000, abs=0.01)
    [run] = journal.runs()
    assert (run["status"], run["finished_steps"], run["steps"], run["attempts"]) == ("ok", 1, 3, 2)


def test_a_run_that_goes_on_is_not_taken_over(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a")
    pattern = rf"Run '{run.run_id}' is still running, in process {os.getpid()} on .+ Wait for its end"
    with pytest.raises(ResumeError, match=pattern):
        journal.claim(taken_over(run.run_id), ignore)
    run.run.wait_until_durable()
    said = in_another_process(f"""
from pathlib import Path
from agentflow.core.errors import ResumeError
from tests.store.runs import open_journal, taken_over
try: open_journal(Path({str(home)!r})).claim(taken_over({run.run_id!r}), print)
except ResumeError as error: print(error)
""")
    assert "is still running" in said
    with pytest.raises(RunNotFoundError):
        journal.claim(taken_over("r-none"), ignore)


def test_of_many_that_take_a_run_over_at_once_one_does(home: Path, journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    run.end("interrupted")
    assert journal.flush(5)
    script = f"""
import sys
from pathlib import Path
from agentflow.core.errors import ResumeError
from tests.store.runs import open_journal, taken_over
journal = open_journal(Path({str(home)!r}))
print("ready", flush=True)
sys.stdin.readline()
try:
    journal.claim(taken_over({run.run_id!r}), print)
    print("mine", flush=True)
except ResumeError:
    print("not mine", flush=True)
sys.stdin.readline()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    said = []
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout
        said.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate("\n")
    assert sorted(said) == ["mine"] + ["not mine"] * 4


def test_a_process_that_lost_its_run_keeps_answers_only(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a")
    assert run.run.wait_until_durable()
    with journal._database.changing() as connection:  # as another machine does, that heard no heartbeat of this one
        connection.execute("UPDATE runs SET host = 'elsewhere', heartbeat_at = ?", (datetime.now(UTC).isoformat(),))
    run.step("a", "too late")
    assert run.run.keep_answer("a", None, Request("?"), reply(key="paid"))
    run.end()
    past = journal.past_run(run.run_id)
    assert past.result.outputs == {}
    assert [key for key, _ in past.answers["a", None]] == ["paid"]
    assert journal.runs()[0]["status"] == "running"
    assert len(run.problems) == 1
    assert "another process took it over" in run.problems[0]


def test_each_run_of_this_process_has_a_heartbeat_until_it_ends(home: Path) -> None:
    journal = open_journal(home, heartbeat_seconds=0.05)
    going, ended = Recorded(journal, "a"), Recorded(journal, "a")
    ended.end()
    journal.flush(5)
    before = {run["run_id"]: run["heartbeat_at"] for run in journal.runs()}
    while (now := {run["run_id"]: run["heartbeat_at"] for run in journal.runs()})[going.run_id] == before[going.run_id]:
        time.sleep(0.01)
    assert now[ended.run_id] == before[ended.run_id]
    [run, _] = sorted(journal.runs(), key=lambda run: run["run_id"] != going.run_id)
    assert run["duration_ms"] == pytest.approx((run["heartbeat_at"] - run["started_at"]).total_seconds() * 1000)
    journal.close()


def test_several_processes_write_at_once(home: Path) -> None:
    script = f"""
from pathlib import Path
from agentflow.core.model import Request
from tests.store.runs import Recorded, open_journal, reply
journal = open_journal(Path({str(home)!r}))
for number in range(5):
    run = Recorded(journal, "a", "b")
    for answer in range(10):
        assert run.run.keep_answer("a", None, Request("?"), reply(key=str(answer)))
    run.step("b", number)
    run.end()
    assert run.problems == []
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    journal = open_journal(home)
    runs = journal.runs()
    assert [(run["status"], run["attempts"], run["finished_steps"]) for run in runs] == [("ok", 10, 1)] * 20
    journal.close()


def test_a_process_that_ends_writes_what_is_pending(home: Path) -> None:
    run_id = in_another_process(f"""
from pathlib import Path
from tests.store.runs import Recorded, open_journal
run = Recorded(open_journal(Path({str(home)!r})), *[f"s{{n}}" for n in range(3000)])
for number in range(3000):
    run.step(f"s{{number}}", number)
run.end()
print(run.run_id)
""").strip()
    journal = open_journal(home)
    result = journal.past_run(run_id).result
    assert (result.status, len(result.outputs)) == ("ok", 3000)
    journal.close()
    assert not (home / "agentflow.db-wal").exists()


def in_fork(run: Recorded, journal: SqliteJournal, home: Path) -> None:
    assert not journal.is_open
    assert run.run.keep_answer("a", None, Request("?"), reply(key="of the child"))  # opens it
    run.run.write(StepFinished("a", "of the child", time.perf_counter()), encode("of the child"))
    own = Recorded(journal, "a", run_id="r-child")
    own.step("a", "child's own")
    own.end()
    assert journal.flush(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_its_own(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a")
    run.run.wait_until_durable()
    child = multiprocessing.get_context("fork").Process(target=in_fork, args=(run, journal, home))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    run.step("a", "of the parent")
    run.end()
    past = journal.past_run(run.run_id)
    assert past.result.outputs == {"a": "of the parent"}
    assert [key for key, _ in past.answers["a", None]] == ["of the child"]
    assert journal.past_run("r-child").result.outputs == {"a": "child's own"}
    assert run.problems == []


def test_a_file_that_was_removed_is_made_again(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a", "b")
    run.step("a", "lost")
    assert run.run.wait_until_durable()
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    run.step("b", "kept")
    run.end()
    assert journal.flush(5)
    [sentence] = run.problems
    assert "was removed while this run went on" in sentence
    result = journal.past_run(run.run_id).result
    assert (result.status, result.outputs) == ("ok", {"b": "kept"})
    assert result.warnings == run.problems
    new = Recorded(journal, "a")
    new.end()
    assert journal.past_run(new.run_id).result.status == "ok"


def test_writing_blocks_nobody_and_idle_costs_nothing(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    assert journal.flush(5)
    writer = [thread for thread in threading.enumerate() if thread.name == "agentflow-journal"][-1]
    assert writer.daemon
    with journal._database.changing():  # nobody can commit now
        run.step("a", 1)
        run.run.close()


def test_the_journal_of_the_process_is_the_one_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = journal()
    assert first is journal()
    assert ports.load("journal") is journal
    assert first._database.folder == tmp_path / ".agentflow"
    monkeypatch.setenv("AGENTFLOW_HOME", "elsewhere")
    assert journal()._database.folder == tmp_path / "elsewhere"
    assert journal() is not first
    monkeypatch.delenv("AGENTFLOW_HOME")
    assert journal() is first
    assert not (tmp_path / ".agentflow").exists()
    monkeypatch.setenv("AGENTFLOW_RETENTION_DAYS", "soon")
    with pytest.raises(SettingError, match=r"is not a number of at least 0: set it to one, or remove it\."):
        journal()
