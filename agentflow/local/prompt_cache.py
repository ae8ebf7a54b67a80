"""Prompt caching as Bedrock does it: what of a prompt is read from the cache, and what is written to it.

A checkpoint asks to cache the prompt up to it, in the order tools, system, messages. Below the model's minimum nothing
is cached, silently. An entry lives 5 minutes or 1 hour from its last use. For each checkpoint the 20 blocks before it
are tried too, so that a conversation whose checkpoint moves on reads what its earlier turns wrote (Amazon Bedrock User
Guide, prompt-caching).

Where in a prompt a token lies not every model can say: the part before a checkpoint has that share of the prompt's
tokens that it has of its characters. What is read later is the figure that was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from agentflow.local.chat import CacheUse, PromptBlock
from agentflow.local.clock import Clock
from agentflow.local.errors import invalid

TTL_SECONDS = {"5m": 300, "1h": 3600}
DEFAULT_TTL = "5m"
MOST_CHECKPOINTS = 4

_LOOK_BACK_BLOCKS = 20
_MOST_ENTRIES = 10_000  # of one region, the longest unused are forgotten


@dataclass(frozen=True, slots=True)
class _Entry:
    tokens: int
    ttl: str
    ends: float  # by the region's clock


class PromptCache:
    """The cached prompts of one region, by model and content."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[tuple[str, bytes], _Entry] = {}  # in the order of their last use

    def use(
        self, called_as: str, blocks: Sequence[PromptBlock], prompt_tokens: int, least_tokens: int | None
    ) -> CacheUse:
        """Look a prompt up, and write what its checkpoints ask for.

        Parameters
        ----------
        called_as : str
            The id or profile that was called; each has a cache of its own.
        blocks : sequence of PromptBlock
            The whole prompt in order.
        prompt_tokens : int
            Tokens of the whole prompt.
        least_tokens : int, optional
            The shortest prefix that the model caches; None for a model without prompt caching.
        """
        if least_tokens is None:
            return CacheUse()
        tokens = _prefix_tokens(blocks, prompt_tokens)
        read, read_blocks = self._read(called_as, blocks)
        counted, written = read, dict.fromkeys(TTL_SECONDS, 0)
        for number, block in enumerate(blocks):
            if number < read_blocks:
                self._use_again(called_as, block)
            if block.ttl is None or number < read_blocks or tokens[number] < least_tokens:
                continue
            size = max(tokens[number], counted)
            written[block.ttl] += size - counted
            counted = size
            self._keep(called_as, block, size)
        return CacheUse(min(read, prompt_tokens), written["5m"], written["1h"])

    def _read(self, called_as: str, blocks: Sequence[PromptBlock]) -> tuple[int, int]:
        """Return the tokens and blocks of the longest prefix that is cached."""
        for number in _candidates(blocks):
            if entry := self._living(called_as, blocks[number]):
                return entry.tokens, number + 1
        return 0, 0

    def _living(self, called_as: str, block: PromptBlock) -> _Entry | None:
        entry = self._entries.get((called_as, block.digest))
        return entry if entry is not None and entry.ends > self._clock.now() else None

    def _use_again(self, called_as: str, block: PromptBlock) -> None:
        """Let the life of an entry begin anew, where there is one."""
        if entry := self._living(called_as, block):
            self._keep(called_as, replace(block, ttl=entry.ttl), entry.tokens)

    def _keep(self, called_as: str, block: PromptBlock, tokens: int) -> None:
        key, ttl = (called_as, block.digest), block.ttl or DEFAULT_TTL
        self._entries.pop(key, None)
        self._entries[key] = _Entry(tokens, ttl, self._clock.now() + TTL_SECONDS[ttl])
        if len(self._entries) > _MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]


def _candidates(blocks: Sequence[PromptBlock]) -> Iterator[int]:
    """Yield the places where a cached prefix may end, longest first."""
    left = 0
    for number in range(len(blocks) - 1, -1, -1):
        if blocks[number].ttl is not None:
            left = _LOOK_BACK_BLOCKS + 1
        if left:
            left -= 1
            yield number


def _prefix_tokens(blocks: Sequence[PromptBlock], prompt_tokens: int) -> list[int]:
    characters = blocks[-1].characters if blocks else 0
    return [round(prompt_tokens * block.characters / max(1, characters)) for block in blocks]


def converse_blocks(body: Mapping[str, Any]) -> tuple[PromptBlock, ...]:
    """Return the prompt of a Converse body as blocks, empty where it has no ``cachePoint``.

    Raises
    ------
    Refusal
        It has more than four, or one for an hour after one for 5 minutes.
    """
    messages = ((message["role"], block) for message in body["messages"] for block in message["content"])
    tools = (body.get("toolConfig") or {}).get("tools") or ()
    system = body.get("system") or ()
    return _chain(
        (*(("tools", tool) for tool in tools), *(("system", block) for block in system), *messages), "cachePoint"
    )


def anthropic_blocks(body: Mapping[str, Any]) -> tuple[PromptBlock, ...]:
    """Return the prompt of an Anthropic body as blocks, empty where no block has ``cache_control``.

    Raises
    ------
    Refusal
        More than four have, or one for an hour after one for 5 minutes.
    """
    messages = [(message["role"], block) for message in body["messages"] for block in _listed(message["content"])]
    tools = (("tools", tool) for tool in body.get("tools") or ())
    system = (("system", block) for block in _listed(body.get("system") or ()))
    return _chain((*tools, *system, *messages), "cache_control")


def _listed(content: Any) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _chain(placed: Sequence[tuple[str, Mapping[str, Any]]], mark: str) -> tuple[PromptBlock, ...]:
    """Return the blocks, each with the digest of all of the prompt up to its end.

    Converse has its checkpoint as a block of its own after the cached ones, Anthropic's body as a member of the last
    of them: either way it belongs to the block before it.
    """
    ttls = [_ttl(block[mark]) for _, block in placed if block.get(mark)]
    if not ttls:
        return ()
    _check_order(ttls)
    digest, characters, blocks = blake2b(digest_size=16), 0, []
    for place, block in placed:
        point = block.get(mark)
        content = {name: value for name, value in block.items() if name != mark}
        if content:
            text = json.dumps([place, content], sort_keys=True)
            digest.update(text.encode())
            characters += len(text)
            blocks.append(PromptBlock(digest.digest(), characters))
        if point and blocks:
            blocks[-1] = replace(blocks[-1], ttl=_ttl(point))
    return tuple(blocks)


def _check_order(ttls: Sequence[str]) -> None:
    """Refuse too many checkpoints, or a longer life after a shorter, in the words of the models' maker."""
    said = "The model returned the following errors:"
    if len(ttls) > MOST_CHECKPOINTS:
        raise invalid(
            f"{said} A maximum of {MOST_CHECKPOINTS} blocks with cache_control may be provided. Found {len(ttls)}."
        )
    if ("5m", "1h") in pairwise(ttls):
        raise invalid(
            f"{said} a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that "
            "blocks are processed in the following order: `tools`, `system`, `messages`."
        )


def _ttl(point: Any) -> str:
    ttl = point.get("ttl") if isinstance(point, Mapping) else None
    return ttl if isinstance(ttl, str) and ttl in TTL_SECONDS else DEFAULT_TTL
