"""What the newest runs of a workflow took: the figures that a quote rests on."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentflow.core.journal import PastCall, PastStep, PastWork
from agentflow.core.model import Reply, Request
from agentflow.store.batch import WHOLE, clean
from agentflow.store.codec import ITEMS, JSON, dumps
from agentflow.store.history import DELETED
from agentflow.store.records import Body, inner_prefix, read

# However much the journal holds, reading it takes a moment only.
CALLS = 200  # of each step: enough for a tenth and nine tenths of them to be steady
REQUESTS = 20  # of each step: whole prompts, which may be long
_RUNS = 200  # whose calls are looked at ...
_ATTEMPTS = 20_000  # ... as long as the newer ones sent fewer requests than these
_STEP_RUNS = 10  # whose steps are looked at
_EVENTS = 2_000  # of each of these, from its start
_PATHS = 500  # steps of each of these, inner ones with their items
_ITEMS = 20  # of each mapped step

_ITEM = re.compile(r"\[\d+\]\.")


def past_work(connection: sqlite3.Connection, workflow: str) -> PastWork:
    """Return what the newest runs of a workflow took.

    Raises
    ------
    ValueError, KeyError, TypeError
        Something that was read is damaged.
    """
    newest = connection.execute(
        "SELECT run_id, attempts FROM runs WHERE workflow = ? AND status <> ? ORDER BY started_at DESC LIMIT ?",
        (clean(workflow), DELETED, _RUNS),
    ).fetchall()
    steps = [step for run_id, _ in newest[:_STEP_RUNS] for step in _past_steps(connection, run_id)]
    return PastWork(_past_calls(connection, _with_calls(newest)), steps)


def _with_calls(newest: Iterable[tuple[str, int]]) -> list[str]:
    """Return the newest runs, as many as together sent the requests that are looked at."""
    run_ids, sent = [], 0
    for run_id, attempts in newest:
        if sent >= _ATTEMPTS:
            break
        run_ids.append(run_id)
        sent += attempts
    return run_ids


def _past_calls(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[PastCall]:
    taken: Counter[str] = Counter()
    whole: list[int] = []
    short: list[int] = []
    rows = connection.execute(
        "SELECT id, step FROM answers WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY id DESC",
        (dumps(run_ids),),
    )
    for number, step in rows:
        path = _without_items(step)
        if taken[path] < CALLS:
            (whole if taken[path] < REQUESTS else short).append(number)
            taken[path] += 1
    found = connection.execute(
        "SELECT step, reply, request FROM answers WHERE id IN (SELECT value FROM json_each(?)) "
        "UNION ALL SELECT step, reply, NULL FROM answers WHERE id IN (SELECT value FROM json_each(?))",
        (dumps(whole), dumps(short)),
    )
    return [_past_call(*row) for row in found]


def _past_call(step: str, reply_text: str, request_text: str | None) -> PastCall:
    reply = read(Reply, json.loads(reply_text))
    request = json.loads(request_text) if request_text else {}
    return PastCall(
        _without_items(step),
        reply.model,
        reply.usage,
        reply.latency_ms,
        len(reply.text),
        read(Request, request)
        if isinstance(request.get("prompt"), str)
        else None,  # of attachments only hashes are kept
    )


# Walks the outputs' key from step to step, without reading the thousands of items in between.
_OUTPUTS = f"""WITH RECURSIVE paths (step) AS (
        SELECT min(step) FROM outputs WHERE run_id = :run
        UNION ALL
        SELECT (SELECT min(step) FROM outputs WHERE run_id = :run AND step > paths.step)
        FROM paths WHERE paths.step IS NOT NULL LIMIT {_PATHS}
    )
    SELECT step, item, kind, CASE kind WHEN '{ITEMS}' THEN data END,
        length(data) - 2 * (substr(data, 1, 1) = '"')
    FROM paths JOIN outputs USING (step) WHERE run_id = :run AND item < {_ITEMS}"""  # noqa: S608 - numbers and words of this file


def _past_steps(connection: sqlite3.Connection, run_id: str) -> list[PastStep]:
    found = {
        (step, item): PastStep(_without_items(step), latency_ms)
        for (step, item), latency_ms in _latencies(connection, run_id).items()
    }
    for step, item, kind, items, chars in connection.execute(_OUTPUTS, {"run": run_id}):
        known = found.get((step, item)) or PastStep(_without_items(step))
        found[step, item] = replace(
            known, output_chars=chars if kind == JSON else None, items=None if items is None else int(items)
        )
    return list(found.values())


def _latencies(connection: sqlite3.Connection, run_id: str) -> dict[tuple[str, int], float]:
    """Return how long the steps and items of a run took that have ended well, in milliseconds."""
    started: dict[tuple[str, int], float] = {}
    latencies: dict[tuple[str, int], float] = {}
    bodies = connection.execute("SELECT body FROM events WHERE run_id = ? AND sequence < ?", (run_id, _EVENTS))
    for [text] in bodies:
        prefix, body = _located(json.loads(text))
        if body["type"] in {"StepStarted", "StepFinished"}:
            place = clean(prefix + body["step_id"]), body.get("item", WHOLE)
            if body["type"] == "StepStarted":
                started[place] = body["at"]
            elif place in started:
                latencies[place] = body["at"] - started.pop(place)
    return latencies


def _located(body: Body) -> tuple[str, Body]:
    """Return the innermost of nested events, and what the path of its step begins with."""
    prefix = ""
    while body["type"] == "NestedEvent":
        prefix += inner_prefix(body["step_id"], body.get("item"))
        body = body["event"]
    return prefix, body


def _without_items(step: str) -> str:
    """Return a step's path without its items.

    >>> _without_items("sub[3].classify")
    'sub.classify'
    """
    return _ITEM.sub(".", step) if "[" in step else step
