"""`SqliteCache` fills the AnswerCache port: answers that are given again, in the store's own file."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from agentflow.core.errors import JournalError
from agentflow.core.model import Reply, Request
from agentflow.store.cache_rows import Forgotten, Kept, Used
from agentflow.store.codec import dumps
from agentflow.store.database import Database
from agentflow.store.forks import using_sqlite
from agentflow.store.records import plain, read, utc_text
from agentflow.store.writer import Writer

_PROMPT_CHARS = 200  # of the prompt, for people who look at the list

_logger = logging.getLogger(__name__)


class _Reader(NamedTuple):
    """A connection that stays open, and what it belongs to: a process and a file."""

    belongs_to: tuple[int, tuple[int, int] | None]
    connection: sqlite3.Connection


class SqliteCache:
    """Answers by the key of their request and the place that was asked; see the port `AnswerCache`.

    Parameters
    ----------
    open_ : starts the writer where it does not run.
    """

    def __init__(self, open_: Callable[[], None], database: Database, writer: Writer) -> None:
        self._open = open_
        self._database = database
        self._writer = writer
        self.reset()

    def reset(self) -> None:
        """Forget the connection, as a forked child must: closing it would take its parent's locks."""
        self._reading = threading.Lock()
        self._reader: _Reader | None = None

    @property
    def is_quick(self) -> bool:
        """Whether reading waits for nobody, which is so where the file has a write-ahead log."""
        return self._database.readers_never_wait

    def find(self, key: str, place: str, request: Request) -> Reply | None:  # noqa: ARG002 - the port's
        """Return an answer that was kept; None also where the file cannot be read."""
        try:
            with self._reading, using_sqlite:
                row = self._connection().execute(_FIND, (key, place)).fetchone()
        except (sqlite3.Error, JournalError) as error:
            _logger.warning("The cache cannot be read, so the model is asked: %s", error)
            return None
        return None if row is None else read(Reply, json.loads(row[0]))

    def _connection(self) -> sqlite3.Connection:
        belongs_to = (os.getpid(), self._database.identity())
        if self._reader is None or self._reader.belongs_to != belongs_to:
            self._reader = _Reader(belongs_to, self._database.connect())
        return self._reader.connection

    def keep(self, place: str, request: Request, reply: Reply) -> None:
        """Keep an answer, in the place of an older one."""
        texts = request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt))
        self._writer.put((None, Kept(place, texts[:_PROMPT_CHARS], reply, dumps(plain(reply))), None))

    def wait_until_durable(self) -> bool:
        """Block until all that was kept before is durable, and return whether it is."""
        self._open()
        return self._writer.wait()

    def count_use(self, key: str, place: str) -> None:
        """Note that an answer was given again."""
        self._writer.put((None, Used(key, place), None))

    def forget(self, key: str) -> None:
        """Give an answer no more."""
        self._writer.put((None, Forgotten(key), None))


_FIND = "SELECT reply FROM cache WHERE key = ? AND place = ?"


def list_answers(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return a plain record for each kept answer, the one that was given last first."""
    rows = connection.execute(
        "SELECT key, model, place, prompt, at, used_at, length(reply), hits, bedrock_usd, run_id, step, item "
        "FROM cache ORDER BY used_at DESC"
    )
    return [_record(*row) for row in rows]


def _record(*row: Any) -> dict[str, Any]:
    key, model, place, prompt, at, used_at, size, hits, usd, run_id, step, item = row
    return {
        "key": key,
        "model": model,
        "place": place,
        "prompt": prompt,
        "kept_at": datetime.fromisoformat(at),
        "used_at": datetime.fromisoformat(used_at),
        "size_bytes": size,
        "hits": hits,
        "saved_usd": None if usd is None else hits * Decimal(usd),
        "run_id": run_id,
        "step": step,
        "item": item,
    }


def prune_answers(
    connection: sqlite3.Connection, *, unused_since: datetime | None = None, keys: Sequence[str] | None = None
) -> int:
    """Delete answers, and return how many.

    Parameters
    ----------
    unused_since, keys : those that were not given since, and those of these keys; both given, those that fit both.
    """
    values: Mapping[str, str | None] = {
        "since": None if unused_since is None else utc_text(unused_since),
        "keys": None if keys is None else dumps(list(keys)),
    }
    return connection.execute(
        "DELETE FROM cache WHERE (:since IS NULL OR used_at < :since) "
        "AND (:keys IS NULL OR key IN (SELECT value FROM json_each(:keys)))",
        values,
    ).rowcount
