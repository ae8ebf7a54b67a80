"""The time that a step may take. It stands still while a call of the step waits for a quota."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from agentflow.core.errors import StepTimeoutError

if TYPE_CHECKING:
    from agentflow.core.events import StepScope

T = TypeVar("T")


class TimeLimit:
    """The limit of one step, which is waited for on one event loop. Any thread may pause it.

    Parameters
    ----------
    seconds : what the step may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left = seconds
        self._timer = asyncio.timeout(seconds)
        self._loop = asyncio.get_running_loop()
        self._pauses = 0
        self._is_over = False
        self._lock = threading.Lock()

    async def wait_for(self, run: Awaitable[T]) -> T:
        """Wait for the step.

        Raises
        ------
        StepTimeoutError
            The time is up. A `TimeoutError` of the step's own passes through as it is.
        """
        try:
            async with self._timer:
                return await run
        except TimeoutError as error:
            if not self._timer.expired():
                raise
            raise StepTimeoutError(
                f"It took longer than its {self._seconds:g} s.",
                fix="Raise timeout_seconds of the step, or make it shorter.",
            ) from error
        finally:
            self._is_over = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the time stand still meanwhile; calls that wait at the same time pause it once."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            before, self._pauses = self._pauses, self._pauses + change
        if (before == 0) != (before + change == 0) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._follow)

    def _follow(self) -> None:
        """Stop the timer, or let it go on with what was left."""
        if self._is_over or self._timer.expired():
            return
        due, now = self._timer.when(), self._loop.time()
        if self._pauses and due is not None:
            self._left = due - now
            self._timer.reschedule(None)
        elif not self._pauses and due is None:
            self._timer.reschedule(now + self._left)


def outward(scope: StepScope | None) -> Iterator[StepScope]:
    """Return a step, and those around it where it belongs to a workflow that is a step itself."""
    while scope is not None:
        yield scope
        scope = scope.run.parent


@contextmanager
def quota_wait(scope: StepScope) -> Iterator[None]:
    """Let the time limits of a step, and of those around it, stand still meanwhile."""
    with ExitStack() as paused:
        for around in outward(scope):
            if around.limit is not None:
                paused.enter_context(around.limit.paused())
        yield
