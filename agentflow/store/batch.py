"""What is committed together: the rows of some events and answers.

Rows go to SQLite as one JSON text a table. A row at a time, the thread would give up Python's lock and wait for it
again with each, up to 5 ms where the event loop is busy; so it waits once, and SQLite works beside the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    StepFinished,
    StepMapped,
)
from agentflow.core.journal import Encoded, RunRecord
from agentflow.core.model import Reply
from agentflow.store.codec import ITEMS, NOT_KEPT, dumps, encode_text
from agentflow.store.live import LiveRun
from agentflow.store.owner import resident_bytes, this_process
from agentflow.store.records import body_of, located, utc_text

WHOLE = -1  # in the place of an item: the step as a whole
_TOGETHER = 500  # rows of one JSON text: Python's lock is held while it is made
_SHORT = 20_000  # a longer output, or one of bytes, is given to SQLite by itself


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and its row."""

    reply: Reply
    row: Sequence[Any]


class Joined:
    """Says that this process goes on with a run that has its row."""


class Closed:
    """Says that a run writes no more events."""


class Batch:
    """Rows that are committed together; filled and written by the writer's thread."""

    def __init__(self) -> None:
        self.size = 0
        self.lives: dict[LiveRun, None] = {}  # an ordered set
        self.outputs: list[Sequence[Any]] = []
        self._begun: list[LiveRun] = []
        self._touched: dict[LiveRun, None] = {}
        self._events: list[Sequence[Any]] = []
        self._answers: list[Sequence[Any]] = []

    def add(self, live: LiveRun, what: Any, encoded: Encoded | None) -> None:
        """Take in what a run has to say: its record, an event with its output, an answer, or its end."""
        self.size += 1
        self.lives[live] = None
        if type(what) is Answer:
            live.take_reply(what.reply)
            self._answers.append(what.row)
            return
        if type(what) is RunRecord:
            live.record = _record_row(what)
            self.begin(live)
            return
        if type(what) is Closed:
            live.closed = True
        elif type(what) is not Joined:
            self._add_event(live, what, encoded)
        self._touched[live] = None

    def begin(self, live: LiveRun) -> None:
        """Have the row of a run written that has none yet."""
        self._begun.append(live)

    def _add_event(self, live: LiveRun, event: Event, encoded: Encoded | None) -> None:
        prefix, inner = located(event)
        if isinstance(inner, CallFinished):
            return  # the answers have it
        if isinstance(inner, AttemptFinished):
            if inner.attempt.error_code is None:
                return  # the reply has it
            live.take_attempt(inner)
        elif not prefix:
            live.take(inner)
        self._events.append((live.run_id, live.sequence, body_of(event, live.zero)))
        live.sequence += 1
        if isinstance(inner, StepMapped):
            self._add_output(live, prefix + inner.step_id, None, ITEMS, str(inner.items))
        elif isinstance(inner, StepFinished) and (encoded is None or encoded.kind != ITEMS):
            encoded = encoded or Encoded(NOT_KEPT, None, "nobody gave it to the journal")
            kept = (NOT_KEPT, encoded.problem) if encoded.data is None else (encoded.kind, encoded.data)
            self._add_output(live, prefix + inner.step_id, inner.item, *kept)

    def _add_output(self, live: LiveRun, step: str, item: int | None, kind: str, data: str | bytes) -> None:
        if kind == NOT_KEPT:
            data = clean(str(data))
        self.outputs.append((live.run_id, clean(step), WHOLE if item is None else item, kind, data))

    def write(self, connection: sqlite3.Connection) -> list[LiveRun]:
        """Write all rows, and return the runs that are not this process's any more, whose rows are left out."""
        now = utc_text(datetime.now(UTC))
        if self._begun:
            memory = resident_bytes()
            connection.executemany(_BEGIN, [_run_row(live, now, memory) for live in self._begun])
            connection.executemany(_RECORD, [live.record for live in self._begun])
        lost = [live for live in self._touched if not (live.is_lost or _update(connection, live, now))]
        gone = {live.run_id for live in self._touched if live.is_lost or live in lost}
        events = [row for row in self._events if row[0] not in gone] if gone else self._events
        outputs = [row for row in self.outputs if row[0] not in gone] if gone else self.outputs
        _insert(connection, _EVENTS, events)
        _insert(connection, _OUTPUTS, [row for row in outputs if not _is_long(row[4])])
        connection.executemany(_LONG_OUTPUT, [row for row in outputs if _is_long(row[4])])
        _insert(connection, _ANSWERS, self._answers)
        return lost


def beat(connection: sqlite3.Connection, lives: Iterable[LiveRun]) -> list[LiveRun]:
    """Say that this process, which runs these, is alive, and how much memory it holds. Returns none: see `write`."""
    owner = this_process()
    run_ids = dumps([live.run_id for live in lives])
    connection.execute(
        "UPDATE runs SET heartbeat_at = ?, memory_bytes = ? "
        "WHERE run_id IN (SELECT value FROM json_each(?)) AND pid = ? AND process_started = ? AND host = ?",
        (utc_text(datetime.now(UTC)), resident_bytes(), run_ids, owner.pid, owner.process_started, owner.host),
    )
    return []


def renew(connection: sqlite3.Connection, record: RunRecord, again: Iterable[str]) -> None:
    """Write down what a run that goes on is now, and forget the outputs of the steps that run again."""
    connection.execute(
        "UPDATE records SET step_ids = ?, fingerprints = ?, definition = ? WHERE run_id = ?",
        (dumps(record.step_ids), dumps(dict(record.fingerprints)), record.definition, record.run_id),
    )
    for step in map(
        clean, again
    ):  # those of the steps of a workflow that is a step are `step.inner` or `step[0].inner`
        connection.execute(
            "DELETE FROM outputs WHERE run_id = ? AND (step = ? OR substr(step, 1, ?) IN (?, ?))",
            (record.run_id, step, len(step) + 1, f"{step}.", f"{step}["),
        )


def clean(text: str) -> str:
    """Return a text that SQLite takes: without halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_long(data: str | bytes) -> bool:
    return len(data) > _SHORT or type(data) is bytes


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    for start in range(0, len(rows), _TOGETHER):
        connection.execute(statement, (dumps(rows[start : start + _TOGETHER]),))


def _record_row(record: RunRecord) -> tuple[str | None, ...]:
    inputs, problems = {}, {}
    for name, value in record.inputs.items():
        encoded = encode_text(value)
        if encoded.data is None:
            problems[name] = encoded.problem
        else:
            inputs[name] = encoded.data
    definition = None if record.definition is None else clean(record.definition)
    steps = dumps(record.step_ids)
    return record.run_id, steps, dumps(inputs), dumps(problems), dumps(dict(record.fingerprints)), definition


def _run_row(live: LiveRun, now: str, memory: int) -> tuple[Any, ...]:
    from agentflow import __version__

    owner = live.owner
    return (
        *(live.run_id, clean(live.workflow), utc_text(live.started_at), live.steps),
        *_changing(live, now),
        *(owner.pid, owner.process_started, owner.host, memory, __version__),
    )


def _update(connection: sqlite3.Connection, live: LiveRun, now: str) -> bool:
    """Bring a run's row up to date, and return whether it was this process's."""
    owner = live.owner
    cursor = connection.execute(
        _UPDATE, (*_changing(live, now), live.steps, live.run_id, owner.pid, owner.process_started, owner.host)
    )
    return cursor.rowcount == 1


def _changing(live: LiveRun, now: str) -> tuple[Any, ...]:
    return (
        live.status,
        live.ended_at and utc_text(live.ended_at),
        live.duration_ms,
        live.error and dumps(live.error),
        dumps(live.warnings),
        len(live.finished),
        live.attempts,
        live.closed,
        now,
    )


def _from_json(columns: int) -> str:
    values = ", ".join(f"json_extract(value, '$[{column}]')" for column in range(columns))
    return f"SELECT {values} FROM json_each(?)"


# ruff: noqa: S608 - the statements are put together from the texts below only
_CHANGING = "status, ended_at, duration_ms, error, warnings, finished_steps, attempts, closed, heartbeat_at"
_BEGIN = (
    f"INSERT OR IGNORE INTO runs (run_id, workflow, started_at, steps, {_CHANGING}, "
    f"pid, process_started, host, memory_bytes, agentflow) VALUES ({', '.join('?' * 18)})"
)
_RECORD = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE = (
    f"UPDATE runs SET {_CHANGING.replace(',', ' = ?,')} = ?, steps = ? "
    "WHERE run_id = ? AND pid = ? AND process_started = ? AND host = ?"
)
_EVENTS = f"INSERT INTO events {_from_json(3)}"
_NEWEST = "ON CONFLICT (run_id, step, item) DO UPDATE SET kind = excluded.kind, data = excluded.data"
_OUTPUTS = f"INSERT INTO outputs {_from_json(5)} WHERE true {_NEWEST}"
_LONG_OUTPUT = f"INSERT INTO outputs VALUES (?, ?, ?, ?, ?) {_NEWEST}"
_ANSWERS = (  # of a run that was deleted meanwhile, nothing is kept
    "INSERT INTO answers (run_id, step, item, key, model_id, at, input_tokens, output_tokens, cost_usd, bedrock_usd, "
    f"request, reply) {_from_json(12)} WHERE json_extract(value, '$[0]') IN (SELECT run_id FROM runs)"
)
