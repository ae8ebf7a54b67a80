"""How a model that only writes text calls tools: what it is told, what it may write, and what that means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace

from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Item, Items, Piece, StopReason, Tool

CALL_MARK = "<tool_call>"  # how a call begins; no answer in plain text begins with its first character

_TOLD = """\
You can call one of these tools. To call a tool, write {mark} and then JSON with its name and its input, such as
{mark}{{"name": "{name}", "input": {{...}}}}, and nothing else. If you need no tool, answer in plain text.

{tools}"""


def told_of_tools(tools: Iterable[Tool]) -> str:
    """Return the part of a system prompt that offers tools; empty for none."""
    specs = [{"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in tools]
    if not specs:
        return ""
    lines = "\n".join(json.dumps(spec, ensure_ascii=False) for spec in specs)
    return _TOLD.format(mark=CALL_MARK, name=specs[0]["name"], tools=lines)


def grammar(request: ChatRequest) -> str | None:
    """Return the grammar of an answer that may call a tool, in llguidance's Lark; None where it need not be bound so.

    The first character decides: a call is JSON that fits the schema of one tool, everything else is text.
    """
    if not request.tools or request.tool_required or request.schema is not None:
        return None
    call = json.dumps(request.call_schema)
    return f'%llguidance {{}}\nstart: TEXT | call\nTEXT: /[^<](.|\\n)*/\ncall: "{CALL_MARK}" %json {call}\n'


def as_blocks(items: Items, request: ChatRequest) -> Items:
    """Turn what a model has written as it was bound into blocks of text and calls."""
    if not request.tools or (request.schema is not None and not request.tool_required):
        return _one_block(items, Block())
    if not request.tool_required:
        return _call_or_text(items)
    if len(request.tools) == 1:
        return _one_block(items, Block("tool_use", request.tools[0].name))
    return _chosen_call(items)


async def _one_block(items: Items, block: Block) -> Items:
    async with aclosing(items):
        async for item in items:
            match item:
                case Begin():
                    yield item
                    yield block
                case Finish(StopReason.END_TURN) if block.kind == "tool_use":
                    yield replace(item, reason=StopReason.TOOL_USE)
                case _:
                    yield item


async def _call_or_text(items: Items) -> Items:
    """Tell a call from text by its mark, as soon as that can be told."""
    head, begun = "", False
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece() if not begun:
                    head += item.text
                    if head.startswith(CALL_MARK):
                        async for rest in _chosen_call(items, head.removeprefix(CALL_MARK)):
                            yield rest
                    elif not CALL_MARK.startswith(head):
                        begun = True
                        yield Block()
                        yield replace(item, text=head)
                case Finish() if not begun:  # cut within the mark, or empty
                    yield Block()
                    yield item
                case _:
                    yield item


async def _chosen_call(items: Items, written: str = "") -> Items:
    """Turn JSON of the form {"name": ..., "input": ...} into a call, at its end; some of it is written already."""
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece():
                    written += item.text
                case Finish():
                    for part in _call(written, item):
                        yield part
                case _:
                    yield item


def _call(written: str, finish: Finish) -> Iterable[Item]:
    try:
        call = json.loads(written)
    except ValueError:  # cut by max_tokens: an answer in text, its stop reason says why
        return Block(), Piece(written, finish.output_tokens), finish
    tool_input = Piece(json.dumps(call["input"], ensure_ascii=False), finish.output_tokens)
    return Block("tool_use", call["name"]), tool_input, replace(finish, reason=StopReason.TOOL_USE)
