"""From a model's items to the answer a client gets: stop sequences, and the whole of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Items, LocalModel, Piece, StopReason


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an answer took since its request arrived."""

    first_byte_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: its blocks, each with its text or the JSON input of a tool."""

    begin: Begin
    blocks: tuple[tuple[Block, str], ...]
    finish: Finish

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(text for block, text in self.blocks if block.kind == "text")


def tool_input(text: str) -> Any:
    """Return the input of a tool call; empty where the answer was cut before its end."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


def answer(model: LocalModel, request: ChatRequest) -> Items:
    """Return the items of the model's answer, with stop sequences applied."""
    items = model.answer(request)
    return until_stop(items, request.stop_sequences) if request.stop_sequences else items


async def collect(items: Items) -> Answer:
    """Wait for the end of an answer."""
    begin, finish = Begin(0), Finish(StopReason.END_TURN, 0)
    blocks: list[tuple[Block, list[str]]] = []
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece():
                    blocks[-1][1].append(item.text)
                case Block():
                    blocks.append((item, []))
                case Begin():
                    begin = item
                case Finish():
                    finish = item
    return Answer(begin, tuple((block, "".join(texts)) for block, texts in blocks), finish)


async def until_stop(items: Items, stop_sequences: Iterable[str]) -> Items:
    """End the answer before the first stop sequence in its text, and the model's work with it."""
    held = ""  # text that may yet turn out to be the beginning of a stop sequence
    in_text, tokens = False, 0
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece(text, tokens) if in_text:
                    held += text
                    found = [(at, stop) for stop in stop_sequences if (at := held.find(stop)) >= 0]
                    if found:
                        at, stop = min(found)
                        if at:
                            yield Piece(held[:at], tokens)
                        yield Finish(StopReason.STOP_SEQUENCE, tokens, stop)
                        return
                    sure = len(held) - _beginning_of_stop(held, stop_sequences)
                    if sure:
                        yield Piece(held[:sure], tokens)
                        held = held[sure:]
                case Block() | Finish():
                    if held:
                        yield Piece(held, tokens)
                        held = ""
                    in_text = isinstance(item, Block) and item.kind == "text"
                    yield item
                case _:
                    yield item


def _beginning_of_stop(text: str, stop_sequences: Iterable[str]) -> int:
    """Return the length of the longest end of the text with which a stop sequence begins."""
    ends = (size for stop in stop_sequences for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return max(ends, default=0)
