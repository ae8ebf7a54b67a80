"""What the journal tells of the newest runs of a workflow."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentflow.core.content import Attachment
from agentflow.core.errors import JournalError
from agentflow.core.events import CallFinished, NestedEvent, RunStarted, StepFinished, StepMapped, StepStarted
from agentflow.core.journal import PastStep, PastWork
from agentflow.core.model import Origin, Request, Turn, Usage
from agentflow.store import statistics
from agentflow.store.database import Database
from agentflow.store.journal import SqliteJournal
from agentflow.store.schema import _PAST_CALLS, MIGRATIONS
from tests.store.runs import Recorded, open_journal, reply, rich_run

ASKED = Request(
    "why?", 50, "Be brief.", 0.5, ("STOP",), {"type": "object"}, (Turn("user", "a"), Turn("assistant", "b"))
)


def past(journal: SqliteJournal) -> PastWork:
    return journal.past_work("triage")


def steps_of(journal: SqliteJournal, step: str) -> list[PastStep]:
    return [found for found in past(journal).steps if found.step == step]


def test_a_call_comes_back_with_its_request(journal: SqliteJournal) -> None:
    run = Recorded(journal, "ask")
    answered = replace(reply(text="four"), latency_ms=250.5)
    run.run.keep_answer("ask", None, ASKED, answered)
    [call] = past(journal).calls
    assert (call.step, call.model, call.latency_ms, call.output_chars) == ("ask", "Claude Haiku 4.5", 250.5, 4)
    assert call.usage == Usage(100, 20, cache_read_tokens=3)
    assert call.request == replace(ASKED, stop_sequences=["STOP"])


def test_a_request_with_an_image_is_not_whole(journal: SqliteJournal) -> None:
    run = Recorded(journal, "ask")
    image = Attachment("image", "png", b"\x89PNG\r\n\x1a\n")
    run.run.keep_answer("ask", None, Request(("What is it?", image)), reply())
    assert past(journal).calls[0].request is None


def test_other_workflows_are_left_out(journal: SqliteJournal) -> None:
    Recorded(journal, "ask").answer("ask", reply())
    assert journal.past_work("other") == PastWork([], [])


def test_answers_that_were_there_before_count_once(journal: SqliteJournal) -> None:
    first = Recorded(journal, "ask")
    first.run.keep_answer("ask", None, ASKED, reply())
    again = Recorded(journal, "ask")
    origin = Origin(first.run_id, "ask", None, datetime.now(UTC))
    again.run.note_answer("ask", None, ASKED, replace(reply(), origin=origin))
    assert len(past(journal).calls) == 1


def test_of_each_step_the_newest_calls_are_taken(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CALLS", 3)
    monkeypatch.setattr(statistics, "REQUESTS", 2)
    for number in range(5):
        run = Recorded(journal, "ask", "each")
        run.run.keep_answer("ask", None, ASKED, reply(text="x" * number))
        run.run.keep_answer("each", 0, ASKED, reply())
        run.run.keep_answer(f"sub[{number}].ask", None, ASKED, reply())
    calls = past(journal).calls
    assert Counter(call.step for call in calls) == {"ask": 3, "each": 3, "sub.ask": 3}
    assert sorted(call.output_chars for call in calls if call.step == "ask") == [2, 3, 4]
    assert {call.output_chars for call in calls if call.step == "ask" and call.request} == {3, 4}


def test_the_newest_runs_come_first_and_older_ones_are_left_out(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_RUNS", 2)
    for number in range(3):
        run = Recorded(journal, "ask")
        run.answer("ask", reply(text="x" * number))
        run.end()
    assert [call.output_chars for call in past(journal).calls] == [2, 1]


def test_a_step_comes_with_its_time_and_the_length_of_its_output(journal: SqliteJournal) -> None:
    run = Recorded(journal, "text", "data", "bad")
    for step, output, seconds in (("text", "four", 1.5), ("data", {"a": 1}, 0.25), ("bad", {1, 2}, 1)):
        run.put(StepStarted(step, 10.0))
        run.put(StepFinished(step, output, 10.0 + seconds))
    run.end()
    assert steps_of(journal, "text") == [PastStep("text", 1500.0, 4)]
    assert steps_of(journal, "data") == [PastStep("data", 250.0, len('{"a":1}'))]


def test_an_output_that_was_not_kept_has_no_length(journal: SqliteJournal) -> None:
    Recorded(journal, "ask").step("ask", object())
    [step] = steps_of(journal, "ask")
    assert step.output_chars is None
    assert step.latency_ms is not None


def test_a_mapped_step_comes_with_its_items_and_the_outputs_of_the_first(journal: SqliteJournal) -> None:
    run = Recorded(journal, "each", "after")
    run.put(StepMapped("each", 25, 1.0))
    for item in range(25):
        run.put(StepStarted("each", 1.0, item))
        run.put(StepFinished("each", "x" * item, 2.0, item))
    run.step("after", "done")
    found = steps_of(journal, "each")
    assert [step.items for step in found if step.items is not None] == [25]
    assert [step.latency_ms for step in found if step.items is None] == [1000.0] * 25
    assert sorted(step.output_chars for step in found if step.output_chars is not None) == list(range(20))
    assert steps_of(journal, "after")


def test_the_steps_of_a_nested_workflow_go_by_their_path(journal: SqliteJournal) -> None:
    run = Recorded(journal, "sub")
    for item in range(2):
        for event in (
            RunStarted("r", "inner", ("count",), run.started_at, 1.0),
            StepStarted("count", 1.0),
            CallFinished("count", reply()),
            StepFinished("count", "xx", 1.0 + item),
        ):
            run.result.row("sub").items = None
            run.put(NestedEvent("sub", item, event))
    assert sorted(step.latency_ms or 0 for step in steps_of(journal, "sub.count")) == [0, 1000]


def test_a_run_with_everything_can_be_told(journal: SqliteJournal) -> None:
    rich_run(journal)
    work = past(journal)
    assert Counter(call.step for call in work.calls) == {"ask": 1, "each": 1, "sub.classify": 1}
    assert {step.step for step in work.steps} == {"ask", "each", "sub", "sub.classify"}


def test_a_run_that_was_deleted_tells_nothing(journal: SqliteJournal) -> None:
    run = rich_run(journal)
    assert journal.prune(run_ids=[run.run_id]) == 1
    assert past(journal) == PastWork([], [])


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert SqliteJournal(tmp_path / "none").past_work("triage") == PastWork()
    assert not (tmp_path / "none").exists()


def test_a_damaged_row_is_told(home: Path) -> None:
    journal = open_journal(home)
    Recorded(journal, "ask").answer("ask", reply())
    with Database(home).changing() as connection:
        connection.execute("UPDATE answers SET reply = '{'")
    with pytest.raises(JournalError, match="What the journal has of workflow 'triage' is damaged"):
        past(journal)
    journal.close()


def test_a_journal_of_an_older_agentflow_gets_its_indexes(home: Path) -> None:
    journal = open_journal(home)
    Recorded(journal, "ask").answer("ask", reply())
    journal.close()
    with sqlite3.connect(home / "agentflow.db") as connection:
        connection.execute("DROP INDEX answers_of_step")
        connection.execute("DROP TABLE orders")
        connection.execute(f"PRAGMA user_version = {MIGRATIONS.index(_PAST_CALLS)}")
    connection.close()
    again = open_journal(home)
    assert len(past(again).calls) == 1
    again.close()
    with sqlite3.connect(home / "agentflow.db") as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT id, step FROM answers WHERE run_id = 'r'").fetchall()
    connection.close()
    assert "COVERING INDEX answers_of_step" in str(plan)
