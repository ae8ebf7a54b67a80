"""The file itself: where it lies, who may read it, how it is opened, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agentflow.core.errors import JournalError
from agentflow.store.filesystem import is_on_shared
from agentflow.store.forks import using_sqlite
from agentflow.store.schema import migrate

BUSY_SECONDS = 5.0  # how long a lock of another process is waited for

_ELSEWHERE = "set AGENTFLOW_HOME to another folder, or WorkflowConfig(journal=False) to run without a journal."
# SQLite's primary result code -> what happened, what to do
_WORDS = {
    sqlite3.SQLITE_FULL: ("the disk is full", f"Free some space, {_ELSEWHERE}"),
    sqlite3.SQLITE_READONLY: ("it is read-only", f"Make the folder and the file writable, {_ELSEWHERE}"),
    sqlite3.SQLITE_PERM: ("its file may not be used", f"Make the folder and the file writable, {_ELSEWHERE}"),
    sqlite3.SQLITE_CANTOPEN: (
        "its file cannot be opened",
        f"Check that the folder is there and can be written, {_ELSEWHERE}",
    ),
    sqlite3.SQLITE_NOTADB: ("its file is no SQLite database", f"Move the file away, {_ELSEWHERE}"),
    sqlite3.SQLITE_CORRUPT: ("its file is damaged", f"Move the file away, {_ELSEWHERE}"),
    sqlite3.SQLITE_BUSY: (
        f"another process has locked it for more than {BUSY_SECONDS:g} s",
        f"End that process, {_ELSEWHERE}",
    ),
    sqlite3.SQLITE_IOERR: ("its disk reports an error", f"Check the disk, {_ELSEWHERE}"),
}


class Database:
    """One SQLite file, `agentflow.db` in a folder of its own.

    Parameters
    ----------
    folder : made where it is not there.
    shared : whether other machines use the folder's file system too, where a write-ahead log does not hold: a rollback
        journal then stands in its place. None finds out.
    """

    def __init__(self, folder: Path, *, shared: bool | None = None) -> None:
        self.folder = folder.expanduser().resolve()
        self.path = self.folder / "agentflow.db"
        self._shared = shared
        self.readers_never_wait = False  # known once it was opened

    def open(self) -> sqlite3.Connection:
        """Return a connection that writes; what is not there yet is made.

        Raises
        ------
        JournalError
            It cannot be opened or written.
        """
        try:
            with using_sqlite:
                self._make_folder()
                self._make_file()
                connection = self.connect()
                try:
                    self._set_up(connection)
                except BaseException:
                    connection.close()
                    raise
        except (OSError, sqlite3.Error) as error:
            raise self.problem(error) from error
        return connection

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of one's own.

        Raises
        ------
        JournalError
            The file cannot be read or written.
        """
        try:
            with using_sqlite, closing(self.connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise self.problem(error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees the state of one moment. Raises as `connected`."""
        with self.connected() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction while which nobody else writes. Raises as `connected`."""
        with self.connected() as connection, transaction(connection):
            yield connection

    def identity(self) -> tuple[int, int] | None:
        """Return what tells the file from another in its place; None where there is none."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - before each commit: twice as fast as Path.stat
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def problem(self, error: OSError | sqlite3.Error) -> JournalError:
        """Return what an error means, and what to do."""
        if isinstance(error, OSError):
            what = f"The journal's folder {self.folder} cannot be used: {error.strerror or error}."
            return JournalError(what, fix=_ELSEWHERE[0].upper() + _ELSEWHERE[1:])
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        words, fix = _WORDS.get(code, (str(error), f"Move the file away, {_ELSEWHERE}"))
        return JournalError(f"The journal {self.path} cannot be used: {words}.", fix=fix)

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(entry.name != ".gitignore" for entry in self.folder.iterdir()):
            return  # a folder that is in use, perhaps by others: its own rights and rules stay
        self.folder.chmod(0o700)
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")

    def _make_file(self) -> None:
        """Make the file for its owner only, before there is anything in it; SQLite gives its companions the same."""
        if os.name == "posix" and self.path.exists() and self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the file as it is; the caller closes it."""
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,  # those that insert some rows at once differ by how many
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # prompts and answers that are deleted are gone
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded by a new file only
        migrate(connection)
        shared = is_on_shared(self.path) if self._shared is None else self._shared
        _set_journal_mode(connection, "delete" if shared else "wal")
        self.readers_never_wait = not shared
        with transaction(connection):  # a file that can only be read is found now, not at the first commit
            pass


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done in the block, or undo it."""
    with using_sqlite:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _set_journal_mode(connection: sqlite3.Connection, mode: str) -> None:
    """Change the journal's mode. Others may be at it at the same time, and SQLite does not wait for them by itself."""
    if connection.execute("PRAGMA journal_mode").fetchone() == (mode,):
        return
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
