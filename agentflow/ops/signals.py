"""The reader of all runs' events that feeds the logs and metrics, as the settings ask for them."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from dataclasses import dataclass, field
from functools import cache, partial

from agentflow.core.errors import InputError
from agentflow.core.events import Event, StepStarted
from agentflow.core.readers import Reader, ReaderThread, wait_for_readers
from agentflow.core.result import RunResult
from agentflow.ops.cloudwatch import CloudWatchLogs, aws_client
from agentflow.ops.metrics import Meter
from agentflow.ops.places import placed
from agentflow.ops.publishing import Publisher, publish_by_api, publish_in_log
from agentflow.ops.run_log import RunLog
from agentflow.ops.run_log import logger as runs_log
from agentflow.utils.env import setting
from agentflow.utils.logging import PACKAGE, level_of_setting, setup_logger


class Signals:
    """Reads the events of all runs.

    Parameters
    ----------
    group : the log group of CloudWatch, where one is wanted.
    metrics : `logs`, `cloudwatch` or empty.

    Raises
    ------
    InputError
        A setting cannot be used; nothing was called.
    """

    def __init__(self, group: str, metrics: str) -> None:
        client = cache(partial(aws_client, "cloudwatch"))
        publish = {
            "": None,
            "logs": publish_in_log,
            "cloudwatch": publish_by_api(client),
        }
        if metrics not in publish:
            raise InputError(f"AGENTFLOW_METRICS={metrics!r} is unknown.", fix="Set it to logs or cloudwatch.")
        self.handler = CloudWatchLogs(group) if group else None
        self._log = RunLog()
        self._meter = Meter()
        self.publisher = Publisher(self._meter, made) if (made := publish[metrics]) else None
        self.thread = ReaderThread(self.read)

    def take(self, event: Event, result: RunResult) -> None:
        """Take in an event that has something to say; never blocks and never raises."""
        if type(event) is not StepStarted or runs_log.isEnabledFor(logging.DEBUG):
            self.thread.take(event, result)

    def read(self, event: Event, result: RunResult) -> None:
        """Take in one event of a run."""
        place = placed(event, result)
        self._log.write(place)
        if self.publisher is not None:
            self._meter.take(place)
            self.publisher.wake()

    def flush(self) -> None:
        """Publish and send what has been read so far."""
        wait_for_readers()
        if self.publisher is not None:
            self.publisher.flush()
        if self.handler is not None:
            self.handler.flush()


@dataclass
class _Current:
    """The signals of the process, and the settings that they were made by."""

    settings: tuple[str, str] | None = None
    signals: Signals | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_current = _Current()


def signal_tap() -> Reader:
    """Return what takes the events of a run, for the settings as they are now.

    Raises
    ------
    InputError
        A setting cannot be used; nothing was called.
    """
    settings = (setting("AGENTFLOW_LOG_GROUP").value or "", setting("AGENTFLOW_METRICS").value or "")
    with _current.lock:
        if _current.signals is None or _current.settings != settings:
            signals = Signals(*settings)
            reset()
            _current.settings, _current.signals = settings, signals
            _open_log(signals.handler, needs_lines=settings[1] == "logs")
        return _current.signals.take


def _open_log(handler: logging.Handler | None, *, needs_lines: bool) -> None:
    """Have somebody write AgentFlow's log, and let it through at the level of the settings."""
    log = logging.getLogger(PACKAGE)
    if handler is not None:
        log.addHandler(handler)
        if not log.level:
            log.setLevel(level_of_setting())
    elif needs_lines and not log.hasHandlers():
        setup_logger(PACKAGE)


def reset() -> None:
    """Read no more runs; the next one makes new signals."""
    if (signals := _current.signals) is not None:
        _current.settings = _current.signals = None
        if signals.handler is not None:
            logging.getLogger(PACKAGE).removeHandler(signals.handler)
            signals.handler.close()


def flush() -> None:
    """Publish the metrics and send the log records that there are now, for some seconds at most."""
    if (signals := _current.signals) is not None:
        signals.flush()


def _after_fork() -> None:
    _current.lock = threading.Lock()
    reset()  # the threads are the parent's


atexit.register(flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
