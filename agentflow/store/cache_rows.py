"""What is written into the table of kept answers, together with the rows of the runs."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from agentflow.core.model import Reply
from agentflow.store.records import clean, utc_text


class Kept(NamedTuple):
    """An answer that is kept, in the place of an older one: where it was asked, how the prompt begins, its JSON."""

    place: str
    prompt: str
    reply: Reply
    json: str


class Used(NamedTuple):
    """An answer was given again."""

    key: str
    place: str


class Forgotten(NamedTuple):
    """An answer is given no more."""

    key: str


CacheEntry: TypeAlias = Kept | Used | Forgotten


class CacheRows:
    """What a batch does to the table; filled and written by the writer's thread."""

    def __init__(self) -> None:
        self._kept: dict[Used, tuple[Any, ...]] = {}
        self._used: Counter[Used] = Counter()
        self._forgotten: set[str] = set()

    def add(self, entry: CacheEntry) -> None:
        """Take an entry in."""
        match entry:
            case Kept(place, prompt, reply, json):
                self._forgotten.discard(reply.key)
                self._kept[Used(reply.key, place)] = _row(place, prompt, reply, json)
            case Used():
                self._used[entry] += 1
            case Forgotten(key):
                self._forgotten.add(key)
                self._kept = {place: row for place, row in self._kept.items() if place.key != key}

    def write(self, connection: sqlite3.Connection) -> int | None:
        """Write all of it, in the transaction that is open; return the new count of changes where there are any."""
        connection.executemany(_KEEP, self._kept.values())
        if self._used:
            now = utc_text(datetime.now(UTC))
            connection.executemany(_USE, [(hits, now, *used) for used, hits in self._used.items()])
        connection.executemany("DELETE FROM cache WHERE key = ?", [(key,) for key in self._forgotten])
        return count_change(connection) if self._kept or self._forgotten else None


def count_change(connection: sqlite3.Connection) -> int:
    """Say that the answers in the table are others now, and return the new count of changes."""
    [count] = connection.execute("UPDATE cache_changes SET count = count + 1 RETURNING count").fetchone()
    return int(count)


def _row(place: str, prompt: str, reply: Reply, json: str) -> tuple[Any, ...]:
    origin = reply.origin
    if origin is None:
        message = "An answer is kept with its origin."
        raise ValueError(message)
    at = utc_text(origin.at)
    usd = None if reply.bedrock_usd is None else str(reply.bedrock_usd)
    step = (origin.run_id, clean(origin.step), origin.item)
    return (reply.key, place, at, at, clean(reply.model), clean(prompt), *step, usd, json)


_KEEP = """INSERT INTO cache (key, place, at, used_at, model, prompt, run_id, step, item, bedrock_usd, reply, hits)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
    ON CONFLICT (key, place) DO UPDATE SET at = excluded.at, used_at = excluded.used_at, run_id = excluded.run_id,
    step = excluded.step, item = excluded.item, bedrock_usd = excluded.bedrock_usd, reply = excluded.reply"""
_USE = "UPDATE cache SET hits = hits + ?, used_at = ? WHERE key = ? AND place = ?"
