"""Reading the journal: the list of runs, one run with all that is known of it, one output."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from agentflow.core.errors import JournalError, RunNotFoundError
from agentflow.core.journal import PastRun
from agentflow.core.model import Reply
from agentflow.core.outputs import NotKept, Outputs, Stored, gathered
from agentflow.core.places import Place
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.store.batch import WHOLE
from agentflow.store.codec import ITEMS, JSON, NOT_KEPT, decode
from agentflow.store.fold import fold
from agentflow.store.live import LiveRun
from agentflow.store.owner import Owner
from agentflow.store.parts import read_parts
from agentflow.store.records import bodies_of, clean, past_error, read

LARGE_OUTPUT_BYTES = 1_000_000  # a longer output of a past run is read when somebody asks for it
DELETED = "deleted"  # the status of a run whose rows are about to be deleted

Row = Mapping[str, Any]


def run_rows(connection: sqlite3.Connection, run_id: str | None = None) -> list[Row]:
    """Return the rows of all runs, newest first, or of one."""
    return list(_rows(connection, f"SELECT * FROM runs WHERE status <> '{DELETED}' {_WHICH}", (run_id, run_id)))  # noqa: S608


_WHICH = "AND (? IS NULL OR run_id = ?) ORDER BY started_at DESC, rowid DESC"


def is_running(run: Row) -> bool:
    """Return whether a run goes on: it has no end, and its process is alive."""
    return run["status"] == "running" and not run["closed"] and _owner(run).is_alive(_moment(run["heartbeat_at"]))


def _owner(run: Row) -> Owner:
    return Owner(run["pid"], run["process_started"], run["host"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _rows(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> Iterator[Row]:
    cursor = connection.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)


class _ExactSum:
    """Adds up dollars that are kept as text; one unknown amount makes the sum unknown."""

    def __init__(self) -> None:
        self._total: Decimal | None = Decimal(0)

    def step(self, amount: str | None) -> None:
        """Take one amount in."""
        if self._total is not None:
            self._total = None if amount is None else self._total + Decimal(amount)

    def finalize(self) -> str | None:
        """Return the sum."""
        return None if self._total is None else str(self._total)


_BILL = """SELECT run_id, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    exact_sum(cost_usd) AS cost_usd, exact_sum(bedrock_usd) AS bedrock_usd FROM answers GROUP BY run_id"""
_NO_BILL: Row = dict.fromkeys(("input_tokens", "output_tokens", "cost_usd", "bedrock_usd"))


def list_runs(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return a plain record for each run, newest first."""
    connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]  # typeshed wants numbers
    bills = {bill["run_id"]: bill for bill in _rows(connection, _BILL, ())}
    return [_record(run, bills.get(run["run_id"], _NO_BILL)) for run in run_rows(connection)]


def _record(run: Row, bill: Row) -> dict[str, Any]:
    error = past_error(run["error"] and json.loads(run["error"]))
    return {
        "run_id": run["run_id"],
        "workflow": run["workflow"],
        "status": _status(run),
        "started_at": _moment(run["started_at"]),
        "duration_ms": _duration_ms(run),
        "steps": run["steps"],
        "finished_steps": run["finished_steps"],
        "attempts": run["attempts"],
        "input_tokens": bill["input_tokens"],
        "output_tokens": bill["output_tokens"],
        "cost_usd": bill["cost_usd"] and Decimal(bill["cost_usd"]),
        "bedrock_usd": bill["bedrock_usd"] and Decimal(bill["bedrock_usd"]),
        "error": str(error) if error else None,
        "heartbeat_at": _moment(run["heartbeat_at"]),
        "memory_mb": run["memory_bytes"] / 1_000_000,
        "pid": run["pid"],
        "host": run["host"],
    }


def _status(run: Row) -> str:
    return "interrupted" if run["status"] == "running" and not is_running(run) else str(run["status"])


def _duration_ms(run: Row) -> float:
    if run["duration_ms"] is not None:
        return float(run["duration_ms"])
    return (_moment(run["heartbeat_at"]) - _moment(run["started_at"])).total_seconds() * 1000


def past_run(connection: sqlite3.Connection, run_id: str, read_later: Callable[[str, int | None], Any]) -> PastRun:
    """Return what is known of a run.

    Parameters
    ----------
    read_later : reads a large output, given the path of its step and its item.

    Raises
    ------
    RunNotFoundError
        There is no such run.
    """
    run = run_row(connection, run_id)
    [record] = _rows(connection, "SELECT * FROM records WHERE run_id = ?", (run_id,))
    result = RunResult(run_id, run["workflow"], started_at=_moment(run["started_at"]), outputs=Outputs())
    result.rows = {step_id: StepRow(step_id) for step_id in json.loads(record["step_ids"])}
    result.warnings, result.fingerprints = json.loads(run["warnings"]), json.loads(record["fingerprints"])
    answers = _answers(connection, run_id)
    rows = connection.execute("SELECT body FROM events WHERE run_id = ? ORDER BY sequence", (run_id,))
    bodies = chain.from_iterable(bodies_of(text) for [text] in rows)
    fold(result, bodies, _outputs(connection, run_id, read_later), answers)
    if run["status"] == "running":
        result.duration_ms = _duration_ms(run)
        if not is_running(run):
            result.status = "interrupted"
            result.warnings.append(_gone(run))
    past = PastRun(result, {}, json.loads(record["inputs_not_kept"]), dict(result.fingerprints))
    past.definition, past.answers = record["definition"], answers
    past.is_gone = run["status"] == "running" and result.status == "interrupted"
    if parts := _parts_row(connection, run_id):
        past.parts = read_parts(parts[1])
    for name, data in json.loads(record["inputs"]).items():
        try:
            past.inputs[name] = decode(JSON, data)
        except JournalError as error:
            past.inputs_not_kept[name] = error.what
    return past


def newest_run_id(connection: sqlite3.Connection, workflow: str) -> str | None:
    """Return the id of the newest run of a workflow; None where there is none."""
    row = connection.execute(
        "SELECT run_id FROM runs WHERE workflow = ? AND status <> ? ORDER BY started_at DESC LIMIT 1",
        (clean(workflow), DELETED),
    ).fetchone()
    return None if row is None else str(row[0])


_MOST_REQUESTS = 5  # of one place
_REQUESTS = f"""SELECT request FROM answers WHERE run_id = ? AND step = ? AND item = ?
    ORDER BY id DESC LIMIT {_MOST_REQUESTS}"""  # noqa: S608 - a number of this file


def requests(
    connection: sqlite3.Connection, run_id: str, places: Collection[Place]
) -> dict[Place, list[Mapping[str, Any]]]:
    """Return, for some places of a run, the newest answered requests as JSON, in their order."""
    found = {}
    for step, item in places:
        rows = connection.execute(_REQUESTS, (run_id, clean(step), WHOLE if item is None else item)).fetchall()
        if rows:
            found[step, item] = [json.loads(text) for [text] in reversed(rows)]
    return found


def _parts_row(connection: sqlite3.Connection, run_id: str) -> tuple[str, str] | None:
    statement = "SELECT hash, body FROM parts WHERE hash = (SELECT parts FROM records WHERE run_id = ?)"
    row: tuple[str, str] | None = connection.execute(statement, (run_id,)).fetchone()
    return row


def run_row(connection: sqlite3.Connection, run_id: str) -> Row:
    """Return the row of one run.

    Raises
    ------
    RunNotFoundError
        There is no such run.
    """
    for run in run_rows(connection, run_id):
        return run
    raise RunNotFoundError(
        f"The journal has no run {run_id!r}.",
        fix="`agentflow.runs()` lists those it has; AGENTFLOW_HOME says which journal it is.",
    )


def restore(connection: sqlite3.Connection, live: LiveRun, result: RunResult) -> None:
    """Bring a run that goes on in this process to the state that the journal has."""
    [record] = connection.execute(
        "SELECT run_id, step_ids, inputs, inputs_not_kept, fingerprints, definition, parts FROM records "
        "WHERE run_id = ?",
        (live.run_id,),
    )
    [last] = connection.execute("SELECT max(sequence) FROM events WHERE run_id = ?", (live.run_id,)).fetchone()
    live.record, live.parts = record, _parts_row(connection, live.run_id)
    live.sequence = 0 if last is None else last + 1
    live.warnings = list(result.warnings)
    live.finished = {step_id for step_id, row in result.rows.items() if row.status is StepStatus.OK}
    live.attempts = result.attempts


def _gone(run: Row) -> str:
    ended = "left it without an end" if run["closed"] else "is gone without having ended it"
    who = f"The process that ran it (pid {run['pid']} on {run['host']}) {ended}"
    return f"{who}: `await workflow.resume({run['run_id']!r})` goes on."


def _answers(connection: sqlite3.Connection, run_id: str) -> dict[Place, list[tuple[str, Reply]]]:
    answers: defaultdict[Place, list[tuple[str, Reply]]] = defaultdict(list)
    rows = connection.execute("SELECT step, item, key, reply FROM answers WHERE run_id = ? ORDER BY id", (run_id,))
    for step, item, key, reply in rows:
        answers[step, _item(item)].append((key, read(Reply, json.loads(reply))))
    return dict(answers)


def _item(kept: int) -> int | None:
    return None if kept == WHOLE else kept


def _outputs(
    connection: sqlite3.Connection, run_id: str, read_later: Callable[[str, int | None], Any]
) -> dict[Place, Any]:
    """Return all outputs; large ones as the way to read them."""
    outputs: dict[Place, Any] = {}
    mapped: dict[str, int] = {}
    rows = connection.execute(
        "SELECT step, item, kind, length(data), CASE WHEN length(data) <= ? THEN data END FROM outputs "
        "WHERE run_id = ?",
        (LARGE_OUTPUT_BYTES, run_id),
    )
    for step, item, kind, length, data in rows:
        place = step, _item(item)
        if kind == ITEMS:
            mapped[step] = int(data)
        elif data is None:
            outputs[place] = Stored(lambda place=place: read_later(*place), length)  # type: ignore[misc]
        else:
            outputs[place] = _shown(kind, data)
    for step, items in mapped.items():
        outputs[step, None] = gathered(outputs.get((step, item)) for item in range(items))
    return outputs


def value(kind: str, data: str | bytes) -> Any:
    """Return an output.

    Raises
    ------
    JournalError
        It was not kept, or cannot be read.
    """
    if kind == NOT_KEPT:
        raise JournalError(f"An output was not kept: {data!s}.", fix="Run the step again.")
    return decode(kind, data)


def _shown(kind: str, data: str | bytes) -> Any:
    """Return an output, or in its place why there is none: one of them must not hide a whole run."""
    if kind == NOT_KEPT:
        return NotKept(str(data))
    try:
        return decode(kind, data)
    except JournalError as error:
        return NotKept(error.what)


def output(connection: sqlite3.Connection, run_id: str, step: str, item: int | None) -> Any:
    """Return one output.

    Raises
    ------
    JournalError
        The journal does not have it, or it cannot be read.
    """
    found = connection.execute(
        "SELECT kind, data FROM outputs WHERE run_id = ? AND step = ? AND item = ?",
        (run_id, clean(step), WHOLE if item is None else item),
    ).fetchone()
    where = f"step {step!r}" if item is None else f"item {item} of step {step!r}"
    if found is None:
        raise JournalError(f"The journal has no output of {where} of run {run_id!r}.", fix="Run the step again.")
    kind, data = found
    if kind != ITEMS:
        return value(kind, data)
    rows = connection.execute(
        "SELECT item, kind, data FROM outputs WHERE run_id = ? AND step = ? AND item >= 0", (run_id, clean(step))
    )
    items = {item: _shown(kind, data) for item, kind, data in rows}
    return [items.get(position) for position in range(int(data))]
