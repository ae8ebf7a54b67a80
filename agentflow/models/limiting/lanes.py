"""The lanes of the process: one for each account, region and model."""

from __future__ import annotations

import os
import threading

from agentflow.models.limiting.lane import Lane, LaneKey


class Lanes:
    """All lanes of the process."""

    def __init__(self) -> None:
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)  # those who wait are the parent's

    def reset(self) -> None:
        """Forget all that was learned."""
        self._lock = threading.Lock()
        self._lanes: dict[LaneKey, Lane] = {}

    def lane(self, key: LaneKey, burndown: int) -> Lane:
        """Return the lane of an account, region and model."""
        with self._lock:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(key, burndown)
            return lane

    def all(self) -> list[Lane]:
        """Return the lanes in which something was asked, in that order."""
        with self._lock:
            return list(self._lanes.values())


lanes = Lanes()
