"""What `GET /_stats` tells of a region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from agentflow.local.chat import Begin, CacheUse
from agentflow.local.errors import Refusal

if TYPE_CHECKING:
    from agentflow.local.billing import Call

_REMEMBERED_REQUESTS = 100_000  # among which a duplicate is found


@dataclass(slots=True)
class Stats:
    """Counted since the start or the last reset."""

    model: str
    requests: int = 0  # to the operations that answer
    answers: int = 0  # complete ones
    refused: int = 0  # requests that got an error instead
    abandoned: int = 0  # requests in work whose client hung up before the end of the answer
    duplicates: int = 0  # requests billed though the same request (metadata and text) had been billed before
    errors: Counter[str] = field(default_factory=Counter)  # by code, of any request
    faults: Counter[str] = field(default_factory=Counter)  # faults of the script that happened, by kind
    billed: Counter[str] = field(
        default_factory=lambda: Counter(
            calls=0, input_tokens=0, output_tokens=0, cache_read_tokens=0, cache_write_tokens=0
        )
    )
    by_model: Counter[str] = field(default_factory=Counter)  # complete answers
    by_operation: Counter[str] = field(default_factory=Counter)  # complete answers
    in_flight: int = 0
    peak_in_flight: int = 0
    _billed_requests: dict[bytes, None] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return the figures."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if not entry.name.startswith("_")}

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request from its arrival to its end."""
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            yield
        except Refusal:
            self.refused += 1
            raise
        finally:
            self.in_flight -= 1

    def bill(self, call: Call, begin: Begin, output_tokens: int) -> None:
        """Count what a request has cost."""
        cache = begin.cache or CacheUse()
        self.billed.update(
            calls=1,
            input_tokens=begin.input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache.read_tokens,
            cache_write_tokens=cache.write_tokens,
        )
        if call.identity in self._billed_requests:
            self.duplicates += 1
        self._billed_requests[call.identity] = None
        if len(self._billed_requests) > _REMEMBERED_REQUESTS:
            del self._billed_requests[next(iter(self._billed_requests))]

    def answered(self, call: Call) -> None:
        """Count a complete answer."""
        self.answers += 1
        self.by_model[call.model.model_id] += 1
        self.by_operation[call.operation] += 1
