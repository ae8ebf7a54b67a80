"""How many rows of a job are at work at the same time, whichever of its runs they are of."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Gate:
    """Lets so many in at once. Like a semaphore, but how many may be changed meanwhile. For one event loop.

    Attributes
    ----------
    limit : how many.
    watchers : told of each new limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.watchers: list[Callable[[int], None]] = []
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._emptied: asyncio.Future[None] | None = None

    def change(self, limit: int) -> None:
        """Let another number in from now on; those who are inside stay."""
        self.limit = limit
        for watcher in self.watchers:
            watcher(limit)
        self._let_in()

    async def close(self, within_seconds: float) -> None:
        """Let nobody in any more, and wait until those who are inside have left, or the time is over."""
        self.limit = 0
        if self._inside:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=within_seconds)

    async def __aenter__(self) -> None:
        if self._inside < self.limit and not self._waiting:
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # the turn had come already: it goes to the next one
                await self.__aexit__()
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._inside -= 1
        self._let_in()
        if self._inside == 0 and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _let_in(self) -> None:
        while self._waiting and self._inside < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
