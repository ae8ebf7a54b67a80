"""Answers that are given again: the AnswerCache port, and how one run uses it. `store/` fills the port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, cast

from agentflow.core import ports
from agentflow.core.model import Origin, Reply, Request
from agentflow.utils.threads import function_pool

CacheSource = bool | str  # what `WorkflowConfig(cache=...)` takes


class AnswerCache(Protocol):
    """Where answers are kept, by the key of their request and the place that was asked.

    The place counts because the local endpoint is no Bedrock. All but `is_quick` may block where that is false.
    """

    @property
    def is_quick(self) -> bool:
        """Whether `find` takes microseconds and never waits, so that an event loop may call it."""

    def find(self, key: str, place: str, request: Request) -> Reply | None:
        """Return an answer that was kept, with its origin; a fresh object each time.

        Raises
        ------
        CassetteError
            There is none, and nothing else may answer.
        """

    def keep(self, place: str, request: Request, reply: Reply) -> None:
        """Keep an answer, in the place of an older one; durable after the next `wait_until_durable`."""

    def wait_until_durable(self) -> bool:
        """Block until all that was kept before is durable, and return whether it is."""

    def count_use(self, key: str, place: str) -> None:
        """Note that an answer was given again. Never blocks."""

    def forget(self, key: str) -> None:
        """Give an answer no more. Never blocks."""


_lock = threading.Lock()
_on_their_way: dict[tuple[AnswerCache, str, str], Future[None]] = {}


class Reuse:
    """How the answers of one run are found and kept.

    Parameters
    ----------
    fresh : ask for every answer, and keep it in the place of the older one.
    """

    def __init__(self, cache: AnswerCache, *, fresh: bool) -> None:
        self._cache = cache
        self._fresh = fresh

    async def answer(self, key: str, place: str, request: Request, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return an answer that was kept, or ask for one; of equal requests at the same time one is sent.

        Raises
        ------
        CassetteError
            There is no such answer, and nothing may be sent.
        """
        if self._fresh:
            return await ask()
        while True:
            if kept := await self._find(key, place, request):
                self._cache.count_use(key, place)
                return kept
            flight = (self._cache, key, place)
            with _lock:
                other = _on_their_way.get(flight)
                if other is None:
                    mine = _on_their_way[flight] = Future()
                    break
            await asyncio.shield(asyncio.wrap_future(other))
        try:
            return await ask()
        finally:
            with _lock:
                del _on_their_way[flight]
            mine.set_result(None)  # the others look into the cache again, and ask where nothing was answered

    async def _find(self, key: str, place: str, request: Request) -> Reply | None:
        if self._cache.is_quick:
            return self._cache.find(key, place, request)
        return await function_pool().run(partial(self._cache.find, key, place, request))

    def keep(self, origin: tuple[str, str, int | None], place: str, request: Request, reply: Reply) -> None:
        """Keep an answer of a run, a step and an item."""
        kept = replace(
            reply, origin=Origin(*origin, datetime.now(UTC)), attempts=(), queue_ms=0.0, retry_wait_ms=0.0, ttft_ms=None
        )
        self._cache.keep(place, request, kept)

    def wait_until_durable(self) -> bool:
        """Block until all that was kept before is durable, and return whether it is."""
        return self._cache.wait_until_durable()

    def forget(self, reply: Reply) -> None:
        """Give an answer no more."""
        self._cache.forget(reply.key)


def opened_cache(source: CacheSource) -> AnswerCache:
    """Return a cache, opened. Blocks.

    Parameters
    ----------
    source : True for the store's own cache, a path for a file of recorded answers, ``replay:PATH`` for one that
        answers everything.

    Raises
    ------
    JournalError, CassetteError
        It cannot be opened.
    """
    return cast("AnswerCache", ports.load("answer_cache")(source))


async def open_reuse(source: CacheSource, *, fresh: bool) -> Reuse | None:
    """Return how a run finds and keeps answers, None where it does not; parameters and errors as for `opened_cache`."""
    return Reuse(await function_pool().run(partial(opened_cache, source)), fresh=fresh) if source else None
