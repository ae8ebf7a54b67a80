"""A pool of daemon threads for blocking calls."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import cache
from typing import Any, ParamSpec, TypeVar

FUNCTION_THREADS = 32

_current = threading.local()  # .place: the pool and the future of the call that a thread runs

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool(Executor):
    """Up to `size` daemon threads, started as they are needed.

    `ThreadPoolExecutor` joins its threads when Python exits: a script that was interrupted would hang until the last
    call in flight was answered. These threads end with the process, and a call that nobody waits for any longer can be
    abandoned: it runs to its end, but gives its place to other work at once.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # a forked child has none of the threads

    def _reset(self) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._running: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on a thread as soon as one is free; cancelling the future takes it out of the queue."""
        future: Future[T] = Future()
        with self._lock:
            self._work.put((future, lambda: fn(*args, **kwargs)))
            if self._idle > 0:
                self._idle -= 1
            else:
                self._start_thread()
        return future

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call on a thread and wait for it; a cancelled wait abandons it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        future = self.submit(call)
        future.add_done_callback(lambda _: _tell(loop, answer))
        try:
            await answer
        except asyncio.CancelledError:
            if not future.cancel():
                # A moment later: where many waits are cancelled together, first all that still queue leave the queue.
                loop.call_soon(self.abandon, future)
            raise
        return future.result()

    def abandon(self, future: Future[Any]) -> None:
        """Take a call out of the queue, or let the thread that runs it end with it and start another in its place."""
        if future.cancel():
            return
        with self._lock:
            if future in self._running:
                self._running.remove(future)
                self._threads -= 1
                if not self._work.empty():
                    self._start_thread()

    def _start_thread(self) -> None:
        """Start a thread where there is room for one; the caller holds the lock."""
        if self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def _serve(self) -> None:
        while True:
            future, call = self._work.get()
            if future.set_running_or_notify_cancel():
                with self._lock:
                    self._running.add(future)
                _current.place = (self, future)
                try:
                    future.set_result(call())
                except StopIteration as error:  # a coroutine that waits could not raise it
                    future.set_exception(RuntimeError(f"StopIteration: {error.value!r}"))
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
                    future.set_exception(error)
                with self._lock:
                    if future not in self._running:
                        return  # the call was abandoned, and another thread has this one's place
                    self._running.remove(future)
            del future, call
            with self._lock:
                # Work that was put while every thread was busy is taken next; only a thread without any is idle.
                self._idle += self._work.empty()


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[None]) -> None:
    """Let the one who waits on an event loop go on, where both are still there."""
    with suppress(RuntimeError):  # the loop was closed
        loop.call_soon_threadsafe(_end, answer)


def _end(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)


@cache
def function_pool() -> DaemonPool:
    """Return the threads for sync functions and slow reading; asyncio's own pool has only a few on a small machine."""
    return DaemonPool(FUNCTION_THREADS, "agentflow-function")


def give_place_back() -> None:
    """Let other work have the place of the call that this thread runs, which is about to wait for such work."""
    if place := getattr(_current, "place", None):
        pool, future = place
        pool.abandon(future)
