"""Whose run it is: the process that runs it, told from others that had the same number before."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

FRESH = timedelta(seconds=30)  # a heartbeat of another machine that is younger means that the run goes on there
_SAME_SECONDS = 2.0  # the time when a process was made is computed from a clock that may be set meanwhile


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its number, when it was made (seconds since 1970), and its machine."""

    pid: int
    process_started: float
    host: str

    def is_alive(self, heartbeat_at: datetime) -> bool:
        """Return whether the process still runs; one of another machine is judged by its heartbeat."""
        if self.host != socket.gethostname():
            return datetime.now(UTC) - heartbeat_at < FRESH
        import psutil

        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.process_started) < _SAME_SECONDS and process.status() not in (
                psutil.STATUS_ZOMBIE,
                psutil.STATUS_DEAD,
            )
        except psutil.AccessDenied:
            return True
        except psutil.NoSuchProcess:
            return False


def this_process() -> Owner:
    """Return the process that asks."""
    return _process(os.getpid())  # another one after a fork


@lru_cache(maxsize=2)
def _process(pid: int) -> Owner:
    import psutil

    return Owner(pid, psutil.Process(pid).create_time(), socket.gethostname())


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)
