"""What a health check asks of the journal: whether it can be used, and how the newest requests of its runs ended.

Nothing is made here that is not there: no folder, no file, no table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agentflow.core.errors import JournalError
from agentflow.core.events import AttemptFinished
from agentflow.core.model import Attempt
from agentflow.store.database import Database
from agentflow.store.records import event_of, located, utc_text
from agentflow.store.schema import known_version

MOST_RUNS = 50  # the newest, of which requests are looked at
MOST_EVENTS = 500  # of a run, the newest
MOST_ANSWERS = 5_000
SMALL_BYTES = 50_000_000  # a larger file takes longer than a health check to be read as a whole


@dataclass(frozen=True, slots=True)
class JournalState:
    """The journal's file as it is."""

    path: Path
    size_bytes: int
    runs: int


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request of a run that was answered, or failed by `attempt.error_code`."""

    run_id: str
    model_id: str
    attempt: Attempt

    @property
    def ended_at(self) -> datetime:
        """When it was answered or failed, in UTC."""
        return self.attempt.started_at + timedelta(milliseconds=self.attempt.latency_ms)


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
    """Return requests that ended since then, the newest first: of the newest runs, and not all of large ones.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    found: list[PastRequest] = []
    database = Database(folder)
    if not _size(database):
        return found
    with database.reading() as connection:
        if not known_version(connection):
            return found
        runs = connection.execute(
            "SELECT run_id FROM runs WHERE heartbeat_at >= ? ORDER BY heartbeat_at DESC LIMIT ?",
            (utc_text(since), MOST_RUNS),
        ).fetchall()
        for (run_id,) in runs:
            bodies = connection.execute(
                "SELECT body FROM events WHERE run_id = ? ORDER BY sequence DESC LIMIT ?", (run_id, MOST_EVENTS)
            )
            found += _requests(run_id, (body for [body] in bodies))
    return sorted((each for each in found if each.ended_at >= since), key=lambda each: each.ended_at, reverse=True)


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


def _requests(run_id: str, bodies: Iterator[str]) -> Iterator[PastRequest]:
    for text in bodies:
        if '"AttemptFinished"' not in text or (event := event_of(json.loads(text))) is None:
            continue
        _, innermost = located(event)
        if isinstance(innermost, AttemptFinished):
            yield PastRequest(run_id, innermost.model_id, innermost.attempt)
