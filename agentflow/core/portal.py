"""The one door from blocking code to coroutines: `run()` works in a script, a cell, papermill and inside `async def`.

All blocking runs share one daemon thread with one event loop, so that nothing has to patch the caller's loop. While
it waits on the main thread, `run` has a SIGINT handler of its own: without one, an interrupt of a Jupyter cell is
late or is lost, and the run would go on and spend money in the background.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any

from agentflow.core import ports
from agentflow.core.errors import DefinitionError, RunInterrupted, mark_interrupted
from agentflow.core.interrupts import Interruptible, exit_if_terminated
from agentflow.core.result import RunResult
from agentflow.core.watching import Display
from agentflow.utils.threads import give_place_back

WAIT_SECONDS = 0.2  # a wait without an end cannot be interrupted on Windows
FLUSH_SECONDS = 5.0  # how long an interrupted run may take to write down what it has

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_owner_pid: int | None = None


class RunHandle:
    """A run that was started in the background: what `workflow.start()` returns. `await` it, or `wait()` for it.

    Attributes
    ----------
    result : what is known so far; it changes while the run goes on.
    display : shows the run while it goes on; None where nothing does.
    """

    display: Display | None = None

    def __init__(self, execute: Callable[[], Coroutine[Any, Any, RunResult]], result: RunResult) -> None:
        self.result = result
        self._loop = _own_loop()
        self._execute = execute
        self._task: asyncio.Task[RunResult] | None = None
        self._cancelled = False
        self._ended = threading.Event()
        self._watchers: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start the run."""
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._execute())
        self._task.add_done_callback(self._end)
        if self._cancelled:
            self._task.cancel()

    def _end(self, task: asyncio.Task[RunResult]) -> None:
        if not task.cancelled():
            task.exception()  # nobody may ask for it, and that is no mistake: the result has it
        with self._lock:
            self._ended.set()
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Interrupt the run: nothing more is sent, and what was finished is kept."""
        self._cancelled = True
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def wait(self) -> RunResult:
        """Wait for the end of the run and return its result; an interrupt cancels it.

        Raises
        ------
        WorkflowError
            A step failed or the time was up.
        RunInterrupted
            Ctrl-C, the kernel's stop button, or `cancel()`. A second interrupt is a plain `KeyboardInterrupt` at once.
        SystemExit
            With 143: the process was told to terminate (SIGTERM).
        """
        _refuse_own_thread()
        return self._wait()

    def _wait(self, before: Callable[[], None] = lambda: None) -> RunResult:
        """Wait for the end; `before` is called once an interrupt would reach the run."""

        def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
            if self._cancelled:
                raise KeyboardInterrupt
            self.cancel()

        on_main_thread = threading.current_thread() is threading.main_thread()
        previous = signal.signal(signal.SIGINT, on_interrupt) if on_main_thread else None
        try:
            with Interruptible(self.cancel):
                before()
                give_place_back()
                waited = 0.0
                while not self._ended.wait(WAIT_SECONDS) and waited < FLUSH_SECONDS:
                    waited += WAIT_SECONDS if self._cancelled else 0.0
        finally:
            if on_main_thread:
                signal.signal(signal.SIGINT, previous or signal.default_int_handler)
            if not self.done:
                self.cancel()
        exit_if_terminated()
        return self._outcome()

    def _outcome(self) -> RunResult:
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise RunInterrupted(self.result)
        return self._task.result()

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> RunResult:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        with self._lock:
            if self.done:
                wake()
            else:
                self._watchers.append(wake)
        try:
            await ended.wait()
            return self._outcome()
        except asyncio.CancelledError as error:
            self.cancel()
            mark_interrupted(error, self.result)
            raise
        except RunInterrupted:  # a KeyboardInterrupt would end the caller's loop
            cancelled = asyncio.CancelledError()
            mark_interrupted(cancelled, self.result)
            raise cancelled from None

    def __repr__(self) -> str:
        return repr(self.result)

    def _repr_html_(self) -> str:
        if self.display is not None and self.display.is_on_page and not self.done:
            html: str = ports.load("going_on_html")(self.result)
            return html
        return self.result._repr_html_()


def run(execute: Callable[[], Coroutine[Any, Any, RunResult]], result: RunResult) -> RunResult:
    """Run a coroutine on AgentFlow's own loop and wait for it; errors as for `RunHandle.wait`.

    Parameters
    ----------
    execute : makes the coroutine.
    result : what it fills while it runs; an interrupt carries it.
    """
    _refuse_own_thread()
    handle = RunHandle(execute, result)
    return handle._wait(before=handle.begin)


def _refuse_own_thread() -> None:
    if threading.current_thread() is _thread:
        raise DefinitionError("run() was called inside a step.", fix="Use `await workflow.execute(...)` there.")


def _own_loop() -> asyncio.AbstractEventLoop:
    """Return AgentFlow's running loop, made at the first use and again after a fork."""
    global _loop, _thread, _owner_pid  # noqa: PLW0603 - one loop a process is the point
    with _lock:
        if _loop is None or _thread is None or not _thread.is_alive() or _owner_pid != os.getpid():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="agentflow", daemon=True)
            _thread.start()
            _owner_pid = os.getpid()
        return _loop
