"""How many workflows of this process run at the same time (`AGENTFLOW_MAX_ACTIVE_WORKFLOWS`)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque


class Admission:
    """Lets a number of runs in at once, on whatever event loops they are; the others wait for their turn, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, limit: int) -> None:
        """Wait until fewer than `limit` runs are active, and become one of them."""
        with self._lock:
            if self._active < limit and not self._waiting:
                self._active += 1
                return
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with self._lock:
                still_waiting = turn in self._waiting
                if still_waiting:
                    self._waiting.remove(turn)
            if not still_waiting:
                self.leave()  # the turn had come already: it goes to the next one
            raise

    def leave(self) -> None:
        """Give the place to the run that has waited longest."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                loop = turn.get_loop()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_take_turn, turn)
                    return
            self._active -= 1


def _take_turn(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


active_workflows = Admission()
