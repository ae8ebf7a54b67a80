"""From a model's raw items to the answer a client gets: stop sequences, tool calls, the whole of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from agentflow.local.chat import Begin, ChatRequest, Finish, Items, LocalModel, Piece, StopReason


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an answer took since its request arrived."""

    first_byte_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer."""

    begin: Begin
    text: str
    finish: Finish

    @property
    def tool_input(self) -> Any:
        """The input of a tool call; empty where the answer was cut before its end."""
        try:
            return json.loads(self.text)
        except ValueError:
            return {}


def answer(model: LocalModel, request: ChatRequest) -> Items:
    """Return the items of the model's answer, with stop sequences and forced tools applied."""
    items = until_stop(model.answer(request), request.stop_sequences)
    if not request.forced_tools:
        return items
    if len(request.forced_tools) == 1:
        return _call_of(items, request.forced_tools[0].name)
    return _chosen_call(items)


async def collect(items: Items) -> Answer:
    """Wait for the end of an answer."""
    begin, pieces, finish = Begin(0), [], Finish(StopReason.END_TURN, 0)
    async with aclosing(items):
        async for item in items:
            match item:
                case Begin():
                    begin = item
                case Piece():
                    pieces.append(item.text)
                case Finish():
                    finish = item
    return Answer(begin, "".join(pieces), finish)


async def until_stop(items: Items, stop_sequences: Iterable[str]) -> Items:
    """End the answer before the first stop sequence, and the model's work with it."""
    held = ""  # text that may yet turn out to be the beginning of a stop sequence
    async with aclosing(items):
        async for item in items:
            match item:
                case Begin():
                    yield item
                case Piece(text, output_tokens):
                    held += text
                    found = [(at, stop) for stop in stop_sequences if (at := held.find(stop)) >= 0]
                    if found:
                        at, stop = min(found)
                        if at:
                            yield Piece(held[:at], output_tokens)
                        yield Finish(StopReason.STOP_SEQUENCE, output_tokens, stop)
                        return
                    sure = len(held) - _beginning_of_stop(held, stop_sequences)
                    if sure:
                        yield Piece(held[:sure], output_tokens)
                        held = held[sure:]
                case Finish():
                    if held:
                        yield Piece(held, item.output_tokens)
                    yield item


def _beginning_of_stop(text: str, stop_sequences: Iterable[str]) -> int:
    """Return the length of the longest end of the text with which a stop sequence begins."""
    ends = (size for stop in stop_sequences for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return max(ends, default=0)


async def _call_of(items: Items, tool_name: str) -> Items:
    """Turn an answer that is the input of one tool into a call of it."""
    async with aclosing(items):
        async for item in items:
            match item:
                case Begin():
                    yield replace(item, tool_name=tool_name)
                case Finish(StopReason.END_TURN):
                    yield replace(item, reason=StopReason.TOOL_USE)
                case _:
                    yield item


async def _chosen_call(items: Items) -> Items:
    """Turn an answer of the form {"name": ..., "input": ...} into a call; the name is known only at its end."""
    whole = await collect(items)
    try:
        call = json.loads(whole.text)
    except ValueError:  # cut by max_tokens or a stop sequence: an answer in text, its stop reason says why
        yield whole.begin
        yield Piece(whole.text, whole.finish.output_tokens)
        yield whole.finish
        return
    yield replace(whole.begin, tool_name=call["name"])
    yield Piece(json.dumps(call["input"], ensure_ascii=False), whole.finish.output_tokens)
    yield replace(whole.finish, reason=StopReason.TOOL_USE)
