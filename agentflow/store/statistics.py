"""What the newest runs of a workflow took: the figures that a quote rests on."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from agentflow.core.journal import PastCall, PastStep, PastWork
from agentflow.core.model import Reply, Request
from agentflow.store.batch import WHOLE
from agentflow.store.codec import ITEMS, JSON, dumps
from agentflow.store.history import DELETED
from agentflow.store.records import bodies_of, clean, located_body, read

# However much the journal holds, reading it takes a moment only.
CALLS = 200  # of each step: enough for a tenth and nine tenths of them to be steady
REQUESTS = 20  # of each step: whole prompts, which may be long
_RUNS = 200  # whose calls are looked at
_STEP_RUNS = 10  # whose other steps are looked at too
_PATHS = 5_000  # steps of all these runs; of an inner workflow that is mapped, those of each item count
_EVENTS = 2_000  # of each run, from its start
_ITEMS = 20  # of each mapped step

_ITEM = re.compile(r"\[\d+\]\.")


def past_work(connection: sqlite3.Connection, workflow: str) -> PastWork:
    """Return what the newest runs of a workflow took.

    Raises
    ------
    ValueError, KeyError, TypeError
        Something that was read is damaged.
    """
    rows = connection.execute(
        "SELECT run_id FROM runs WHERE workflow = ? AND status <> ? ORDER BY started_at DESC LIMIT ?",
        (clean(workflow), DELETED, _RUNS),
    )
    run_ids = [run_id for [run_id] in rows]
    return PastWork(_past_calls(connection, run_ids), _past_steps(connection, run_ids[:_STEP_RUNS]))


def _places(connection: sqlite3.Connection, table: str, run_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return runs and the steps that a table has of each, without reading the thousands of items that a step may have.

    The table has an index that begins with the two.
    """
    first = f"SELECT min(step) FROM {table} WHERE run_id = ?"  # noqa: S608 - a word of this file
    for run_id in run_ids:
        [step] = connection.execute(first, (run_id,)).fetchone()
        while step is not None:
            yield run_id, step
            [step] = connection.execute(f"{first} AND step > ?", (run_id, step)).fetchone()


def _past_calls(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[PastCall]:
    taken: Counter[str] = Counter()
    calls = []
    for run_id, step in islice(_places(connection, "answers", run_ids), _PATHS):
        path = _without_items(step)
        rows = connection.execute(  # those without tokens were there before: the same answers once more
            "SELECT reply, CASE WHEN row_number() OVER (ORDER BY id DESC) <= ? THEN request END FROM answers "
            "WHERE run_id = ? AND step = ? AND input_tokens + output_tokens > 0 ORDER BY id DESC LIMIT ?",
            (REQUESTS - taken[path], run_id, step, CALLS - taken[path]),
        ).fetchall()
        taken[path] += len(rows)
        calls += [_past_call(path, *row) for row in rows]
    return calls


def _past_call(path: str, reply_text: str, request_text: str | None) -> PastCall:
    reply = read(Reply, json.loads(reply_text))
    request = json.loads(request_text) if request_text else {}
    is_whole = isinstance(request.get("prompt"), str)  # of attachments only hashes are kept
    return PastCall(
        path,
        reply.model,
        reply.usage,
        reply.latency_ms,
        len(reply.text),
        read(Request, request) if is_whole else None,
    )


def _past_steps(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[PastStep]:
    found = {place: PastStep(_without_items(place[1]), took) for place, took in _latencies(connection, run_ids).items()}
    for run_id, step in islice(_places(connection, "outputs", run_ids), _PATHS):
        rows = connection.execute(
            """SELECT item, kind, CASE kind WHEN ? THEN data END, length(data) - 2 * (substr(data, 1, 1) = '"')
            FROM outputs WHERE run_id = ? AND step = ? AND item < ?""",
            (ITEMS, run_id, step, _ITEMS),
        )
        for item, kind, items, chars in rows:
            known = found.get((run_id, step, item)) or PastStep(_without_items(step))
            found[run_id, step, item] = replace(
                known, output_chars=chars if kind == JSON else None, items=None if items is None else int(items)
            )
    return list(found.values())


def _latencies(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[tuple[str, str, int], float]:
    """Return (run, step, item) -> the milliseconds from its start to its end, of those that have ended well."""
    started: dict[tuple[str, str, int], float] = {}
    latencies: dict[tuple[str, str, int], float] = {}
    rows = connection.execute(
        "SELECT run_id, body FROM events WHERE run_id IN (SELECT value FROM json_each(?)) AND sequence < ?",
        (dumps(run_ids), _EVENTS),
    )
    for run_id, event in ((run_id, body) for run_id, text in rows for body in bodies_of(text)):
        prefix, body = located_body(event)
        if body["type"] in {"StepStarted", "StepFinished"}:
            place = run_id, clean(prefix + body["step_id"]), body.get("item", WHOLE)
            if body["type"] == "StepStarted":
                started[place] = body["at"]
            elif place in started:
                latencies[place] = body["at"] - started.pop(place)
    return latencies


def _without_items(step: str) -> str:
    """Return a step's path without its items.

    >>> _without_items("sub[3].classify")
    'sub.classify'
    """
    return _ITEM.sub(".", step) if "[" in step else step
