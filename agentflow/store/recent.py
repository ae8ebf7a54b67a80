"""The answers that this process kept or gave last, in memory: a lookup in the file takes ten times as long."""

from __future__ import annotations

import threading
from typing import NamedTuple

from agentflow.core.model import Reply

MOST_CHARS = 50_000_000


class _Entry(NamedTuple):
    place: str
    reply: Reply
    text: str


class RecentAnswers:
    """A part of the cache's table, which counts its changes: while nobody else changes it, this part is right.

    Replies are frozen, so that the same object may be given again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._chars = 0
        self._changes = -1

    def get(self, key: str, place: str) -> Reply | None:
        """Return an answer that is here."""
        entry = self._entries.get(key)
        return entry.reply if entry and entry.place == place else None

    def put(self, place: str, reply: Reply, text: str) -> None:
        """Keep an answer and its JSON; where there are too many, all others go."""
        with self._lock:
            if self._chars + len(text) > MOST_CHARS:
                self._clear()
            self._entries[reply.key] = _Entry(place, reply, text)
            self._chars += len(text)

    def forget(self, key: str) -> None:
        """Let go of the answers to a request."""
        with self._lock:
            self._entries.pop(key, None)

    def text_of(self, reply: Reply) -> str | None:
        """Return the JSON of a reply that was given from here."""
        entry = self._entries.get(reply.key)
        return entry.text if entry and entry.reply is reply else None

    def see_changes(self, changes: int, *, own: int = 0) -> None:
        """Take the table's count of changes in, of which some are this process's own; after those of others, let go."""
        with self._lock:
            if changes != self._changes + own:
                self._clear()
            self._changes = changes

    def _clear(self) -> None:
        self._entries = {}
        self._chars = 0
