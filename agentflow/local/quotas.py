"""Quotas as Bedrock keeps them: tokens a minute and a day, and requests a minute, of one region.

Each id or profile that is called has quotas of its own (Amazon Bedrock User Guide, quotas-runtime). A request reserves
its input tokens and its `maxTokens` when it arrives, and is throttled where that does not fit; at its end it has used
input, cache writes and output times the model's burndown, and gets the rest back or pays more (quotas-token-burndown).
Cache reads are reserved with the input and cost nothing in the end. How fast Bedrock refills is not published: here it
is even, the whole quota in a minute or a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentflow.local.clock import Clock
from agentflow.local.errors import Refusal

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400

_ROUNDING = 1e-6  # of a token: what adding up fractions of a second may lose
_THROTTLED = "Too many {}, please wait before trying again."


class Quota(BaseModel):
    """What one id or profile may take; None is no limit. 0 a day is what new accounts may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens_per_minute: Annotated[int, Field(ge=0)] | None = None
    requests_per_minute: Annotated[int, Field(ge=0)] | None = None
    tokens_per_day: Annotated[int, Field(ge=0)] | None = None


@dataclass(slots=True)
class _Bucket:
    """An allowance that refills evenly; below zero after an answer that took more than it reserved."""

    what: str  # as Bedrock's message names it
    capacity: int
    seconds: int  # until an empty one is full
    clock: Clock
    level: float
    at: float

    @classmethod
    def full(cls, what: str, capacity: int, seconds: int, clock: Clock) -> _Bucket:
        """Return a full bucket."""
        return cls(what, capacity, seconds, clock, capacity, clock.now())

    def holds(self, amount: int) -> bool:
        """Return whether so much can be taken now."""
        now = self.clock.now()
        self.level = min(self.capacity, self.level + (now - self.at) * self.capacity / self.seconds)
        self.at = now
        return amount <= self.level + _ROUNDING

    def give(self, amount: int) -> None:
        """Put so much back, or take it where it is negative."""
        self.level = min(self.capacity, self.level + amount)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one request has taken of the token quotas until it is settled."""

    tokens: int
    buckets: tuple[_Bucket, ...] = ()

    def settle(self, used_tokens: int) -> None:
        """Give back what was not used, or take what was used beyond it."""
        for bucket in self.buckets:
            bucket.give(self.tokens - used_tokens)


class Quotas:
    """The allowances of one region."""

    def __init__(self, quotas: Mapping[str, Quota], clock: Clock) -> None:
        self._quotas = quotas
        self._clock = clock
        self._buckets: dict[str, tuple[tuple[_Bucket, ...], tuple[_Bucket, ...]]] = {}

    def limit(self, called_as: str) -> bool:
        """Return whether there is a quota for an id or profile."""
        return any(fnmatchcase(called_as, pattern) for pattern in self._quotas)

    def of(self, called_as: str) -> Quota:
        """Return the quota of an id or profile: the first whose pattern fits, else one without limits."""
        return next((quota for pattern, quota in self._quotas.items() if fnmatchcase(called_as, pattern)), Quota())

    def reserve(self, called_as: str, tokens: int) -> Reservation:
        """Take one request and its tokens from the quotas of an id or profile.

        Raises
        ------
        Refusal
            ``ThrottlingException``: one of the quotas has not that much left; nothing is taken then.
        """
        if called_as not in self._buckets:
            self._buckets[called_as] = self._fill(called_as)
        requests, token_buckets = self._buckets[called_as]
        _refuse_unless_held(token_buckets[::-1], tokens)  # the day first: waiting a minute would not help
        _refuse_unless_held(requests, 1)
        for bucket in requests:
            bucket.give(-1)
        for bucket in token_buckets:
            bucket.give(-tokens)
        return Reservation(tokens, token_buckets)

    def _fill(self, called_as: str) -> tuple[tuple[_Bucket, ...], tuple[_Bucket, ...]]:
        quota = self.of(called_as)
        requests = [("requests", quota.requests_per_minute, MINUTE_SECONDS)]
        tokens = [
            ("tokens", quota.tokens_per_minute, MINUTE_SECONDS),
            ("tokens per day", quota.tokens_per_day, DAY_SECONDS),
        ]
        return self._full(requests), self._full(tokens)

    def _full(self, rows: Iterable[tuple[str, int | None, int]]) -> tuple[_Bucket, ...]:
        return tuple(
            _Bucket.full(what, capacity, seconds, self._clock)
            for what, capacity, seconds in rows
            if capacity is not None
        )


def _refuse_unless_held(buckets: Iterable[_Bucket], amount: int) -> None:
    for bucket in buckets:
        if not bucket.holds(amount):
            raise Refusal("ThrottlingException", _THROTTLED.format(bucket.what))
