"""A journal of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentflow.store.journal import SqliteJournal
from tests.store.runs import open_journal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def journal(home: Path) -> Iterator[SqliteJournal]:
    opened = open_journal(home)
    yield opened
    opened.close()
