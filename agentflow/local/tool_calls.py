"""How a model that only writes text calls tools: what it is told, what it may write, and what that means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Item, Items, Piece, StopReason, Tool

CALL_MARK = "<tool_call>"  # how a call begins; no answer in plain text begins with its first character

#: Bedrock takes tools with any JSON schema: what the grammar cannot bind is left unbound, not refused.
_LENIENT = {"x-guidance": {"lenient": True}}

_MALFORMED = StopReason.MALFORMED_TOOL_USE

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
    call = json.dumps({**request.call_schema, **_LENIENT})
    return f'%llguidance {{}}\nstart: TEXT | call\nTEXT: /[^<](.|\\n)*/\ncall: "{CALL_MARK}" %json {call}\n'


def bound_schema(request: ChatRequest) -> Mapping[str, Any] | None:
    """Return the schema of the JSON that the answer must be, None where it need not be JSON."""
    if request.answer_schema is None or not request.tool_required:
        return request.answer_schema
    return {**request.answer_schema, **_LENIENT}


def as_blocks(items: Items, request: ChatRequest) -> Items:
    """Turn what a model has written as it was bound into blocks of text and calls."""
    if request.tool_required:
        if len(request.tools) > 1:
            return _chosen_call(items, request)
        return _one_block(items, Block("tool_use", request.tools[0].name), StopReason.TOOL_USE, _MALFORMED)
    if request.schema is not None:
        return _one_block(items, Block(), StopReason.END_TURN, StopReason.MALFORMED_MODEL_OUTPUT)
    return _call_or_text(items, request) if request.tools else _one_block(items, Block(), StopReason.END_TURN)


async def _one_block(items: Items, block: Block, well: StopReason, badly: StopReason | None = None) -> Items:
    """Make one block of an answer; where it should be JSON and is none, its stop reason says so."""
    written = ""
    async with aclosing(items):
        async for item in items:
            match item:
                case Begin():
                    yield item
                    yield block
                case Finish(StopReason.END_TURN):
                    yield replace(item, reason=well if badly is None or _is_json(written) else badly)
                case Piece():
                    written += item.text
                    yield item
                case _:
                    yield item


async def _call_or_text(items: Items, request: ChatRequest) -> Items:
    """Tell a call from text by its mark, as soon as that can be told."""
    head, begun = "", False
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece() if not begun:
                    head += item.text
                    if head.startswith(CALL_MARK):
                        async for rest in _chosen_call(items, request, head.removeprefix(CALL_MARK)):
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


async def _chosen_call(items: Items, request: ChatRequest, written: str = "") -> Items:
    """Turn JSON of the form {"name": ..., "input": ...} into a call, at its end; some of it is written already."""
    async with aclosing(items):
        async for item in items:
            match item:
                case Piece():
                    written += item.text
                case Finish():
                    for part in _call(written, request, item):
                        yield part
                case _:
                    yield item


def _call(written: str, request: ChatRequest, finish: Finish) -> Iterable[Item]:
    try:
        call = json.loads(written)
        block, tool_input = Block("tool_use", call["name"]), call["input"]
    except (ValueError, TypeError, LookupError):
        block = None
    if block is None or block.tool_name not in [tool.name for tool in request.tools]:
        # Cut by max_tokens, or a schema that no grammar could be made of, which llama.cpp does not tell.
        malformed = replace(finish, reason=_MALFORMED) if finish.reason == StopReason.END_TURN else finish
        return Block(), Piece(written, finish.output_tokens), malformed
    text = Piece(json.dumps(tool_input, ensure_ascii=False), finish.output_tokens)
    return block, text, replace(finish, reason=StopReason.TOOL_USE)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
