"""A past run shows like the fresh one, and the list of runs says what each is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentflow.core.errors import JournalError, RunNotFoundError
from agentflow.core.events import AttemptFinished, NestedEvent, RunStarted, StepFinished, StepMapped, StepStarted
from agentflow.core.journal import Encoded
from agentflow.core.model import ABANDONED, Request
from agentflow.core.outputs import NotKept, Stored
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.store import batch, history
from agentflow.store.journal import SqliteJournal
from agentflow.store.owner import this_process
from tests.store.runs import Recorded, attempt, open_journal, reply, rich_run


def shown(result: RunResult) -> list[dict[str, Any]]:
    """The rows of a run, with times to a microsecond."""
    return [
        {name: _rounded(value) for name, value in record.items() if name != "output"} for record in result.records()
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return pytest.approx(value, abs=0.01)
    return pytest.approx(value.timestamp(), abs=1e-5) if isinstance(value, datetime) else value


def parts(row: StepRow) -> list[StepRow]:
    return [row, *(part for item in row.items or () for part in parts(item))] + [
        part for inner in (row.inner.rows.values() if row.inner else ()) for part in parts(inner)
    ]


def test_a_past_result_equals_the_fresh_one(journal: SqliteJournal) -> None:
    run = rich_run(journal)
    past = journal.past_run(run.run_id)
    fresh, result = run.result, past.result
    assert (result.run_id, result.workflow, result.status) == (fresh.run_id, fresh.workflow, fresh.status)
    assert (result.started_at, result.warnings) == (fresh.started_at, fresh.warnings)
    assert result.duration_ms == pytest.approx(fresh.duration_ms, abs=0.01)
    assert str(result.error) == str(fresh.error)
    assert result.outputs == fresh.outputs
    assert result.records() != []
    assert [list(record) for record in result.records()] == [list(record) for record in fresh.records()]
    assert shown(fresh) == [
        {name: value for name, value in record.items() if name != "output"}
        | {"started_at": record["started_at"] and record["started_at"].timestamp()}
        for record in result.records()
    ]
    assert [record["output"] for record in result.records()] == [record["output"] for record in fresh.records()]
    for name in fresh.rows:
        for one, other in zip(parts(result.rows[name]), parts(fresh.rows[name]), strict=True):
            assert (one.step, one.item, one.status, one.reason) == (other.step, other.item, other.status, other.reason)
            assert (one.own_attempts, one.own_replies) == (other.own_attempts, other.own_replies)
    assert (result.cost_usd, result.usage, result.attempts) == (fresh.cost_usd, fresh.usage, fresh.attempts)


def test_a_past_run_has_its_inputs_its_definition_and_its_answers(journal: SqliteJournal) -> None:
    past = journal.past_run(rich_run(journal).run_id)
    assert past.inputs == {"topic": "tea"}
    assert past.fingerprints == dict.fromkeys(past.result.rows, "f")
    assert past.definition == "{}"
    assert {place: [key for key, _ in answers] for place, answers in past.answers.items()} == {
        ("ask", None): ["k"],
        ("each", 1): ["k"],
        ("sub.classify", None): ["inner"],
    }


def test_inputs_that_cannot_be_kept_are_named(journal: SqliteJournal) -> None:
    from pydantic import SecretStr

    run = Recorded(journal, "a", inputs={"key": SecretStr("hunter2"), "thing": object(), "n": (1,)})
    past = journal.past_run(run.run_id)
    assert past.inputs == {"n": (1,)}
    assert past.inputs_not_kept == {"key": "it holds a secret", "thing": "it is of type object"}


def test_the_steps_of_a_mapped_workflow_go_by_their_paths(journal: SqliteJournal) -> None:
    run = Recorded(journal, "sub")
    run.put(StepMapped("sub", 2, time.perf_counter()))
    for item in (0, 1):
        run.put(StepStarted("sub", time.perf_counter(), item))
        start = RunStarted("inner", "inner", ("classify",), run.started_at, time.perf_counter())
        run.put(NestedEvent("sub", item, start))
        run.put(NestedEvent("sub", item, StepMapped("classify", 2, time.perf_counter())))
        for inner in (0, 1):
            output = 10 * item + inner
            run.put(NestedEvent("sub", item, StepStarted("classify", time.perf_counter(), inner)))
            assert run.run.keep_answer(f"sub[{item}].classify", inner, Request("?"), reply(key="k", text=str(output)))
            run.put(NestedEvent("sub", item, StepFinished("classify", output, time.perf_counter(), inner)))
        done = StepFinished("classify", [10 * item, 10 * item + 1], time.perf_counter())
        run.put(NestedEvent("sub", item, done), Encoded("items", ""))
        assert run.run.read_output(f"sub[{item}].classify", None) == [10 * item, 10 * item + 1]
        assert run.run.read_output(f"sub[{item}].classify", 1) == 10 * item + 1
    past = journal.past_run(run.run_id)
    items = past.result.rows["sub"].items or []
    for item in (0, 1):
        inner_run = items[item].inner
        assert inner_run is not None
        assert inner_run.outputs == {"classify": [10 * item, 10 * item + 1]}
        rows = inner_run.rows["classify"].items or []
        assert [row.own_replies[0].text for row in rows] == [str(10 * item), str(10 * item + 1)]
    assert list(past.answers) == [(f"sub[{item}].classify", inner) for item in (0, 1) for inner in (0, 1)]


def test_an_attempt_that_was_given_up_gives_way_to_its_late_answer(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a", "b")
    for step in ("a", "b"):
        run.put(StepStarted(step, time.perf_counter()))
        run.put(AttemptFinished(step, attempt(1, error=ABANDONED), "m"))
    run.put(AttemptFinished("a", attempt(1, error=ABANDONED, at=9), "m"))
    run.end("interrupted")
    late = reply(attempt(1))
    assert run.run.keep_answer("a", None, Request("?"), late)
    rows = journal.past_run(run.run_id).result.rows
    assert [sent.error_code for sent in rows["a"].attempts] == [None, ABANDONED]
    assert rows["a"].replies == (late,)
    assert [sent.error_code for sent in rows["b"].attempts] == [ABANDONED]
    assert journal.runs()[0]["attempts"] == 3


def test_large_outputs_are_read_when_asked_for(journal: SqliteJournal) -> None:
    run = Recorded(journal, "big", "each", "small")
    run.step("big", "x" * history.LARGE_OUTPUT_BYTES)
    run.put(StepMapped("each", 2, time.perf_counter()))
    run.step("each", "y" * history.LARGE_OUTPUT_BYTES, 0)
    run.put(StepFinished("each", [], time.perf_counter()), Encoded("items", ""))
    run.step("small", "z")
    run.end()
    result = journal.past_run(run.run_id).result
    big, each = result.rows["big"].kept_output, result.rows["each"].kept_output
    assert isinstance(big, Stored)
    assert big.size_bytes == history.LARGE_OUTPUT_BYTES + 2
    assert isinstance(each, Stored)
    assert result.rows["small"].kept_output == "z"
    assert result.outputs["big"] == "x" * history.LARGE_OUTPUT_BYTES
    assert result.outputs["each"] == ["y" * history.LARGE_OUTPUT_BYTES, None]
    assert journal.prune(run_ids=[run.run_id]) == 1
    with pytest.raises(JournalError, match=r"no output of step 'big' .* Run the step again"):
        result.outputs["big"]


def test_what_could_not_be_kept_is_marked(journal: SqliteJournal) -> None:
    run = Recorded(journal, "lock", "silent")
    run.step("lock", object())
    run.put(StepStarted("silent", time.perf_counter()))
    run.run.write(StepFinished("silent", 1, time.perf_counter()))
    outputs = journal.past_run(run.run_id).result.outputs
    assert outputs["lock"] == NotKept("it is of type object")
    assert repr(outputs["lock"]) == "<not kept: it is of type object>"
    assert isinstance(outputs["silent"], NotKept)
    with pytest.raises(JournalError, match="was not kept: it is of type object"):
        run.run.read_output("lock", None)
    with pytest.raises(JournalError, match="no output of item 3 of step 'x'"):
        run.run.read_output("x", 3)


def test_the_newest_output_of_a_step_counts(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    for output in ("first", object(), "x" * 50_000, b"bytes", "last"):
        run.step("a", output)
        if isinstance(output, str):
            assert run.run.read_output("a", None) == output
    assert journal.past_run(run.run_id).result.outputs == {"a": "last"}


def test_runs_are_listed_newest_first_with_exact_sums(journal: SqliteJournal) -> None:
    old = Recorded(journal, "a", "b", started_at=datetime.now(UTC) - timedelta(hours=1))
    old.answer("a", reply(attempt(1, error="ThrottlingException"), attempt(2), usd="0.1"))
    old.answer("b", reply(usd="0.2"))
    old.step("a", 1)
    old.end()
    new = rich_run(journal)
    going = Recorded(journal, "a", started_at=datetime.now(UTC) + timedelta(hours=1))
    going.run.wait_until_durable()
    runs = journal.runs()
    assert [run["run_id"] for run in runs] == [going.run_id, new.run_id, old.run_id]
    assert dict(runs[2]) | {"heartbeat_at": None, "memory_mb": None} == {
        "run_id": old.run_id,
        "workflow": "triage",
        "status": "ok",
        "started_at": old.started_at,
        "duration_ms": pytest.approx(old.result.duration_ms),
        "steps": 2,
        "finished_steps": 1,
        "attempts": 3,
        "input_tokens": 200,
        "output_tokens": 40,
        "cost_usd": Decimal("0.3"),
        "bedrock_usd": Decimal("0.3"),
        "error": None,
        "heartbeat_at": None,
        "memory_mb": None,
        "pid": this_process().pid,
        "host": this_process().host,
    }
    assert runs[2]["memory_mb"] > 10
    assert (runs[1]["status"], runs[1]["error"]) == ("failed", "Step 'bad' failed: It broke. Mend it.")
    assert (runs[1]["finished_steps"], runs[1]["attempts"]) == (3, new.result.attempts)
    assert runs[1]["cost_usd"] is None  # the price of one of its answers is not known
    assert (runs[0]["status"], runs[0]["cost_usd"], runs[0]["input_tokens"]) == ("running", None, None)


def test_a_run_that_is_not_there(journal: SqliteJournal) -> None:
    with pytest.raises(RunNotFoundError, match=r"has no run 'r-none'\. `agentflow\.runs\(\)` lists"):
        journal.past_run("r-none")


def test_a_run_whose_process_is_gone_is_interrupted_though_the_file_is_not_changed(home: Path) -> None:
    script = f"""
import os
from pathlib import Path
from tests.store.runs import Recorded, open_journal
run = Recorded(open_journal(Path({str(home)!r})), "a", "b", run_id="r-dead")
run.step("a", 1)
assert run.run.wait_until_durable()
os._exit(9)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    assert process.wait() == 9
    journal = open_journal(home)
    for _ in range(2):
        [run] = journal.runs()
        assert (run["status"], run["pid"], run["finished_steps"]) == ("interrupted", process.pid, 1)
        result = journal.past_run("r-dead").result
        assert result.status == "interrupted"
        assert result.outputs == {"a": 1}
        who = f"The process that ran it (pid {process.pid} on {run['host']})"
        told = f"{who} is gone without having ended it: `await workflow.resume('r-dead')` goes on."
        assert result.warnings == [told]
    journal.close()


def test_a_run_that_was_left_without_an_end_is_interrupted(journal: SqliteJournal) -> None:
    run = Recorded(journal, "a")
    run.run.close()
    assert journal.runs()[0]["status"] == "interrupted"
    assert "left it without an end" in journal.past_run(run.run_id).result.warnings[0]
    assert replace(run.result, status="interrupted").status == journal.past_run(run.run_id).result.status


def test_a_file_of_an_older_agentflow_with_a_row_for_each_event_reads_the_same(
    journal: SqliteJournal, home: Path
) -> None:
    run = rich_run(journal)
    journal.flush(5)
    before = shown(journal.past_run(run.run_id).result)
    with journal._database.changing() as connection:
        rows = connection.execute("SELECT body FROM events ORDER BY sequence").fetchall()
        bodies = [json.dumps(event) for [text] in rows for event in json.loads(text)]
        connection.execute("DELETE FROM events")
        connection.executemany(
            "INSERT INTO events VALUES (?, ?, ?)", [(run.run_id, *each) for each in enumerate(bodies)]
        )
    assert len(rows) < len(bodies)
    assert shown(journal.past_run(run.run_id).result) == before


def test_events_of_one_commit_share_rows_and_go_on_in_later_ones(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_EVENTS_A_ROW", 3)
    run = Recorded(journal, *"abcd")
    for step in "abcd":
        run.step(step, step)
        journal.flush(5)
    run.end()
    journal.flush(5)
    assert shown(journal.past_run(run.run_id).result) == shown(run.result)


def test_damaged_events_are_left_out_and_counted(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a")
    run.step("a", 1)
    run.end()
    journal.flush(5)
    with journal._database.changing() as connection:
        for sequence, body in enumerate(
            ['{"type": "StepStarted", "step_id": "gone", "at": 1}', '{"type": "StepPaused"}', '{"at": 3}'], start=100
        ):
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", (run.run_id, sequence, body))
    result = journal.past_run(run.run_id).result
    assert result.outputs == {"a": 1}
    assert result.warnings == ["2 events of this run could not be read: its rows may be incomplete."]
    with journal._database.changing() as connection:
        connection.execute("UPDATE records SET step_ids = 'nonsense'")
    with pytest.raises(JournalError, match="is damaged"):
        journal.past_run(run.run_id)
