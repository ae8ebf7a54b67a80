"""The steps that lead to the tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agentflow.core.errors import JournalError
from agentflow.store.schema import MIGRATIONS, migrate


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "x.db", isolation_level=None)


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for [name] in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_new_file_gets_all_tables_and_its_version(connection: sqlite3.Connection) -> None:
    migrate(connection)
    migrate(connection)
    names = {"runs", "records", "events", "outputs", "answers", "cache", "cache_changes", "parts", "orders"}
    assert tables(connection) == names
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_an_older_file_takes_the_steps_that_it_lacks_and_keeps_what_it_has(connection: sqlite3.Connection) -> None:
    migrate(connection)
    connection.execute("INSERT INTO parts VALUES ('h-1', '{}')")
    migrate(connection, [*MIGRATIONS, ("ALTER TABLE parts ADD COLUMN note TEXT",), ("CREATE TABLE later (x)",)])
    assert connection.execute("SELECT hash, note FROM parts").fetchall() == [("h-1", None)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 2,)


def test_a_step_that_fails_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [*MIGRATIONS, ("CREATE TABLE later (x)", "CREATE TABLE nonsense")])
    assert "later" not in tables(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert not connection.in_transaction


def test_a_newer_file_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError) as caught:
        migrate(connection)
    assert str(caught.value) == (
        f"The journal was written by a newer AgentFlow (schema 99, this one knows {len(MIGRATIONS)}). "
        "Upgrade agentflow-bedrock, or set AGENTFLOW_HOME to another folder."
    )


def test_the_database_of_another_program_is_left_alone(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(JournalError, match="another program"):
        migrate(connection)
    assert tables(connection) == {"theirs"}
