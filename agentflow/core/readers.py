"""Those who read the events of runs along: each on a thread of its own, so that none can stop or slow a run."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable

from agentflow.core import ports
from agentflow.core.errors import described
from agentflow.core.events import Event
from agentflow.core.result import RunResult
from agentflow.utils.env import is_any_set
from agentflow.utils.logging import PACKAGE

MOST_WAITING = 100_000  # events; a reader that is further behind misses some
IDLE_SECONDS = 5.0  # a thread that has had nothing to do for so long ends
EXIT_SECONDS = 2.0  # how long the end of the process waits for readers that are behind

Reader = Callable[[Event, RunResult], None]

_log = logging.getLogger(__name__)


class ReaderThread:
    """Gives events to one reader, in order. An event that it raises on, or misses, is counted in the run's result."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Event, RunResult]] = queue.SimpleQueue()
        self._runs = False
        self._busy = False
        _all.add(self)

    def take(self, event: Event, result: RunResult) -> None:
        """Take an event in; never blocks and never raises."""
        if self._waiting.qsize() >= MOST_WAITING:
            self._count_failure(result, f"was more than {MOST_WAITING:,} events behind")
            return
        self._waiting.put((event, result))
        with self._lock:
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._serve, name="agentflow-reader", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                event, result = self._waiting.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._runs = False
                        return
                continue
            self._busy = True
            try:
                self.reader(event, result)
            except Exception as error:  # noqa: BLE001 - whatever a foreign reader raises must not end the others' events
                self._count_failure(result, f"failed on {type(event).__name__}: {described(error)}")
            finally:
                self._busy = False
                del event, result

    def _count_failure(self, result: RunResult, how: str) -> None:
        result.reader_failures += 1
        name = getattr(self.reader, "__qualname__", type(self.reader).__name__)
        reported = f"The reader of events {name!r} "
        if not any(warning.startswith(reported) for warning in result.warnings):
            result.warnings.append(f"{reported}{how}. Further failures are counted only.")
            _log.warning("a reader of events failed", extra={"workflow_name": result.workflow, "error": how})

    @property
    def is_done(self) -> bool:
        """Whether the reader has been given all events."""
        return self._waiting.empty() and not self._busy


def signal_taps() -> list[Reader]:
    """Return what takes the events of every run to the logs and metrics; nothing where nobody has asked for them.

    The logs are asked for by a level on AgentFlow's own log, as `setup_logger` sets it, or by one of INFO or more on
    the root logger.
    """
    log = logging.getLogger(PACKAGE)
    if log.level or log.isEnabledFor(logging.INFO) or is_any_set("AGENTFLOW_LOG_GROUP", "AGENTFLOW_METRICS"):
        return [ports.load("signal_tap")()]
    return []


_all: weakref.WeakSet[ReaderThread] = weakref.WeakSet()


@atexit.register
def wait_for_readers() -> None:
    """Wait until the readers have been given all events, for a moment at most."""
    until = time.monotonic() + EXIT_SECONDS
    while time.monotonic() < until and not all(thread.is_done for thread in list(_all)):
        time.sleep(0.01)
