"""A process that is forked while its parent writes has a journal of its own that works."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from agentflow.core.model import Request
from agentflow.store.journal import SqliteJournal
from tests.store.runs import Recorded, reply


def _child(home: str) -> bool:
    journal = SqliteJournal(Path(home))
    journal.open()
    return Recorded(journal, "a").run.keep_answer("a", None, Request("?"), reply(key="child"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.soak
def test_a_child_that_is_forked_in_the_middle_of_writing_can_write(journal: SqliteJournal, home: Path) -> None:
    run = Recorded(journal, "a")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            run.run.keep_answer("a", None, Request("?"), reply(key="k"))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                assert pool.apply_async(_child, (str(home),)).get(timeout=30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
