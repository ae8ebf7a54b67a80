"""The answers that this process kept or gave last, in memory: a lookup in the file takes ten times as long."""

from __future__ import annotations

import threading
from typing import NamedTuple

from agentflow.core.model import Origin, Reply

MOST_CHARS = 50_000_000


class _Entry(NamedTuple):
    place: str
    origin: Origin | None
    text: str


class RecentAnswers:
    """A part of the cache's table, which counts its changes: while nobody else changes it, this part is right."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._chars = 0
        self._changes = -1

    def get(self, key: str, place: str) -> str | None:
        """Return the JSON of an answer that is here: what is made of it is the caller's own."""
        entry = self._entries.get(key)
        return entry.text if entry and entry.place == place else None

    def put(self, place: str, reply: Reply, text: str) -> None:
        """Keep an answer and its JSON; where there are too many, all others go."""
        with self._lock:
            if self._chars + len(text) > MOST_CHARS:
                self._clear()
            self._drop(reply.key)
            self._entries[reply.key] = _Entry(place, reply.origin, text)
            self._chars += len(text)

    def forget(self, key: str) -> None:
        """Let go of the answers to a request."""
        with self._lock:
            self._drop(key)

    def text_of(self, reply: Reply) -> str | None:
        """Return the JSON of a reply that was given from here."""
        entry = self._entries.get(reply.key)
        return entry.text if entry and entry.origin == reply.origin else None

    def see_changes(self, changes: int, *, own: int = 0) -> None:
        """Take the table's count of changes in, of which some are this process's own; after those of others, let go."""
        with self._lock:
            if changes != self._changes + own:
                self._clear()
            self._changes = changes

    def _drop(self, key: str) -> None:
        if entry := self._entries.pop(key, None):
            self._chars -= len(entry.text)

    def _clear(self) -> None:
        self._entries = {}
        self._chars = 0
