"""See and steer the runs of all processes of this host: `agentflow runs`, `agentflow stop`, `agentflow set`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agentflow.core.errors import InputError, JournalError
from agentflow.core.history import get_run, known_run
from agentflow.core.orders import check_setting
from agentflow.core.rows import ROWS_OF
from agentflow.core.run_filter import RunFilter
from agentflow.store.journal import SqliteJournal, journal
from agentflow.store.owner import this_process
from agentflow.utils.env import home_folder
from agentflow.views.format import plural
from agentflow.views.outputs import one_line
from agentflow.views.reproduce import finished_words, then_words
from agentflow.views.runs_text import runs_text
from agentflow.views.summary import so_far

SHOWN = 20  # runs of a table, where nobody says how many
WAIT_SECONDS = 10.0  # for a run to do what it was told, which it hears of within a second
_LOOK_SECONDS = 0.1

Record = Mapping[str, Any]


def list_runs(
    *,
    active: bool = False,
    workflow: Sequence[str] | None = None,
    status: Sequence[str] | None = None,
    since: str | None = None,
    limit: int | None = None,
    as_json: bool = False,
) -> str:
    """Return the runs of the store, newest first, as a table for this terminal or as JSON.

    Parameters
    ----------
    active : only those that go on; the other filters are those of `agentflow.runs()`.
    limit : default `SHOWN` in a table of runs that have ended too, else all.
    as_json : a list of objects with the columns of `agentflow.runs()`.

    Raises
    ------
    InputError
        A filter is none.
    JournalError
        The store cannot be read.
    """
    if active and status:
        raise InputError("Active runs have one status, running.", fix="Give either --active or --status.")
    wanted = RunFilter(workflow, ["running"] if active else status, since, limit)
    everything = _store().runs()
    records = wanted.of(everything)
    if as_json:
        return json.dumps(records, indent=2, default=_plain)
    if not records:
        return _nothing(has_runs=bool(everything), active=active)
    shown = records if limit or active else records[:SHOWN]
    now = datetime.now(UTC)
    text = runs_text(shown, width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None, now=now)
    left = len(records) - len(shown)
    return f"{text}\n… {plural(left, 'older run')}: --limit {len(records)} lists all" if left else text


def stop(run: str | None) -> tuple[str, int]:
    """Stop a run of any process on this host, as an interrupt of it does, and wait some seconds for its end.

    Parameters
    ----------
    run : its id, or `last` for the newest one; None stops all that go on.

    Returns
    -------
    text, exit code
        What was stopped and how to go on with it. The code is 1 where a run has not ended by then.

    Raises
    ------
    RunNotFoundError, InputError
        There is no such run; or it has ended, or is one of another host.
    JournalError
        The store cannot be written.
    """
    store = _store()
    if run is None:
        records = [record for record in store.runs() if record["status"] == "running" and _is_here(record)]
    else:
        records = [_running(run)]
    if not records:
        return "No run goes on on this host.", 0
    for record in records:
        try:
            store.order(record["run_id"], "stop")
        except InputError:  # it has ended meanwhile
            if run is not None:
                raise
    deadline = time.monotonic() + WAIT_SECONDS
    going_on = records
    while going_on and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        going_on = [record for record in going_on if store.is_running(record["run_id"])]
    now = {record["run_id"]: record for record in store.runs()}
    return "\n".join(_how_stopped(now[record["run_id"]]) for record in records), 1 if going_on else 0


def change(run: str, settings: Sequence[tuple[str, str]]) -> str:
    """Change settings of a run that goes on in any process of this host, and return what they are now.

    Parameters
    ----------
    run : as for `stop`.
    settings : names and values as text; `max_concurrency` is the most steps and items at the same time, as in
        `WorkflowConfig`, and for a run of a job over rows, the most rows of the job.

    Raises
    ------
    InputError
        A name or value cannot be set; the run has ended, is one of another host, or cannot do it.
    RunNotFoundError
        There is no such run.
    JournalError
        The store cannot be written, or the run does not answer.
    """
    values = [(name, _number(name, text)) for name, text in settings]
    store, record = _store(), _running(run)
    told = []
    for name, value in values:
        number = store.order(record["run_id"], name, value)
        refusal = _answer(store, record, number)
        if refusal:
            raise InputError(f"{name} of run {_name(record)} stays what it is, since {refusal}.")
        told.append(f"{name} of run {_name(record)} is {value} now.")
    return "\n".join(told)


def _answer(store: SqliteJournal, record: Record, number: int) -> str:
    """Wait until a run has taken an order, and return why it refuses, if it does."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        outcome = store.order_outcome(number)
        if outcome is not None:
            return outcome
        if not store.is_running(record["run_id"]):
            raise InputError(f"Run {_name(record)} has ended meanwhile.", fix=_LIST)
    raise JournalError(
        f"Run {_name(record)} has not answered for {WAIT_SECONDS:g} s.",
        fix="It may do so yet: a step may keep its event loop busy, or the store is locked.",
    )


def _store() -> SqliteJournal:
    store = journal()
    store.open()
    return store


_LIST = "`agentflow runs --active` lists those that go on."


def _running(run: str) -> Record:
    """Return the record of a run that can be told something."""
    record = known_run(run)
    if record["status"] != "running":
        raise InputError(f"Run {record['run_id']} has ended ({record['status']}).", fix=_LIST)
    if not _is_here(record):
        raise InputError(
            f"Run {record['run_id']} goes on on another host, {one_line(record['host'], 60)}.",
            fix="Give the command there.",
        )
    return record


def _is_here(record: Record) -> bool:
    return bool(record["host"] == this_process().host)


def _number(name: str, text: str) -> int:
    value: int | str = int(text) if text.isascii() and text.isdigit() else text
    check_setting(name, value)
    return int(value)


def _name(record: Record) -> str:
    return f"{record['run_id']} of {one_line(record['workflow'], 60)!r} (pid {record['pid']})"


def _how_stopped(record: Record) -> str:
    """Return what became of a run that was told to stop, and how to go on with it."""
    if record["status"] == "running":
        return (
            f"Run {_name(record)} was told to stop, but goes on after {WAIT_SECONDS:g} s: a step may keep its event "
            f"loop busy. It stops when that ends. `kill -9 {record['pid']}` ends its process; what is finished is kept."
        )
    if record["status"] != "interrupted":
        return f"Run {_name(record)} has ended by itself meanwhile ({record['status']})."
    result = get_run(record["run_id"])
    of_job = record["workflow"].startswith(ROWS_OF)
    then = "the same command goes on with the job over these rows." if of_job else then_words(result)
    return f"Stopped run {_name(record)}.\nKept: {finished_words(result)}.\n{so_far(result)}\nThen: {then}"


def _nothing(*, has_runs: bool, active: bool) -> str:
    if active:
        return "No run goes on."
    if has_runs:
        return "No run fits. `agentflow runs` without filters lists all."
    return f"No runs yet: each run of a workflow is kept in {home_folder()}, or where AGENTFLOW_HOME says."


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
