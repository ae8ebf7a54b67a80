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
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from agentflow.core.errors import DefinitionError, RunInterrupted
from agentflow.core.result import RunResult
from agentflow.utils.threads import give_place_back

WAIT_SECONDS = 0.2  # a wait without an end cannot be interrupted on Windows
FLUSH_SECONDS = 5.0  # how long an interrupted run may take to write down what it has

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_owner_pid: int | None = None


def run(execute: Callable[[], Coroutine[Any, Any, RunResult]], result: RunResult) -> RunResult:
    """Run a coroutine on AgentFlow's own loop and wait for it.

    Parameters
    ----------
    execute : makes the coroutine.
    result : what it fills while it runs; an interrupt carries it.

    Raises
    ------
    DefinitionError
        Called from a step of another run, which would wait for itself.
    RunInterrupted
        Ctrl-C or the kernel's stop button: the run was cancelled. A second one is a plain `KeyboardInterrupt` at once.
    """
    loop = _own_loop()
    if threading.current_thread() is _thread:
        raise DefinitionError("run() was called inside a step.", fix="Use `await workflow.execute(...)` there.")
    ended = threading.Event()
    interrupted = threading.Event()
    task: asyncio.Task[RunResult] | None = None

    def start() -> None:
        nonlocal task
        task = loop.create_task(execute())
        task.add_done_callback(lambda _: ended.set())

    def cancel() -> None:
        if task is not None:
            task.cancel()

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        loop.call_soon_threadsafe(cancel)

    on_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, on_interrupt) if on_main_thread else None
    try:
        give_place_back()
        loop.call_soon_threadsafe(start)
        waited = 0.0
        while not ended.wait(WAIT_SECONDS) and waited < FLUSH_SECONDS:
            waited += WAIT_SECONDS if interrupted.is_set() else 0.0
    finally:
        if on_main_thread:
            signal.signal(signal.SIGINT, previous or signal.default_int_handler)
        if not ended.is_set():
            loop.call_soon_threadsafe(cancel)
    if task is None or not task.done() or task.cancelled():
        raise RunInterrupted(result)
    return task.result()


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
