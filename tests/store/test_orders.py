"""Orders between processes, as rows of the store."""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentflow.core.errors import InputError, RunNotFoundError
from agentflow.core.events import OrderTaken
from agentflow.core.orders import Order
from agentflow.store import writer
from agentflow.store.journal import SqliteJournal
from agentflow.store.owner import this_process
from tests.store.runs import Recorded, taken_over


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOOK_SECONDS", 0.02)


@pytest.fixture
def other(home: Path, journal: SqliteJournal) -> SqliteJournal:
    """The journal as another process has it."""
    return SqliteJournal(home)


def begun(journal: SqliteJournal) -> tuple[Recorded, queue.Queue[Order]]:
    run, orders = Recorded(journal, "a"), queue.Queue[Order]()
    run.run.take_orders(orders.put)
    journal.flush(5)
    return run, orders


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def written(home: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "agentflow.db") as connection:
        return connection.execute(statement, values).fetchall()


def test_a_run_is_given_each_order_once_and_what_became_of_it_is_known_to_the_sender(
    journal: SqliteJournal, other: SqliteJournal
) -> None:
    run, orders = begun(journal)
    first, second = other.order(run.run_id, "max_concurrency", 5), other.order(run.run_id, "max_concurrency", 6)
    given = [orders.get(timeout=10), orders.get(timeout=10)]
    pid = this_process().pid
    assert given == [Order(first, "max_concurrency", 5, pid), Order(second, "max_concurrency", 6, pid)]
    assert other.order_outcome(first) is None
    run.put(OrderTaken(given[0], 0.0))
    run.put(OrderTaken(given[1], 0.0, "it is no good"))
    until(lambda: other.order_outcome(second) == "it is no good")
    assert other.order_outcome(first) == ""
    third = other.order(run.run_id, "stop")
    assert orders.get(timeout=10) == Order(third, "stop", None, this_process().pid)
    assert orders.empty()


def test_what_a_run_took_is_in_what_the_journal_has_of_it(journal: SqliteJournal) -> None:
    run, _ = begun(journal)
    run.put(OrderTaken(Order(7, "max_concurrency", 5, 4711), 0.0))
    run.put(OrderTaken(Order(8, "stop", None, 4711), 0.0))
    run.end("interrupted")
    past = journal.past_run(run.run_id).result
    assert past.stopped_by == run.result.stopped_by == "`agentflow stop` (pid 4711)"
    assert past.warnings == run.result.warnings
    assert past.warnings == [
        "max_concurrency was set to 5 by `agentflow set` (pid 4711).",
        "The run was stopped by `agentflow stop` (pid 4711).",
    ]
    again, joined = journal.claim(taken_over(run.run_id), lambda _: None)
    joined.close()
    assert again.result.warnings == past.warnings
    assert journal.past_run(run.run_id).result.warnings[:-1] == past.warnings  # the last one says that it has no end


@pytest.mark.parametrize(("what", "value"), [("rm -rf /", 1), ("max_concurrency", "many"), ("max_concurrency", 0)])
def test_a_row_that_is_no_order_is_not_given_to_a_run(
    journal: SqliteJournal, other: SqliteJournal, home: Path, what: str, value: object
) -> None:
    run, orders = begun(journal)
    statement = "INSERT INTO orders (run_id, what, value, pid, at) VALUES (?, ?, ?, 1, 'now')"
    written(home, statement, run.run_id, what, value)
    number = other.order(run.run_id, "stop")
    assert orders.get(timeout=10).number == number


def test_only_a_run_that_goes_on_on_this_host_can_be_told_something(journal: SqliteJournal, home: Path) -> None:
    run, _ = begun(journal)
    with pytest.raises(RunNotFoundError):
        journal.order("r-none", "stop")
    with pytest.raises(InputError, match="max_concurrency=0 cannot be set"):
        journal.order(run.run_id, "max_concurrency", 0)
    written(home, "UPDATE runs SET host = 'elsewhere'")
    with pytest.raises(InputError, match="goes on on elsewhere"):
        journal.order(run.run_id, "stop")
    written(home, "UPDATE runs SET host = ?", this_process().host)
    run.end()
    journal.flush(5)
    with pytest.raises(InputError, match="has ended"):
        journal.order(run.run_id, "stop")
    assert written(home, "SELECT count(*) FROM orders") == [(0,)]


def test_an_order_that_was_not_taken_is_none_to_who_goes_on_and_all_go_with_the_run(
    journal: SqliteJournal, home: Path
) -> None:
    run = Recorded(journal, "a")  # it takes none
    journal.flush(5)
    done, left = journal.order(run.run_id, "max_concurrency", 2), journal.order(run.run_id, "stop")
    run.put(OrderTaken(Order(done, "max_concurrency", 2, 1), 0.0))
    run.end("interrupted")
    _, joined = journal.claim(taken_over(run.run_id), lambda _: None)
    assert (journal.order_outcome(done), journal.order_outcome(left)) == ("", None)
    assert written(home, "SELECT number FROM orders") == [(done,)]
    joined.close()
    journal.prune(run_ids=[run.run_id])
    assert written(home, "SELECT number FROM orders") == []


def test_nothing_is_read_while_nobody_else_writes(journal: SqliteJournal, other: SqliteJournal) -> None:
    run, orders = begun(journal)
    until(lambda: journal._writer._inbox._file_changes is not None)
    statements: list[str] = []
    assert journal._writer._connection is not None
    journal._writer._connection.set_trace_callback(statements.append)
    until(lambda: len(statements) > 4)
    journal._writer._connection.set_trace_callback(None)
    assert set(statements) == {"PRAGMA data_version"}
    other.order(run.run_id, "stop")
    assert orders.get(timeout=10).what == "stop"
