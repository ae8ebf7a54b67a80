"""`SqliteCache` fills the AnswerCache port: answers that are given again, in the store's own file."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agentflow.core.content import Block, CachePoint, ToolResult
from agentflow.core.errors import JournalError
from agentflow.core.model import Reply, Request
from agentflow.store.cache_rows import Forgotten, Kept, Used, count_change
from agentflow.store.codec import dumps
from agentflow.store.database import Database
from agentflow.store.forks import never_close, using_sqlite
from agentflow.store.recent import RecentAnswers
from agentflow.store.records import plain, read, utc_text
from agentflow.store.writer import Writer

_PROMPT_CHARS = 200  # of the prompt, for people who look at the list

_logger = logging.getLogger(__name__)


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
        writer.on_cache_change = lambda changes: self._recent.see_changes(changes, own=1)
        self.reset()

    def reset(self) -> None:
        """Forget the connection, as a forked child must: closing it would take its parent's locks."""
        if connection := getattr(self, "_connection", None):
            never_close(connection)
        self._reading = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._recent = RecentAnswers()
        self._forgotten: set[str] = set()  # also before the file says so

    @property
    def is_quick(self) -> bool:
        """Whether reading waits for nobody, which is so where the file has a write-ahead log."""
        return self._database.readers_never_wait

    def find(self, key: str, place: str, request: Request) -> Reply | None:  # noqa: ARG002 - the port's
        """Return an answer that was kept; None also where the file cannot be read."""
        if key in self._forgotten:
            return None
        if recent := self._recent.get(key, place):
            return read(Reply, json.loads(recent))
        row = self._read(_FIND, key, place)
        if row is None:
            return None
        reply = read(Reply, json.loads(row[0]))
        self._recent.put(place, reply, row[0])
        return reply

    def _read(self, statement: str, *values: str) -> Any:
        """Return a row; None where there is none, and where the file cannot be read."""
        try:
            with self._reading, using_sqlite:
                if self._connection is None:
                    self._connection = self._database.connect()
                return self._connection.execute(statement, values).fetchone()
        except (sqlite3.Error, JournalError) as error:
            _logger.warning("The cache cannot be read, so the model is asked: %s", error)
            return None

    def refresh(self) -> None:
        """Look whether the file is still the same one, and whether others have changed it. Blocks."""
        if self._file != (file := self._database.identity()):
            with self._reading:
                self._file, self._connection = file, None
        counted = self._read("SELECT count FROM cache_changes")
        self._recent.see_changes(counted[0] if counted else -1)

    def keep(self, place: str, request: Request, reply: Reply) -> None:
        """Keep an answer, in the place of an older one."""
        self._forgotten.discard(reply.key)
        texts = request.prompt if isinstance(request.prompt, str) else " ".join(map(_shown, request.prompt))
        text = dumps(plain(reply))
        self._recent.put(place, reply, text)
        self._writer.put((None, Kept(place, texts[:_PROMPT_CHARS], reply, text), None))

    def text_of(self, reply: Reply) -> str:
        """Return the JSON of a reply."""
        return self._recent.text_of(reply) or dumps(plain(reply))

    def wait_until_durable(self) -> bool:
        """Block until all that was kept before is durable, and return whether it is."""
        self._open()
        return self._writer.wait()

    def count_use(self, key: str, place: str) -> None:
        """Note that an answer was given again."""
        self._writer.put((None, Used(key, place), None))

    def forget(self, key: str) -> None:
        """Give an answer no more."""
        self._forgotten.add(key)
        self._recent.forget(key)
        self._writer.put((None, Forgotten(key), None))


_FIND = "SELECT reply FROM cache WHERE key = ? AND place = ?"


def _shown(block: Block) -> str:
    """Return a block of a prompt for people who look for it."""
    if isinstance(block, ToolResult):
        return block.text
    return "" if isinstance(block, CachePoint) else str(block)


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
    connection: sqlite3.Connection, *, unused_for: timedelta | None = None, keys: Sequence[str] | None = None
) -> int:
    """Delete answers, and return how many.

    Parameters
    ----------
    unused_for, keys : those that were not given for so long, and those of these keys; with both, those that fit both.
    """
    values: Mapping[str, str | None] = {
        "since": None if unused_for is None else utc_text(datetime.now(UTC) - unused_for),
        "keys": None if keys is None else dumps(list(keys)),
    }
    deleted = connection.execute(
        "DELETE FROM cache WHERE (:since IS NULL OR used_at < :since) "
        "AND (:keys IS NULL OR key IN (SELECT value FROM json_each(:keys)))",
        values,
    ).rowcount
    if deleted:
        count_change(connection)
    return deleted
