"""What is committed together: the rows of some events and answers.

Many rows go to SQLite in one statement. With a statement a row, the thread would give up Python's lock and wait for it
again at each, up to 5 ms where the event loop is busy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    OrderTaken,
    StepFinished,
    StepMapped,
)
from agentflow.core.journal import Encoded, RunRecord
from agentflow.core.model import Reply
from agentflow.store.cache_rows import CacheRows
from agentflow.store.codec import ITEMS, NOT_KEPT, dumps, encode_text
from agentflow.store.live import LiveRun
from agentflow.store.orders import settle
from agentflow.store.owner import resident_bytes, this_process
from agentflow.store.parts import parts_row
from agentflow.store.records import body_of, clean, located, utc_text

WHOLE = -1  # in the place of an item: the step as a whole
_TOGETHER = 64  # rows of a statement
_EVENTS_A_ROW = 500  # of those of a run that are committed together: a row costs as much as several events


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
        self._events: list[tuple[LiveRun, int, list[str]]] = []  # rows: the number of the first event, and all as JSON
        self._last_row: dict[LiveRun, list[str]] = {}  # the events of a run's last row, to which more may come
        self._answers: list[Sequence[Any]] = []
        self._orders: list[OrderTaken] = []
        self._cache = CacheRows()
        self.cache_changes: int | None = None  # the count of them, once it was written
        self._sealed: Mapping[LiveRun, Sequence[Any]] | None = None

    def add(self, live: LiveRun | None, what: Any, encoded: Encoded | None) -> None:
        """Take in what a run has to say: its record, an event with its output, an answer, or its end.

        What belongs to no run belongs to the cache.
        """
        self.size += 1
        if live is None:
            self._cache.add(what)
            return
        self.lives[live] = None
        if type(what) is Answer:
            live.take_reply(what.reply)
            self._answers.append(what.row)
            self._touched[live] = None
            return
        if type(what) is RunRecord:
            live.parts = parts_row(what.parts) if what.parts else None
            live.record = _record_row(what, live.parts)
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
        self._add_body(live, dumps(body_of(event, live.zero)))
        if isinstance(inner, StepMapped):
            self._add_output(live, prefix + inner.step_id, None, ITEMS, str(inner.items))
        elif isinstance(inner, OrderTaken):
            self._orders.append(inner)
        elif isinstance(inner, StepFinished) and (encoded is None or encoded.kind != ITEMS):
            encoded = encoded or Encoded(NOT_KEPT, None, "nobody gave it to the journal")
            kept = (NOT_KEPT, encoded.problem) if encoded.data is None else (encoded.kind, encoded.data)
            self._add_output(live, prefix + inner.step_id, inner.item, *kept)

    def _add_body(self, live: LiveRun, body: str) -> None:
        row = self._last_row.get(live)
        if row is None or len(row) >= _EVENTS_A_ROW:
            row = self._last_row[live] = []
            self._events.append((live, live.sequence, row))
        row.append(body)
        live.sequence += 1

    def _add_output(self, live: LiveRun, step: str, item: int | None, kind: str, data: str | bytes) -> None:
        if kind == NOT_KEPT:
            data = clean(str(data))
        self.outputs.append((live.run_id, clean(step), WHOLE if item is None else item, kind, data))

    def seal(self) -> None:
        """Take in nothing more: what the rows of the runs say stays what it is now, whatever follows in others."""
        self._sealed = {live: _changing(live) for live in self._touched}

    def write(self, connection: sqlite3.Connection) -> list[LiveRun]:
        """Write all rows, and return the runs that are not this process's any more: only answers of them are kept."""
        now = utc_text(datetime.now(UTC))
        if self._begun:
            memory = resident_bytes()
            connection.executemany(_BEGIN, [_run_row(live, now, memory) for live in self._begun])
            connection.executemany(_PARTS, {live.parts for live in self._begun if live.parts})
            connection.executemany(_RECORD, [live.record for live in self._begun])
        states = self._sealed or {live: _changing(live) for live in self._touched}
        lost = [live for live, state in states.items() if not _update(connection, live, state, now)]
        strange = {live.run_id for live in lost}
        deleted = {run_id for run_id in strange if connection.execute(_IS_THERE, (run_id,)).fetchone() is None}
        events = [(live.run_id, first, f"[{','.join(bodies)}]") for live, first, bodies in self._events]
        _insert(connection, "events", 3, _without(strange, events))
        _insert(connection, "outputs", 5, _without(strange, self.outputs), _NEWEST)
        _insert(connection, f"answers ({_ANSWER})", 12, _without(deleted, self._answers))
        if self._orders:
            settle(connection, self._orders)
        self.cache_changes = self._cache.write(connection)
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
    parts = parts_row(record.parts) if record.parts else None
    if parts:
        connection.execute(_PARTS, parts)
    connection.execute(
        "UPDATE records SET step_ids = ?, fingerprints = ?, definition = ?, parts = ? WHERE run_id = ?",
        (
            *(dumps(record.step_ids), dumps(dict(record.fingerprints)), record.definition),
            *(parts and parts[0], record.run_id),
        ),
    )
    for step in map(
        clean, again
    ):  # those of the steps of a workflow that is a step are `step.inner` or `step[0].inner`
        connection.execute(
            "DELETE FROM outputs WHERE run_id = ? AND (step = ? OR substr(step, 1, ?) IN (?, ?))",
            (record.run_id, step, len(step) + 1, f"{step}.", f"{step}["),
        )


def _without(run_ids: Collection[str], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    return [row for row in rows if row[0] not in run_ids] if run_ids else rows


def _insert(
    connection: sqlite3.Connection, into: str, columns: int, rows: Sequence[Sequence[Any]], conflict: str = ""
) -> None:
    row = f"({', '.join('?' * columns)})"
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        values = list(chain.from_iterable(some))
        connection.execute(f"INSERT INTO {into} VALUES {', '.join([row] * len(some))} {conflict}", values)


def _record_row(record: RunRecord, parts: tuple[str, str] | None) -> tuple[str | None, ...]:
    inputs, problems = {}, {}
    for name, value in record.inputs.items():
        encoded = encode_text(value)
        if encoded.data is None:
            problems[name] = encoded.problem
        else:
            inputs[name] = encoded.data
    definition = None if record.definition is None else clean(record.definition)
    steps, fingerprints = dumps(record.step_ids), dumps(dict(record.fingerprints))
    return record.run_id, steps, dumps(inputs), dumps(problems), fingerprints, definition, parts and parts[0]


def _run_row(live: LiveRun, now: str, memory: int) -> tuple[Any, ...]:
    from agentflow import __version__

    owner = live.owner
    return (
        *(live.run_id, clean(live.workflow), utc_text(live.started_at)),
        *_changing(live),
        *(now, owner.pid, owner.process_started, owner.host, memory, __version__),
    )


def _update(connection: sqlite3.Connection, live: LiveRun, state: Sequence[Any], now: str) -> bool:
    """Bring a run's row up to date, and return whether it is this process's."""
    owner = live.owner
    if live.is_lost or owner != this_process():  # a forked child has its parent's runs
        return False
    cursor = connection.execute(_UPDATE, (*state, now, live.run_id, owner.pid, owner.process_started, owner.host))
    return cursor.rowcount == 1


def _changing(live: LiveRun) -> Sequence[Any]:
    return (
        live.status,
        live.ended_at and utc_text(live.ended_at),
        live.duration_ms,
        live.error and dumps(live.error),
        dumps(live.warnings),
        live.steps,
        len(live.finished),
        live.attempts,
        live.closed,
    )


# ruff: noqa: S608 - the statements are put together from the texts in this file only
_CHANGING = "status, ended_at, duration_ms, error, warnings, steps, finished_steps, attempts, closed"
_BEGIN = (
    f"INSERT OR IGNORE INTO runs (run_id, workflow, started_at, {_CHANGING}, "
    f"heartbeat_at, pid, process_started, host, memory_bytes, agentflow) VALUES ({', '.join('?' * 18)})"
)
_RECORD = (
    "INSERT OR IGNORE INTO records (run_id, step_ids, inputs, inputs_not_kept, fingerprints, definition, parts) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PARTS = "INSERT OR IGNORE INTO parts VALUES (?, ?)"
_UPDATE = (
    f"UPDATE runs SET {_CHANGING.replace(',', ' = ?,')} = ?, heartbeat_at = ? "
    "WHERE run_id = ? AND pid = ? AND process_started = ? AND host = ?"
)
_IS_THERE = "SELECT 1 FROM runs WHERE run_id = ?"
_NEWEST = "ON CONFLICT (run_id, step, item) DO UPDATE SET kind = excluded.kind, data = excluded.data"
_ANSWER = "run_id, step, item, key, model_id, at, input_tokens, output_tokens, cost_usd, bedrock_usd, request, reply"
