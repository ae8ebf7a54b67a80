"""The tables, as the list of steps that led to them; `PRAGMA user_version` says how many a file has behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from agentflow.core.errors import JournalError

# runs       what changes while a run goes on, and is small: it is written again with every commit
# records    what a run was begun with
# events     as JSON, a list of those that were committed together; `sequence` is the number of the first, `at` in
#            milliseconds from the first start of the run
# outputs    the newest output of each step, by its path; item -1 is the step as a whole
# parts      what the steps of a workflow are made of, as JSON: one row for all runs that have the same
# answers    what models answered; dollars as the text of the exact decimal number
_FIRST = (
    """CREATE TABLE runs (
        run_id TEXT PRIMARY KEY, workflow TEXT NOT NULL, status TEXT NOT NULL, started_at TEXT NOT NULL,
        ended_at TEXT, duration_ms REAL, error TEXT, warnings TEXT NOT NULL, steps INTEGER NOT NULL,
        finished_steps INTEGER NOT NULL, attempts INTEGER NOT NULL, closed INTEGER NOT NULL,
        pid INTEGER NOT NULL, process_started REAL NOT NULL, host TEXT NOT NULL,
        heartbeat_at TEXT NOT NULL, memory_bytes INTEGER NOT NULL, agentflow TEXT NOT NULL
    )""",
    """CREATE TABLE records (
        run_id TEXT PRIMARY KEY, step_ids TEXT NOT NULL, inputs TEXT NOT NULL, inputs_not_kept TEXT NOT NULL,
        fingerprints TEXT NOT NULL, definition TEXT
    )""",
    """CREATE TABLE events (
        run_id TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run_id, sequence)
    ) WITHOUT ROWID""",
    """CREATE TABLE outputs (
        run_id TEXT NOT NULL, step TEXT NOT NULL, item INTEGER NOT NULL, kind TEXT NOT NULL, data NOT NULL,
        PRIMARY KEY (run_id, step, item)
    ) WITHOUT ROWID""",
    """CREATE TABLE answers (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, step TEXT NOT NULL, item INTEGER NOT NULL, key TEXT NOT NULL,
        model_id TEXT NOT NULL, at TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        cost_usd TEXT, bedrock_usd TEXT, request TEXT NOT NULL, reply TEXT NOT NULL
    )""",
    "CREATE INDEX answers_of_run ON answers (run_id, input_tokens, output_tokens, cost_usd, bedrock_usd)",
)

# cache      answers that are given again, by their request and the place that was asked
_CACHE = (
    """CREATE TABLE cache (
        key TEXT NOT NULL, place TEXT NOT NULL, at TEXT NOT NULL, used_at TEXT NOT NULL, model TEXT NOT NULL,
        prompt TEXT NOT NULL, run_id TEXT NOT NULL, step TEXT NOT NULL, item INTEGER, bedrock_usd TEXT,
        hits INTEGER NOT NULL, reply TEXT NOT NULL, PRIMARY KEY (key, place)
    )""",
    "CREATE TABLE cache_changes (count INTEGER NOT NULL)",  # of the answers, not of their hits
    "INSERT INTO cache_changes VALUES (0)",
)
_PARTS = (
    "CREATE TABLE parts (hash TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
    "ALTER TABLE records ADD COLUMN parts TEXT",
    "CREATE INDEX records_of_parts ON records (parts)",
    "CREATE INDEX runs_of_workflow ON runs (workflow, started_at)",
)
_PAST_CALLS = ("CREATE INDEX answers_of_step ON answers (run_id, step)",)
# orders     what other processes tell a run; what became of it is None until the run has taken it
_ORDERS = (
    """CREATE TABLE orders (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, what TEXT NOT NULL, value INTEGER, pid INTEGER NOT NULL,
        at TEXT NOT NULL, outcome TEXT
    )""",
    "CREATE INDEX open_orders ON orders (number) WHERE outcome IS NULL",
)
_EVENTS_TOGETHER: Sequence[str] = ()  # rows of events have lists of them, which an older AgentFlow cannot read

MIGRATIONS: Sequence[Sequence[str]] = (_FIRST, _CACHE, _PARTS, _PAST_CALLS, _ORDERS, _EVENTS_TOGETHER)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a file to the newest schema, in one transaction: other processes may open the same new file.

    Raises
    ------
    JournalError
        A newer AgentFlow, or another program, made the file.
    sqlite3.Error
        It cannot be read or written.
    """
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = known_version(connection, len(migrations))
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def known_version(connection: sqlite3.Connection, newest: int = len(MIGRATIONS)) -> int:
    """Return how many migrations a file has behind it.

    Raises
    ------
    JournalError
        A newer AgentFlow, or another program, made the file.
    """
    version = _version(connection)
    if version > newest:
        raise JournalError(
            f"The journal was written by a newer AgentFlow (schema {version}, this one knows {newest}).",
            fix="Upgrade agentflow-bedrock, or set AGENTFLOW_HOME to another folder.",
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise JournalError(
            "The journal's file is the database of another program.", fix="Set AGENTFLOW_HOME to another folder."
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
