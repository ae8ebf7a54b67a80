"""Runs are deleted with all that belongs to them, and none that is running."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentflow.core.errors import RunNotFoundError
from agentflow.store import pruning
from agentflow.store.journal import SqliteJournal
from tests.store.runs import Recorded, open_journal, reply, rich_run

NOW = datetime.now(UTC)


def left(journal: SqliteJournal) -> dict[str, int]:
    with journal._database.reading() as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("runs", "records", "events", "outputs", "answers")
        }


def test_all_that_belongs_to_a_run_goes_with_it(journal: SqliteJournal) -> None:
    kept = rich_run(journal)
    journal.flush(5)
    before = left(journal)
    gone = [rich_run(journal).run_id for _ in range(3)]
    assert journal.prune(run_ids=[*gone, "r-none"]) == 3
    assert left(journal) == before
    assert [run["run_id"] for run in journal.runs()] == [kept.run_id]
    with pytest.raises(RunNotFoundError):
        journal.past_run(gone[0])


def test_old_runs_are_those_that_ended_before(journal: SqliteJournal) -> None:
    old, young, going = (
        Recorded(journal, "a", started_at=NOW - timedelta(days=10)),
        Recorded(journal, "a"),
        Recorded(journal, "a", started_at=NOW - timedelta(days=10)),
    )
    old.end()
    young.end()
    journal.flush(5)
    with journal._database.changing() as connection:
        connection.execute("UPDATE runs SET ended_at = ? WHERE run_id = ?", ("2026-01-01T00:00:00", old.run_id))
    week_ago = NOW - timedelta(days=7)
    assert journal.prune(older_than=week_ago, run_ids=[young.run_id]) == 0
    assert journal.prune(older_than=week_ago) == 1
    assert {run["run_id"] for run in journal.runs()} == {young.run_id, going.run_id}
    assert journal.prune() == 0
    assert journal.prune(run_ids=[going.run_id]) == 0
    going.run.close()
    assert journal.prune(run_ids=[going.run_id]) == 1


def test_the_space_goes_back_to_the_disk_and_the_words_are_gone(
    journal: SqliteJournal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_ROWS", 10)  # many small transactions
    run = Recorded(journal, "a")
    for number in range(100):
        run.answer("a", reply(text=f"a secret answer {number}" * 500))
        run.step("a", number)
    run.end()
    journal.flush(5)
    size = sum(file.stat().st_size for file in home.iterdir())
    journal.prune(run_ids=[run.run_id])
    assert sum(file.stat().st_size for file in home.iterdir()) < size / 10
    assert not any(b"a secret answer" in file.read_bytes() for file in home.iterdir())


def test_what_a_killed_prune_left_over_is_swept_by_the_next(journal: SqliteJournal) -> None:
    one, other = rich_run(journal), rich_run(journal)
    journal.flush(5)
    with journal._database.changing() as connection:
        assert pruning.mark(connection, run_ids=[one.run_id]) == 1
    with journal._database.connected() as connection:
        next(pruning.sweep(connection))  # and no further
    assert [run["run_id"] for run in journal.runs()] == [other.run_id]
    assert journal.prune(run_ids=[other.run_id]) == 1
    assert set(left(journal).values()) == {0}


def test_opening_deletes_what_is_older_than_the_retention(home: Path) -> None:
    journal = open_journal(home)
    ids = [Recorded(journal, "a") for _ in range(2)]
    for run in ids:
        run.end()
    journal.flush(5)
    with journal._database.changing() as connection:
        long_ago = (NOW - timedelta(days=31)).isoformat()
        connection.execute("UPDATE runs SET ended_at = ? WHERE run_id = ?", (long_ago, ids[0].run_id))
    journal.close()
    journal = open_journal(home, retention_days=30)
    going = Recorded(journal, "a")
    while left(journal)["runs"] > 2:
        time.sleep(0.01)
    assert {run["run_id"] for run in journal.runs()} == {ids[1].run_id, going.run_id}
    journal.close()
