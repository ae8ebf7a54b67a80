"""The bill of one request: what it has used when it ends, however it ends."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Self

from agentflow.local.chat import Begin, CacheUse, ChatRequest, Finish, Items, Piece
from agentflow.local.errors import TOO_LONG, BrokenOffError, invalid
from agentflow.local.facts import ServedModel
from agentflow.local.prompt_cache import PromptCache
from agentflow.local.quotas import Reservation
from agentflow.local.stats import Stats


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as the accounts and the faults see it."""

    operation: str  # as Bedrock's API names it, such as "ConverseStream"
    called_as: str  # the id or profile that the client has called
    model: ServedModel
    chat: ChatRequest
    identity: bytes  # equal for the same request: model, request metadata and body

    @property
    def max_tokens(self) -> int:
        """What the request reserves for its answer: without `maxTokens` all that the model can give."""
        return self.chat.max_tokens or self.model.max_output_tokens


class Bill:
    """What one request has used so far.

    An answer is billed at its end; one that the client or a fault has broken off, with the tokens it had until then.
    A request that ends in an error is not billed. Used as a context manager, which settles it.
    """

    def __init__(self, call: Call, stats: Stats, cache: PromptCache, reservation: Reservation) -> None:
        self.call = call
        self.stats = stats
        self._cache = cache
        self._reservation = reservation
        self._begin: Begin | None = None
        self._output_tokens = 0
        self._open = True
        self._answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception) and not issubclass(kind, BrokenOffError):
            self.cancel()
        elif kind is asyncio.CancelledError:
            self.abandon()
        else:
            self.settle()

    def answered(self) -> None:
        """Count and bill a complete answer, before its last bytes leave: who has read them finds it counted."""
        self._answered = True
        self.stats.answered(self.call)
        self.settle()

    def abandon(self) -> None:
        """Settle for a client that has hung up."""
        self.stats.abandoned += not self._answered
        self.settle()

    async def watch(self, items: Items) -> Items:
        """Pass an answer on, with the prompt cache's part in its usage, and note what it has used."""
        async with aclosing(items):
            async for item in items:
                match item:
                    case Begin():
                        if item.input_tokens > self.call.model.context_tokens:
                            raise invalid(TOO_LONG)
                        self._begin = self._with_cache(item)
                        yield self._begin
                    case Piece():
                        yield item
                        self._output_tokens = item.output_tokens  # a piece that a fault keeps back is not paid
                    case Finish():
                        self._output_tokens = item.output_tokens
                        yield item
                    case _:
                        yield item

    def settle(self) -> None:
        """Bill what was used, once."""
        if not self._open:
            return
        self._open = False
        if self._begin is None:
            self._reservation.settle(0)
            return
        begin, cache = self._begin, self._begin.cache or CacheUse()
        burnt = self._output_tokens * self.call.model.burndown
        self._reservation.settle(begin.input_tokens + cache.write_tokens + burnt)
        self.stats.bill(self.call, begin, self._output_tokens)

    def cancel(self) -> None:
        """Bill nothing, and give the whole reservation back."""
        self._begin = None
        self.settle()

    def _with_cache(self, begin: Begin) -> Begin:
        blocks = self.call.chat.blocks
        if not blocks or begin.cache is not None:
            return begin
        cache = self._cache.use(self.call.called_as, blocks, begin.input_tokens, self.call.model.cache_min_tokens)
        return replace(begin, input_tokens=begin.input_tokens - cache.read_tokens - cache.write_tokens, cache=cache)
