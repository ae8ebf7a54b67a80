"""No fork while SQLite is at work.

SQLite keeps what its process has locked in the process' memory. A child that is forked in the middle of a transaction
would believe for ever that the file is locked, though nobody in it can unlock it: so a fork waits for the transaction.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from types import TracebackType

LONGEST_WAIT_SECONDS = 10.0  # a fork that has waited for so long goes on


class _Activity:
    """A context in which a thread uses SQLite; it may be entered again by the same thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child has to: it has none of the threads."""
        self._changed = threading.Condition()
        self._active = 0
        self._fork_is_waiting = False
        self._thread = threading.local()

    def __enter__(self) -> None:
        depth = getattr(self._thread, "depth", 0)
        self._thread.depth = depth + 1
        if depth:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._fork_is_waiting, LONGEST_WAIT_SECONDS)
            self._active += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.depth -= 1
        if self._thread.depth:
            return
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no thread uses SQLite, and let none begin."""
        own = 1 if getattr(self._thread, "depth", 0) else 0
        with self._changed:
            self._fork_is_waiting = True
            self._changed.wait_for(lambda: self._active <= own, LONGEST_WAIT_SECONDS)

    def after_fork(self) -> None:
        """Let the threads of the parent go on."""
        with self._changed:
            self._fork_is_waiting = False
            self._changed.notify_all()


_of_parent: list[sqlite3.Connection] = []


def never_close(connection: sqlite3.Connection) -> None:
    """Keep a connection of the parent process: at its end, SQLite would take the parent's locks for this process's."""
    _of_parent.append(connection)


using_sqlite = _Activity()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=using_sqlite.before_fork, after_in_parent=using_sqlite.after_fork, after_in_child=using_sqlite.reset
    )
