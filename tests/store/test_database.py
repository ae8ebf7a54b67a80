"""The file: who may read it, how it is opened, and what is said where it cannot be."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentflow.core.errors import JournalError
from agentflow.store.database import Database
from tests.store.mounts import fill, make_read_only, small_disk


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def setting(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_only_its_owner_may_read_it_whatever_the_umask_says(home: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Database(home).open()) as connection:
            connection.execute("INSERT INTO parts VALUES ('h', '{}')")
            assert mode(home) == 0o700
            assert {path.name: mode(path) for path in home.glob("agentflow.db*")} == {
                "agentflow.db": 0o600,
                "agentflow.db-wal": 0o600,
                "agentflow.db-shm": 0o600,
            }
    finally:
        os.umask(before)
    assert (home / ".gitignore").read_text() == "*\n"


def test_a_file_that_others_could_read_is_closed_to_them(home: Path) -> None:
    Database(home).open().close()
    (home / "agentflow.db").chmod(0o644)
    Database(home).open().close()
    assert mode(home / "agentflow.db") == 0o600


def test_an_empty_folder_becomes_private_and_one_in_use_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("empty", "project"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "project" / "code.py").touch()
    for name in ("empty", "project"):
        Database(tmp_path / name).open().close()
    assert (mode(tmp_path / "empty"), (tmp_path / "empty" / ".gitignore").exists()) == (0o700, True)
    assert (mode(tmp_path / "project"), (tmp_path / "project" / ".gitignore").exists()) == (0o755, False)
    assert mode(tmp_path / "project" / "agentflow.db") == 0o600


@pytest.mark.parametrize(("shared", "journal_mode"), [(False, "wal"), (True, "delete")])
def test_it_is_opened_for_its_file_system(home: Path, shared: bool, journal_mode: str) -> None:
    Database(home, shared=not shared).open().close()  # it may have been on another one before
    with closing(Database(home, shared=shared).open()) as connection:
        assert setting(connection, "journal_mode") == journal_mode
        assert setting(connection, "synchronous") == 2  # FULL
        assert setting(connection, "auto_vacuum") == 2  # INCREMENTAL


def test_a_file_of_a_newer_version_is_refused(home: Path) -> None:
    with closing(Database(home).open()) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(JournalError, match="newer AgentFlow"):
        Database(home).open()


def test_a_file_in_place_of_the_folder(home: Path) -> None:
    home.write_text("not a folder")
    with pytest.raises(JournalError, match=r"folder .* cannot be used: File exists\. Set AGENTFLOW_HOME to"):
        Database(home).open()
    with pytest.raises(JournalError, match=r"cannot be used: Not a directory\. Set AGENTFLOW_HOME to"):
        Database(home / "below").open()


def test_a_folder_in_place_of_the_file(home: Path) -> None:
    (home / "agentflow.db").mkdir(parents=True)
    with pytest.raises(JournalError, match="cannot be used: Is a directory"):
        Database(home).open()


@pytest.mark.parametrize("content", [b"this is text, not a database\n" * 100, os.urandom(8192)])
def test_a_file_that_is_no_database(home: Path, content: bytes) -> None:
    home.mkdir()
    (home / "agentflow.db").write_bytes(content)
    with pytest.raises(JournalError, match=r"is no SQLite database\. Move the file away, set AGENTFLOW_HOME"):
        Database(home).open()
    assert (home / "agentflow.db").read_bytes() == content


def test_a_damaged_file(home: Path) -> None:
    with closing(Database(home).open()) as connection:
        setting(connection, "wal_checkpoint(TRUNCATE)")
    file = home / "agentflow.db"
    content = file.read_bytes()
    file.write_bytes(content[:100] + os.urandom(4000) + content[4100:])
    with pytest.raises(JournalError, match=r"its file is damaged\. Move the file away"):
        Database(home).open()


def test_a_file_that_another_process_locks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentflow.store.database.BUSY_SECONDS", 0.1)
    with closing(Database(home).open()) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"another process has locked it .* End that process"):
            Database(home).open()


def test_a_disk_that_can_only_be_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        with pytest.raises(JournalError, match=r"Read-only file system\. Set AGENTFLOW_HOME"):
            Database(disk / "home").open()


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_on_a_disk_that_can_only_be_read(tmp_path: Path, shared: bool) -> None:
    with small_disk(tmp_path / "disk") as disk:
        Database(disk / "home", shared=shared).open().close()
        make_read_only(disk)
        with pytest.raises(JournalError, match=r"Read-only file system|it is read-only"):
            Database(disk / "home", shared=shared).open()


@pytest.mark.parametrize("shared", [False, True])
def test_a_full_disk(tmp_path: Path, shared: bool) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(JournalError, match=r"No space left on device|the disk is full") as caught:
            Database(disk / "home", shared=shared).open()
        assert "WorkflowConfig(journal=False)" in caught.value.fix


@pytest.mark.parametrize("shared", [False, True])
def test_many_processes_open_a_new_file_at_the_same_time(home: Path, shared: bool) -> None:
    script = (
        "import sys; from pathlib import Path; from agentflow.store.database import Database; sys.stdin.readline();"
        f"Database(Path({str(home)!r}), shared={shared}).open().close()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in processes] == [""] * 6
    Database(home, shared=shared).open().close()
