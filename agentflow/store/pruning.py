"""Deleting runs, in transactions that are short enough for others to write in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime

from agentflow.store.database import transaction
from agentflow.store.history import DELETED, is_running, run_rows
from agentflow.store.records import utc_text

_ROWS = 2_000  # of a transaction
_PAGES = 500  # of the file, given back to the disk in one go


def mark(
    connection: sqlite3.Connection, *, older_than: datetime | None = None, run_ids: Sequence[str] | None = None
) -> int:
    """Mark runs that are not running as deleted, and return how many; from then on nobody sees them. In a transaction.

    Parameters
    ----------
    older_than, run_ids : those that ended before, and those of these ids; both given, those that fit both.
    """
    wanted = None if run_ids is None else set(run_ids)
    marked = 0
    for run in run_rows(connection):
        too_young = older_than is not None and (run["ended_at"] or run["heartbeat_at"]) >= utc_text(older_than)
        if too_young or (wanted is not None and run["run_id"] not in wanted) or is_running(run):
            continue
        connection.execute("UPDATE runs SET status = ? WHERE run_id = ?", (DELETED, run["run_id"]))
        marked += 1
    return marked


def sweep(connection: sqlite3.Connection) -> Iterator[None]:
    """Delete all that belongs to marked runs, and give the space back to the disk; yields after each small piece."""
    marked = [run_id for [run_id] in connection.execute("SELECT run_id FROM runs WHERE status = ?", (DELETED,))]
    if not marked:
        return
    these = json.dumps(marked)
    for table, key in (("events", "run_id, sequence"), ("outputs", "run_id, step, item"), ("answers", "id")):
        statement = (
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} "  # noqa: S608 - the names above
            f"WHERE run_id IN (SELECT value FROM json_each(?)) LIMIT {_ROWS})"
        )
        while True:
            with transaction(connection):
                deleted = connection.execute(statement, (these,)).rowcount
            yield
            if deleted < _ROWS:
                break
    with transaction(connection):
        connection.execute("DELETE FROM records WHERE run_id IN (SELECT value FROM json_each(?))", (these,))
        connection.execute("DELETE FROM orders WHERE run_id IN (SELECT value FROM json_each(?))", (these,))
        connection.execute("DELETE FROM runs WHERE run_id IN (SELECT value FROM json_each(?))", (these,))
        connection.execute(
            "DELETE FROM parts WHERE NOT EXISTS (SELECT 1 FROM records WHERE records.parts = parts.hash)"
        )
    yield
    while connection.execute("PRAGMA freelist_count").fetchone() != (0,):
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        yield
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
