"""Which region a call goes to, where a client has several: the first one that works and whose quota has room.

A region is out of service after five failures in a row (capacity, network, no answer in time). It is left alone for ten
seconds, each time twice as long, at most five minutes; then one call probes it, and its answer brings the region back.
The numbers are AgentFlow's choice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from agentflow.core.errors import FaultKind, ModelCallError

FAILURES = 5
FIRST_REST_SECONDS = 10.0
LONGEST_REST_SECONDS = 300.0

_OF_THE_REGION: Collection[FaultKind] = {"capacity", "network", "timeout"}
ELSEWHERE: Collection[FaultKind] = {"capacity", "network", "timeout", "throttle", "daily quota"}  # may work there


class Breaker:
    """Whether a region is in service. Any thread may use it.

    Parameters
    ----------
    clock : seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rest_seconds = FIRST_REST_SECONDS
        self._rests_until: float | None = None  # None: in service
        self._is_probed = False

    @property
    def is_open(self) -> bool:
        """Whether the region is left alone now; False also where a probe is due."""
        return self._rests_until is not None and self._clock() < self._rests_until

    def begin(self) -> None:
        """Take in that a request goes there; where the region was out of service it is the probe, and the only one."""
        with self._lock:
            if self._rests_until is not None:
                self._is_probed = True
                self._rests_until = self._clock() + self._rest_seconds

    def ended(self, kind: FaultKind | None) -> None:
        """Take in how a request ended; None is an answer. Any answer, also a refusal, shows that the region works."""
        with self._lock:
            if kind not in _OF_THE_REGION:
                self._failures, self._rests_until, self._rest_seconds = 0, None, FIRST_REST_SECONDS
                self._is_probed = False
                return
            self._failures += 1
            if self._is_probed:
                self._rest_seconds = min(self._rest_seconds * 2, LONGEST_REST_SECONDS)
                self._is_probed = False
            elif self._failures != FAILURES:  # too few yet, or requests that were on their way when it was enough
                return
            self._rests_until = self._clock() + self._rest_seconds


class Breakers:
    """The breakers of the process, one for each account, endpoint and region."""

    def __init__(self) -> None:
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Forget what failed."""
        self._lock = threading.Lock()
        self._breakers: dict[tuple[str, str | None, str], Breaker] = {}

    def breaker(self, account: str, endpoint_url: str | None, region: str) -> Breaker:
        """Return the breaker of a region."""
        with self._lock:
            return self._breakers.setdefault((account, endpoint_url, region), Breaker())


breakers = Breakers()


class Place(Protocol):
    """Somewhere that a call can go."""

    @property
    def name(self) -> str:
        """The region, or a profile of it."""

    @property
    def breaker(self) -> Breaker:
        """Whether the region is in service."""

    @property
    def has_room(self) -> bool:
        """Whether the quota there would let the call in now."""


def choose(places: Sequence[Place], *, after: tuple[str, ModelCallError] | None) -> tuple[int, str]:
    """Return the position of the place to call, and why it is not the one that the caller would expect.

    Parameters
    ----------
    places : in the order in which they are wanted; at least one.
    after : the name of the place and the error of the attempt before.
    """
    usable = [position for position, place in enumerate(places) if not place.breaker.is_open] or list(
        range(len(places))
    )
    failed_there = after is not None and after[1].kind in ELSEWHERE
    wanted = [position for position in usable if not failed_there or places[position].name != after[0]] or usable  # type: ignore[index]
    chosen = next((position for position in wanted if places[position].has_room), wanted[0])
    if after is not None:
        moved = places[chosen].name != after[0]
        return chosen, f"{after[0]}: {after[1].code}" if moved else ""
    if chosen == 0:
        return 0, ""
    first = places[0]
    why = f"{first.name} is out of service" if first.breaker.is_open else f"the quota of {first.name} has no room"
    return chosen, why
