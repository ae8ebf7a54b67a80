"""`SqliteJournal` fills the Journal port; `journal()` returns the one of this process."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakSet

from agentflow.core.errors import InputError, JournalError, ResumeError
from agentflow.core.journal import PastRun, PastWork, RunRecord
from agentflow.core.orders import check_order
from agentflow.core.places import Place
from agentflow.core.reuse import AnswerCache, CacheSource
from agentflow.store import history, orders, pruning, statistics
from agentflow.store.batch import Joined, renew
from agentflow.store.cache import SqliteCache, list_answers, prune_answers
from agentflow.store.cassette import open_cassette
from agentflow.store.database import Database, transaction
from agentflow.store.earlier import earlier_run_ids
from agentflow.store.live import LiveRun
from agentflow.store.owner import resident_bytes, this_process
from agentflow.store.records import utc_text
from agentflow.store.run import SqliteRun
from agentflow.store.writer import EXIT_SECONDS, RETRY_SECONDS, Writer
from agentflow.utils.env import home_folder, setting

HEARTBEAT_SECONDS = 5.0

_DAMAGE = (ValueError, KeyError, TypeError)  # what reading rows raises that are not as they were written


class SqliteJournal:
    """A journal in one SQLite file.

    Parameters
    ----------
    folder : where `agentflow.db` lies; made where it is not there.
    retention_days : runs that ended longer ago are deleted when the journal is opened; None keeps all.
    heartbeat_seconds : how often a run's row says that its process is alive.
    shared : as in `Database`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        retention_days: float | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        shared: bool | None = None,
    ) -> None:
        self._database = Database(folder, shared=shared)
        self._writer = Writer(self._database, heartbeat_seconds=heartbeat_seconds)
        self._retention_days = retention_days
        self._opening = threading.Lock()
        self.cache = SqliteCache(self.open, self._database, self._writer)
        _ALL.add(self)

    def open(self) -> None:
        """Open the journal where it is not open yet.

        Raises
        ------
        JournalError
            It cannot be opened.
        """
        with self._opening:
            if not self._writer.is_running:
                self._writer.start(self._database.open(), self._prune_old if self._retention_days is not None else None)

    @property
    def is_open(self) -> bool:
        """Whether the journal is open."""
        return self._writer.is_running

    def close(self, timeout_seconds: float = EXIT_SECONDS) -> None:
        """Write what there is and end the thread, as the end of the process does; `open` opens it again."""
        self._writer.stop(timeout_seconds)

    def begin(self, record: RunRecord, on_problem: Callable[[str], None]) -> SqliteRun:
        """Start the journal of a new run; see the port."""
        live = LiveRun(
            record.run_id, record.workflow, record.started_at, this_process(), on_problem, steps=len(record.step_ids)
        )
        self._writer.put((live, record, None))
        return SqliteRun(self.open, self._database, self._writer, self.cache, live)

    def claim(
        self, record: RunRecord, on_problem: Callable[[str], None], *, again: Collection[str] = ()
    ) -> tuple[PastRun, SqliteRun]:
        """Take over a run that has ended or whose process is gone; see the port.

        Raises
        ------
        RunNotFoundError
            There is no such run.
        ResumeError
            It is still running.
        JournalError
            The journal cannot be read or written.
        """
        run_id = record.run_id
        self._catch_up()
        owner = this_process()
        with self._database.changing() as connection:
            run = history.run_row(connection, run_id)
            if history.is_running(run):
                raise ResumeError(
                    f"Run {run_id!r} is still running, in process {run['pid']} on {run['host']}.",
                    fix=f"Wait for its end, or stop it: agentflow stop {run_id}.",
                )
            connection.execute(
                "UPDATE runs SET status = 'running', closed = 0, ended_at = NULL, duration_ms = NULL, error = NULL, "
                "pid = ?, process_started = ?, host = ?, heartbeat_at = ?, memory_bytes = ? WHERE run_id = ?",
                (owner.pid, owner.process_started, owner.host, utc_text(datetime.now(UTC)), resident_bytes(), run_id),
            )
            orders.forget_open(connection, run_id)
            past = self._read_run(connection, run_id)
            renew(connection, record, again)
            live = LiveRun(
                run_id, run["workflow"], past.result.started_at, owner, on_problem, steps=len(record.step_ids)
            )
            history.restore(connection, live, past.result)
        self._writer.put((live, Joined(), None))
        return past, SqliteRun(self.open, self._database, self._writer, self.cache, live)

    def workflow_of(self, run_id: str) -> str:
        """Return the name of the workflow that a run is of.

        Raises
        ------
        RunNotFoundError
            There is no such run.
        JournalError
            The journal cannot be read.
        """
        self._catch_up()
        with self._database.reading() as connection:
            return str(history.run_row(connection, run_id)["workflow"])

    def past_run(self, run_id: str) -> PastRun:
        """Return what is known of a run; see the port.

        Raises
        ------
        RunNotFoundError
            There is no such run.
        JournalError
            The journal cannot be read.
        """
        self._catch_up()
        with self._database.reading() as connection:
            return self._read_run(connection, run_id)

    def earlier_runs(self, run_id: str, places: Collection[Place]) -> Mapping[Place, PastRun]:
        """Return, for each place, the newest earlier run in which it ended well; see the port. Errors as `past_run`."""
        self._catch_up()
        with self._database.reading() as connection:
            found = earlier_run_ids(connection, run_id, places)
            runs = {earlier: self._read_run(connection, earlier) for earlier in set(found.values())}
        return {place: runs[earlier] for place, earlier in found.items()}

    def newest_run(self, workflow: str) -> PastRun | None:
        """Return the newest run of a workflow; None where there is none; see the port.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """
        if not self.is_open and self._database.identity() is None:
            return None
        self._catch_up()
        with self._database.reading() as connection:
            run_id = history.newest_run_id(connection, workflow)
            return None if run_id is None else self._read_run(connection, run_id)

    def requests(self, run_id: str, places: Collection[Place]) -> Mapping[Place, Sequence[Mapping[str, Any]]]:
        """Return, for some places of a run, the newest answered requests as JSON; see the port.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """
        self._catch_up()
        with self._database.reading() as connection:
            try:
                return history.requests(connection, run_id, places)
            except _DAMAGE as error:
                raise _damaged(f"run {run_id!r}", error) from error

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return a plain record for each run, newest first.

        Returns
        -------
        list of dict
            `run_id`, `workflow`, `status`, `started_at` (UTC), `duration_ms` (so far, for a run that goes on), `steps`,
            `finished_steps`, `attempts`, `input_tokens`, `output_tokens`, `cost_usd`, `bedrock_usd` (None where there
            was no answer, or a price is not known), `error`, `heartbeat_at`, `memory_mb`, `pid`, `host`.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """
        self._catch_up()
        with self._database.reading() as connection:
            return history.list_runs(connection)

    def past_work(self, workflow: str) -> PastWork:
        """Return what the newest runs of a workflow took; see the port. A journal that is not there is not made.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """
        if not self.is_open and self._database.identity() is None:
            return PastWork()
        self._catch_up()
        with self._database.reading() as connection:
            try:
                return statistics.past_work(connection, workflow)
            except _DAMAGE as error:
                raise _damaged(f"workflow {workflow!r}", error) from error

    def order(self, run_id: str, what: str, value: int | None = None) -> int:
        """Tell a run of another process of this host something, and return the number of the order.

        It takes a second or two until the run has taken it: see `order_outcome`.

        Raises
        ------
        InputError
            A run cannot be told that; or the run has ended, or is one of another host.
        RunNotFoundError
            There is no such run.
        JournalError
            The journal cannot be written.
        """
        check_order(what, value)
        self._catch_up()
        with self._database.changing() as connection:
            run = history.run_row(connection, run_id)
            if not history.is_running(run):
                raise InputError(f"Run {run_id!r} has ended.", fix="`agentflow runs --active` lists those that go on.")
            if run["host"] != this_process().host:
                raise InputError(f"Run {run_id!r} goes on on {run['host']}.", fix="Give the command there.")
            return orders.send(connection, run_id, what, value)

    def order_outcome(self, number: int) -> str | None:
        """Return why an order was refused, empty where it was done; None while its run has not taken it."""
        with self._database.reading() as connection:
            return orders.outcome(connection, number)

    def is_running(self, run_id: str) -> bool:
        """Return whether a run goes on, in whichever process; errors as for `past_run`."""
        with self._database.reading() as connection:
            return history.is_running(history.run_row(connection, run_id))

    def prune(self, *, older_than: datetime | None = None, run_ids: Sequence[str] | None = None) -> int:
        """Delete runs that are not running any more, with all that belongs to them, and return how many.

        Parameters
        ----------
        older_than : those that ended, or gave their last sign of life, before.
        run_ids : those of these ids. With both, those that fit both; with neither, none.

        Raises
        ------
        JournalError
            The journal cannot be written.
        """
        if older_than is None and run_ids is None:
            return 0
        self._catch_up()
        with self._database.changing() as connection:
            marked = pruning.mark(connection, older_than=older_than, run_ids=run_ids)
        with self._database.connected() as connection:
            for _ in pruning.sweep(connection):
                pass
        return marked

    def kept_answers(self) -> Sequence[Mapping[str, Any]]:
        """Return a plain record for each answer that is given again, the one that was given last first.

        Returns
        -------
        list of dict
            `key`, `model`, `place`, `prompt` (how it begins), `kept_at`, `used_at` (UTC), `size_bytes`, `hits`,
            `saved_usd` (None where the price is not known), `run_id`, `step`, `item` (which paid for it).

        Raises
        ------
        JournalError
            The store cannot be read.
        """
        self._catch_up()
        with self._database.reading() as connection:
            return list_answers(connection)

    def prune_answers(self, *, unused_for: timedelta | None = None, keys: Sequence[str] | None = None) -> int:
        """Delete answers that are given again, and return how many; parameters as in `cache.prune_answers`.

        Raises
        ------
        JournalError
            The store cannot be written.
        """
        self._catch_up()
        with self._database.changing() as connection:
            return prune_answers(connection, unused_for=unused_for, keys=keys)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was written is durable, and return whether it is."""
        return self._writer.wait(timeout_seconds) if self.is_open else True

    def _catch_up(self) -> None:
        """Open the journal, and have what this process wrote so far in the file, unless that cannot be written."""
        self.open()
        if not self._writer.wait():
            self._writer.wait(2 * RETRY_SECONDS)  # what failed before may pass when it is tried again

    def _read_run(self, connection: sqlite3.Connection, run_id: str) -> PastRun:
        def read_later(step: str, item: int | None) -> Any:
            with self._database.reading() as later:
                return history.output(later, run_id, step, item)

        try:
            return history.past_run(connection, run_id, read_later)
        except _DAMAGE as error:
            raise _damaged(f"run {run_id!r}", error) from error

    def _prune_old(self, connection: sqlite3.Connection) -> Iterator[None]:
        retained = timedelta(days=self._retention_days or 0)
        with transaction(connection):
            pruning.mark(connection, older_than=datetime.now(UTC) - retained)
            prune_answers(connection, unused_for=retained)
        yield from pruning.sweep(connection)

    def _after_fork(self) -> None:
        self._opening = threading.Lock()
        self._writer.reset()
        self.cache.reset()


def _damaged(what: str, error: Exception) -> JournalError:
    return JournalError(
        f"What the journal has of {what} is damaged: {type(error).__name__}: {error}.", fix="Run the workflow again."
    )


def journal() -> SqliteJournal:
    """Return this process's journal, in the folder that `AGENTFLOW_HOME` says. It is not opened yet.

    Raises
    ------
    SettingError
        `AGENTFLOW_RETENTION_DAYS` is not a number.
    """
    folder = home_folder()
    retention = setting("AGENTFLOW_RETENTION_DAYS")
    days = None if retention.value is None else retention.number(at_least=0)
    return _OF_FOLDER.get(folder) or _OF_FOLDER.setdefault(folder, SqliteJournal(folder, retention_days=days))


def answer_cache(source: CacheSource) -> AnswerCache:
    """Return the cache that `WorkflowConfig(cache=...)` means, opened. Blocks.

    Raises
    ------
    JournalError
        The store cannot be opened.
    CassetteError
        The file cannot be used.
    """
    if isinstance(source, str):
        return open_cassette(source)
    store = journal()
    store.open()
    store.cache.refresh()
    return store.cache


_ALL: WeakSet[SqliteJournal] = WeakSet()
_OF_FOLDER: dict[Path, SqliteJournal] = {}


def _after_fork() -> None:
    for each in list(_ALL):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
