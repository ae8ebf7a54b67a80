"""The clock of a region: real time that tests can stop and move, so that a cache of an hour ends in a millisecond."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ClockChange(BaseModel):
    """What `POST /_config` may do to the clock: first move it, then stop or start it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    advance_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    stopped: bool | None = None  # None: as it is


class Clock:
    """Seconds since the start of the region or its last reset.

    Quotas refill, caches end and the time windows of faults open by this clock; waits are real time.
    """

    def __init__(self) -> None:
        self._passed = 0.0
        self._started: float | None = time.monotonic()  # None while it stands

    def now(self) -> float:
        """Return the seconds since the start."""
        return self._passed + (0.0 if self._started is None else time.monotonic() - self._started)

    def change(self, change: ClockChange) -> None:
        """Move the clock, stop it or let it go on."""
        stopped = self._started is None if change.stopped is None else change.stopped
        self._passed = self.now() + change.advance_seconds
        self._started = None if stopped else time.monotonic()
