"""The one thread of a process that writes into the journal: it commits in groups what others put into its queue."""

from __future__ import annotations

import atexit
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentflow.core.errors import JournalError
from agentflow.core.journal import Encoded, RunRecord
from agentflow.store.batch import WHOLE, Batch, Closed, Joined, beat
from agentflow.store.database import Database, transaction
from agentflow.store.forks import never_close, using_sqlite
from agentflow.store.live import LiveRun
from agentflow.store.orders import LOOK_SECONDS, Inbox
from agentflow.store.records import clean

Entry: TypeAlias = tuple[LiveRun | None, Any, Encoded | None]  # what belongs to no run belongs to the cache
Chore: TypeAlias = Callable[[sqlite3.Connection], Iterator[None]]

GATHER_SECONDS = 0.05  # how long events wait for others to be committed with
RETRY_SECONDS = 1.0
EXIT_SECONDS = 10.0  # how long a process that ends waits for what is not written yet
_LARGEST = 2_000  # entries of a commit

# The data itself is refused, and would be again
_HOPELESS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, ValueError, TypeError, OverflowError)

_logger = logging.getLogger(__name__)


class Waiter:
    """Somebody who waits until all that was put before is durable; a patient one does so through failures."""

    def __init__(self, *, patient: bool) -> None:
        self.patient = patient
        self._durable = False
        self._done = threading.Lock()  # an Event takes five times as long, which counts where many wait at once
        self._done.acquire()

    def finish(self, *, durable: bool) -> None:
        """Let the one who waits go on. Once only."""
        self._durable = durable
        self._done.release()

    def wait(self, timeout_seconds: float | None) -> bool:
        """Block, and return whether it is durable."""
        return self._done.acquire(timeout=-1 if timeout_seconds is None else timeout_seconds) and self._durable


@dataclass(slots=True)
class _Group:
    """What is committed together, and who waits for it."""

    batch: Batch = field(default_factory=Batch)
    waiters: list[Waiter] = field(default_factory=list)

    def answer(self, *, durable: bool, patient: bool = True) -> None:
        """Let those who wait go on, also the patient ones or not."""
        waiting, self.waiters = self.waiters, []
        for waiter in waiting:
            if waiter.patient and not patient:
                self.waiters.append(waiter)
            else:
                waiter.finish(durable=durable)


class Writer:
    """The queue and its thread. What could not be written stays, and is tried again with all that follows.

    Parameters
    ----------
    heartbeat_seconds : how often the rows of runs that go on say that their process is alive.

    Attributes
    ----------
    on_cache_change : told the count of changes to the kept answers when some of them are written.
    """

    def __init__(self, database: Database, *, heartbeat_seconds: float) -> None:
        self._database = database
        self._heartbeat_seconds = heartbeat_seconds
        self.on_cache_change: Callable[[int], None] = lambda _count: None
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a forked child must: the thread is its parent's, and so is the connection."""
        if connection := getattr(self, "_connection", None):
            never_close(connection)
        self._thread: threading.Thread | None = None
        self._entries: deque[Entry | Waiter] = deque()
        self._something = threading.Event()  # there are entries
        self._urgent = threading.Event()  # somebody waits for them
        self._ended = threading.Event()
        self._ended.set()
        self._groups: deque[_Group] = deque()
        self._lives: dict[LiveRun, None] = {}  # an ordered set
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._chore: Iterator[None] | None = None
        self._beat_at = 0.0
        self._inbox = Inbox()
        self._look_at = 0.0  # for orders
        self._problem: JournalError | None = None  # why the last commit failed; tried again at `_retry_at`
        self._retry_at = 0.0
        self._stop_at: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread is there."""
        return not self._ended.is_set()

    def start(self, connection: sqlite3.Connection, chore: Chore | None = None) -> None:
        """Start the thread.

        Parameters
        ----------
        connection : for the thread alone.
        chore : done in small pieces, between commits.
        """
        self._connection, self._file = connection, self._database.identity()
        self._chore = chore(connection) if chore else None
        self._problem = self._stop_at = None
        self._ended.clear()
        self._thread = threading.Thread(target=self._serve, name="agentflow-journal", daemon=True)
        self._thread.start()
        atexit.register(self.stop, EXIT_SECONDS)

    def stop(self, timeout_seconds: float) -> None:
        """Write what there is, and end the thread, at the latest when the time is over."""
        atexit.unregister(self.stop)
        self._stop_at = time.monotonic() + timeout_seconds
        self.hurry()
        if self._thread:
            self._thread.join(timeout_seconds + RETRY_SECONDS)

    def put(self, entry: Entry) -> None:
        """Have something written soon. Never blocks."""
        self._entries.append(entry)
        if not self._something.is_set():
            self._something.set()

    def hurry(self) -> None:
        """Have what is in the queue written at once. Never blocks."""
        self._something.set()
        self._urgent.set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Block until everything that was put before is durable, and return whether it is.

        Parameters
        ----------
        timeout_seconds : failures are waited through for that long; None takes the first as the answer.
        """
        waiter = Waiter(patient=timeout_seconds is not None)
        self._entries.append(waiter)
        self.hurry()
        if self._ended.is_set():  # the thread may have ended before it saw this one
            timeout_seconds = 0.0
        return waiter.wait(timeout_seconds)

    def unwritten(self, run_id: str, step: str, item: int | None) -> Encoded | None:
        """Return an output that is not in the file, since that cannot be written."""
        place = (run_id, clean(step), WHOLE if item is None else item)
        for group in reversed(list(self._groups)):
            for *of, kind, data in reversed(group.batch.outputs):
                if tuple(of) == place:
                    return Encoded(kind, data)
        return None

    def _serve(self) -> None:
        try:
            while not self._is_over():
                self._pause()
                self._take_entries()
                self._write()
                self._beat()
                self._look_for_orders()
                self._do_chore()
        finally:
            self._ended.set()
            self._take_entries()
            for group in self._groups:
                group.answer(durable=False)
            if self._connection:
                self._connection.close()
                self._connection = None

    def _is_over(self) -> bool:
        if self._stop_at is None:
            return False
        return time.monotonic() > self._stop_at or not (self._entries or self._groups)

    def _pause(self) -> None:
        """Sleep until there is something to do."""
        now = time.monotonic()
        if self._problem is not None:
            self._urgent.wait(max(0.0, self._retry_at - now))
        else:
            if self._chore is None:
                until = min(self._beat_at, self._look_at)
                self._something.wait(max(0.0, until - now) if self._lives else None)
            if self._something.is_set():
                self._urgent.wait(GATHER_SECONDS)
        self._urgent.clear()
        self._something.clear()

    def _take_entries(self) -> None:
        """Make rows of what is in the queue."""
        for _ in range(len(self._entries)):
            entry = self._entries.popleft()
            if isinstance(entry, Waiter):
                if self._groups:
                    self._groups[-1].waiters.append(entry)
                else:
                    entry.finish(durable=True)
                continue
            live, what, encoded = entry
            if live is not None:
                self._note_begin_and_end(live, what)
            if not self._groups or self._groups[-1].batch.size >= _LARGEST:
                if self._groups:
                    self._groups[-1].batch.seal()
                self._groups.append(_Group())
            try:
                self._groups[-1].batch.add(live, what, encoded)
            except Exception as error:
                _logger.exception("An entry of run %s cannot be journalled", live and live.run_id)
                if live:
                    live.tell(f"A part of this run cannot be journalled: {type(error).__name__}: {error}.")

    def _note_begin_and_end(self, live: LiveRun, what: Any) -> None:
        if type(what) is RunRecord or type(what) is Joined:
            if not self._lives:
                now = time.monotonic()
                self._beat_at, self._look_at = now + self._heartbeat_seconds, now + LOOK_SECONDS
            self._lives[live] = None
        elif type(what) is Closed:
            self._lives.pop(live, None)

    def _write(self) -> None:
        if self._problem is not None and time.monotonic() < self._retry_at:
            self._give_up_waiting(self._problem)
            return
        self._problem = None
        while self._groups:
            batch = self._groups[0].batch
            try:
                lost = self._commit(batch.write)
            except JournalError as problem:
                self._fail(problem)
                return
            except _HOPELESS as error:
                _logger.exception("Rows that cannot be journalled")
                for live in batch.lives:
                    live.tell(f"A part of this run cannot be journalled: {type(error).__name__}: {error}.")
            else:
                for live in lost:
                    self._lose(live)
                if batch.cache_changes is not None:
                    self.on_cache_change(batch.cache_changes)
            self._groups.popleft().answer(durable=True)

    def _commit(self, write: Callable[[sqlite3.Connection], list[LiveRun]]) -> list[LiveRun]:
        """Write in a transaction; after a failure, and where somebody removed the file, through a new connection.

        Raises
        ------
        JournalError
            It could not be written.
        """
        if self._connection is None or self._database.identity() != self._file:
            self._open_again()
        assert self._connection is not None  # noqa: S101 - for mypy
        try:
            with transaction(self._connection):
                return write(self._connection)
        except _HOPELESS:
            raise
        except sqlite3.Error as error:
            self._connection.close()
            self._connection = None
            raise self._database.problem(error) from error

    def _open_again(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = self._chore = None
        self._inbox.forget()
        is_there = self._database.identity() == self._file  # asked before: a new file may get the old one's number
        self._connection = self._database.open()
        self._file = self._database.identity()
        if is_there:
            return
        anew = Batch()
        for live in self._concerned():
            live.tell(
                f"The journal {self._database.path} was removed while this run went on, so what it had of the run is "
                "lost. Let runs end before you remove it."
            )
            anew.begin(live)
        self._commit(anew.write)

    def _fail(self, problem: JournalError) -> None:
        self._problem, self._retry_at = problem, time.monotonic() + RETRY_SECONDS
        self._give_up_waiting(problem)

    def _give_up_waiting(self, problem: JournalError) -> None:
        """Let those go on that do not wait for a failure to pass, once their runs were told."""
        for live in self._concerned():  # before those who wait go on, and the run may end
            live.tell(f"{problem.what} Until it can, this run is kept in memory only. {problem.fix}")
        for group in self._groups:
            group.answer(durable=False, patient=False)

    def _concerned(self) -> dict[LiveRun, None]:
        """Return the runs that go on, or have something to be written."""
        concerned = dict(self._lives)
        for group in self._groups:
            concerned |= group.batch.lives
        return concerned

    def _lose(self, live: LiveRun) -> None:
        if live.is_lost or live.closed:
            return  # a late answer of a run that went on elsewhere, or was deleted
        live.is_lost = True
        self._lives.pop(live, None)
        live.tell(
            "This run was deleted from the journal, or another process took it over: no more events of it are kept. "
            "Use `await workflow.resume(...)` only where the process that runs it is gone."
        )

    def _beat(self) -> None:
        if not self._lives or time.monotonic() < self._beat_at or self._problem is not None:
            return
        self._beat_at = time.monotonic() + self._heartbeat_seconds
        try:
            self._commit(lambda connection: beat(connection, self._lives))
        except JournalError as problem:
            self._fail(problem)

    def _look_for_orders(self) -> None:
        if not self._lives or time.monotonic() < self._look_at or self._problem is not None or not self._connection:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        try:
            with using_sqlite:
                self._inbox.look(self._connection, self._lives)
        except sqlite3.Error as error:
            _logger.warning("%s", self._database.problem(error))

    def _do_chore(self) -> None:
        if self._chore is None:
            return
        try:
            next(self._chore)
        except StopIteration:
            self._chore = None
        except sqlite3.Error as error:
            self._chore = None
            _logger.warning("%s", self._database.problem(error))
