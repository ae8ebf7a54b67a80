"""What a health check asks of the journal: whether it can be used, and how the newest requests of its runs ended.

Nothing is made here that is not there: no folder, no file, no table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from pathlib import Path

from agentflow.core.errors import JournalError
from agentflow.core.events import AttemptFinished
from agentflow.store.database import Database
from agentflow.store.records import bodies_of, event_of, located_body, utc_text
from agentflow.store.schema import known_version

MOST_RUNS = 50  # the newest, of which requests are looked at
MOST_EVENTS = 500  # of a run, the newest
MOST_ANSWERS = 5_000  # the newest, whose tokens count
MOST_REQUESTS = 500  # the newest answered ones
SMALL_BYTES = 50_000_000  # a larger file takes longer than a health check to be read as a whole


@dataclass(frozen=True, slots=True)
class JournalState:
    """The journal's file as it is."""

    path: Path
    size_bytes: int
    runs: int


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request of a run to a model.

    Attributes
    ----------
    region : that was asked; None where an older AgentFlow did not write it down.
    ended_at : when it was answered or failed, in UTC.
    error_code : AWS's code, or the name of the exception; None where it was answered.
    """

    run_id: str
    model_id: str
    region: str | None
    ended_at: datetime
    error_code: str | None


def journal_state(folder: Path) -> JournalState | None:
    """Return the state of the journal in a folder once it was locked for writing; None where there is none yet.

    Raises
    ------
    JournalError
        It cannot be used; the message says why, and what to do.
    """
    database = Database(folder)
    if not (size := _size(database)):
        return None
    with database.changing() as connection:
        if not known_version(connection):
            return None
        if size < SMALL_BYTES:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise JournalError(
                    f"The journal {database.path} cannot be used: its file is damaged ({found}).",
                    fix="Move the file away, or set AGENTFLOW_HOME to another folder.",
                )
        [runs] = connection.execute("SELECT count(*) FROM runs").fetchone()
    return JournalState(database.path, size, runs)


def newest_requests(folder: Path, since: datetime) -> list[PastRequest]:
    """Return requests that ended since then, the newest first: not all, where there were many.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    database = Database(folder)
    if not _size(database):
        return []
    with database.reading() as connection:
        found = [*_answered(connection, since), *_failed(connection, since)] if known_version(connection) else []
    return sorted(found, key=lambda request: request.ended_at, reverse=True)


def tokens_since(folder: Path, since: datetime) -> Mapping[str, tuple[int, int]]:
    """Return the tokens, of prompts and of answers, that the runs' answers had since then, by the id that was asked.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    database = Database(folder)
    if not _size(database):
        return {}
    with database.reading() as connection:
        if not known_version(connection):
            return {}
        rows = connection.execute(
            "SELECT model_id, sum(input_tokens), sum(output_tokens) FROM "
            "(SELECT model_id, at, input_tokens, output_tokens FROM answers ORDER BY id DESC LIMIT ?) "
            "WHERE at >= ? GROUP BY model_id",
            (MOST_ANSWERS, utc_text(since)),
        ).fetchall()
    return {model_id: (sent, got) for model_id, sent, got in rows}


def _size(database: Database) -> int:
    """Return the size of the file in bytes, 0 where there is none.

    Raises
    ------
    JournalError
        The folder cannot be looked at.
    """
    try:
        return database.path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise database.problem(error) from error


_ANSWERED = """SELECT run_id, model_id, json_extract(reply, '$.region'), at FROM
    (SELECT * FROM answers ORDER BY id DESC LIMIT ?)
    WHERE at >= ? AND json_extract(reply, '$.origin') IS NULL"""  # one with an origin was paid for before


def _answered(connection: sqlite3.Connection, since: datetime) -> Iterator[PastRequest]:
    for run_id, model_id, region, at in connection.execute(_ANSWERED, (MOST_REQUESTS, utc_text(since))):
        yield PastRequest(run_id, model_id, region, datetime.fromisoformat(at), None)


def _failed(connection: sqlite3.Connection, since: datetime) -> Iterator[PastRequest]:
    """Give the failed ones, which the events of the newest runs have."""
    runs = connection.execute(
        "SELECT run_id FROM runs WHERE heartbeat_at >= ? ORDER BY heartbeat_at DESC LIMIT ?",
        (utc_text(since), MOST_RUNS),
    ).fetchall()
    for (run_id,) in runs:
        rows = connection.execute("SELECT body FROM events WHERE run_id = ? ORDER BY sequence DESC", (run_id,))
        newest_first = chain.from_iterable(reversed(bodies_of(text)) for [text] in rows)
        for body in islice(newest_first, MOST_EVENTS):
            _, inner = located_body(body)
            if inner["type"] == "AttemptFinished" and isinstance(failed := event_of(inner), AttemptFinished):
                attempt = failed.attempt
                ended_at = attempt.started_at + timedelta(milliseconds=attempt.latency_ms)
                if ended_at >= since:
                    yield PastRequest(run_id, failed.model_id, attempt.region, ended_at, attempt.error_code)
