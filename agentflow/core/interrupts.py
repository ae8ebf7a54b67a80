"""Signals that reach runs on the main thread: an interrupt at once, SIGTERM as an interrupt before the process ends."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from types import FrameType, TracebackType

TERMINATED = 128 + 15  # the exit code of a process that SIGTERM has ended


class _SignalWaker:
    """Wakes the main thread's event loop when a signal arrives, as long as somebody needs it.

    ipykernel turns the stop button into a callback on its loop, but does not wake the loop: a cell that awaits one
    long thing stopped seconds late (measured with ipykernel 6.29 to 7.4). An existing wake-up descriptor is left alone.
    """

    def __init__(self) -> None:
        self._installed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        atexit.register(self._close)

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake a loop from now on; does nothing where it cannot watch a socket."""
        try:
            loop.add_reader(self._reader, self._drain)
        except NotImplementedError:  # Windows' default loop
            return
        self._loop = loop
        previous = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._installed = previous == -1
        if not self._installed:
            signal.set_wakeup_fd(previous)

    def remove(self) -> None:
        """Wake the loop no longer."""
        if self._installed:
            current = signal.set_wakeup_fd(-1)
            if current not in {-1, self._writer.fileno()}:  # the loop got a signal handler of its own meanwhile
                signal.set_wakeup_fd(current)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._reader)
        self._installed, self._loop = False, None

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            self._reader.recv(4096)


class _MainThreadRuns:
    """The runs that the main thread waits for, and what signals do to them."""

    def __init__(self) -> None:
        self.terminated = False
        self._cancels: list[Callable[[], object]] = []
        self._awaited = 0
        self._handles_termination = False
        self._waker: _SignalWaker | None = None

    def add(self, cancel: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> None:
        """Take a run in; `loop` is the main thread's, where it is awaited there."""
        self._cancels.append(cancel)
        if len(self._cancels) == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_termination)
            self._handles_termination = True
        if loop is not None:
            self._awaited += 1
            if self._awaited == 1:
                self._waker = self._waker or _SignalWaker()
                self._waker.install(loop)

    def remove(self, cancel: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> None:
        """Forget a run that has ended."""
        self._cancels.remove(cancel)
        if not self._cancels and self._handles_termination:
            self._handles_termination = False
            if signal.getsignal(signal.SIGTERM) == self._on_termination:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if loop is not None:
            self._awaited -= 1
            if self._awaited == 0 and self._waker is not None:
                self._waker.remove()

    def _on_termination(self, _signal: int, _frame: FrameType | None) -> None:
        self.terminated = True
        for cancel in self._cancels:
            cancel()


_runs = _MainThreadRuns()


class Interruptible(AbstractContextManager[None]):
    """A context in which a run is waited for; on the main thread, signals reach it.

    SIGTERM cancels the run; `exit_if_terminated` then ends the process. A handler for SIGTERM that the program has set
    itself is left alone.

    Parameters
    ----------
    cancel : interrupts the run; called in a signal handler. None for the current task.
    """

    def __init__(self, cancel: Callable[[], object] | None = None) -> None:
        self._cancel = cancel or (lambda: None)
        self._is_task = cancel is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_main_thread = False

    def __enter__(self) -> None:
        self._on_main_thread = threading.current_thread() is threading.main_thread()
        if not self._on_main_thread:
            return
        if self._is_task and (task := asyncio.current_task()) is not None:
            self._loop = task.get_loop()
            self._cancel = partial(self._loop.call_soon_threadsafe, task.cancel)
        _runs.add(self._cancel, self._loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on_main_thread:
            _runs.remove(self._cancel, self._loop)


def exit_if_terminated() -> None:
    """End the process with 143 where it was told to terminate; its journal is written at the exit.

    Raises
    ------
    SystemExit
        It was, and this is the main thread.
    """
    if not _runs.terminated or threading.current_thread() is not threading.main_thread():
        return
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:  # a notebook's kernel takes SystemExit for an error
        atexit._run_exitfuncs()
        os._exit(TERMINATED)
    raise SystemExit(TERMINATED)
