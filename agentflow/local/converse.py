"""Converse and ConverseStream on the wire: a body to a `ChatRequest`, an answer to a body or to events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from agentflow.local import eventstream
from agentflow.local.answers import Answer, Timing, tool_input
from agentflow.local.blocks import document_note, image_note, tool_result_text, tool_use_text
from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Piece, Tool, Turn
from agentflow.local.converse_rules import check_documents, check_tool_results, check_tool_schemas
from agentflow.local.errors import invalid
from agentflow.local.facts import ServedModel
from agentflow.local.prompt_cache import converse_blocks
from agentflow.local.shapes import check


def parse(body: object, _model: ServedModel) -> ChatRequest:
    """Return the request in a Converse body.

    Raises
    ------
    Refusal
        Bedrock would not accept this body.
    """
    check(body, "Converse")
    fields = _present(body)
    settings = _present(fields.get("inferenceConfig"))
    extra = _present(fields.get("additionalModelRequestFields"))
    tools, tool_required = _tools(_present(fields.get("toolConfig")))
    return ChatRequest(
        turns=_turns(fields),
        system="\n".join(filter(None, (_block_text(block, "system") for block in fields.get("system", ())))),
        max_tokens=settings.get("maxTokens"),
        temperature=settings.get("temperature"),
        top_p=settings.get("topP"),
        stop_sequences=tuple(settings.get("stopSequences", ())),
        seed=extra["seed"] if isinstance(extra.get("seed"), int) else None,
        schema=_answer_schema(_present(fields.get("outputConfig"))),
        tools=tools,
        tool_required=tool_required,
        blocks=converse_blocks(fields),
    )


def response(answer: Answer, timing: Timing, _model: ServedModel) -> Mapping[str, Any]:
    """Return the body of a Converse response."""
    return {
        "output": {"message": {"role": "assistant", "content": [_content(*block) for block in answer.blocks]}},
        "stopReason": answer.finish.reason,
        **_accounts(answer.begin, answer.finish, timing),
    }


def headers(_answer: Answer, _timing: Timing) -> Mapping[str, str]:
    """Return the headers of a response beyond the common ones: Converse has none."""
    return {}


class Frames:
    """The events of one streamed answer, in their order."""

    def __init__(self, _model: ServedModel) -> None:
        self._index = 0
        self._block: Block | None = None

    def opening(self, _begin: Begin) -> bytes:
        """Return the events before the first block."""
        return eventstream.event("messageStart", {"role": "assistant"})

    def block(self, block: Block) -> bytes:
        """Return the events between two blocks. Only a tool's block is announced, by `contentBlockStart`."""
        frames = self._stop()
        self._block = block
        if block.kind == "tool_use":
            start = {"toolUse": {"toolUseId": block.tool_use_id or _tool_use_id(), "name": block.tool_name}}
            frames += eventstream.event("contentBlockStart", {"contentBlockIndex": self._index, "start": start})
        return frames

    def delta(self, piece: Piece) -> bytes:
        """Return the event of one piece of a block."""
        match self._block:
            case Block(kind="tool_use"):
                return self._delta({"toolUse": {"input": piece.text}})
            case Block(kind="reasoning"):
                return self._delta({"reasoningContent": {"text": piece.text}})
            case _:
                return self._delta({"text": piece.text})

    def closing(self, begin: Begin, finish: Finish, timing: Timing) -> bytes:
        """Return the events after the last piece; usage comes last of all, in `metadata`."""
        return (
            self._stop()
            + eventstream.event("messageStop", {"stopReason": finish.reason})
            + eventstream.event("metadata", _accounts(begin, finish, timing))
        )

    def _stop(self) -> bytes:
        """Return the events that end the block that is open; a signature comes after the reasoning that it is of."""
        block, self._block = self._block, None
        if block is None:
            return b""
        frames = self._delta({"reasoningContent": {"signature": block.signature}}) if block.signature else b""
        frames += eventstream.event("contentBlockStop", {"contentBlockIndex": self._index})
        self._index += 1
        return frames

    def _delta(self, change: Mapping[str, Any]) -> bytes:
        return eventstream.event("contentBlockDelta", {"contentBlockIndex": self._index, "delta": change})


def _content(block: Block, text: str) -> Mapping[str, Any]:
    match block.kind:
        case "tool_use":
            use_id = block.tool_use_id or _tool_use_id()
            return {"toolUse": {"toolUseId": use_id, "name": block.tool_name, "input": tool_input(text)}}
        case "reasoning":
            signature = {"signature": block.signature} if block.signature else {}
            return {"reasoningContent": {"reasoningText": {"text": text, **signature}}}
        case "text":
            return {"text": text}


def _accounts(begin: Begin, finish: Finish, timing: Timing) -> Mapping[str, Any]:
    usage: dict[str, Any] = {
        "inputTokens": begin.input_tokens,
        "outputTokens": finish.output_tokens,
        "totalTokens": begin.input_tokens + finish.output_tokens,
    }
    if cache := begin.cache:
        usage["totalTokens"] += cache.read_tokens + cache.write_tokens
        usage |= {"cacheReadInputTokens": cache.read_tokens, "cacheWriteInputTokens": cache.write_tokens}
        written = (("1h", cache.write_1h_tokens), ("5m", cache.write_5m_tokens))
        if details := [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in written if tokens]:
            usage["cacheDetails"] = details
    return {"usage": usage, "metrics": {"latencyMs": timing.latency_ms}}


def _tool_use_id() -> str:
    return f"tooluse_{uuid4().hex[:22]}"


def _present(fields: Any) -> Mapping[str, Any]:
    """Return the members that are not null; AWS reads null as absent."""
    return {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else {}


def _turns(fields: Mapping[str, Any]) -> tuple[Turn, ...]:
    messages = fields.get("messages", ())
    if not messages or messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        if message["role"] not in ("user", "assistant"):
            raise invalid("This model doesn't support the system role in messages. Use the system field instead.")
        if turns and turns[-1].role == message["role"]:
            raise invalid(
                "A conversation must alternate between user and assistant roles. Make sure the conversation "
                "alternates between user and assistant roles and try again."
            )
        turns.append(Turn(message["role"], _message_text(message["content"], number, "toolConfig" in fields)))
    contents = [message["content"] for message in messages]
    check_documents(contents)
    check_tool_results(contents)
    return tuple(turns)


def _message_text(blocks: Iterable[Mapping[str, Any]], number: int, has_tools: bool) -> str:
    texts = []
    for place, given in enumerate(blocks):
        block = _present(given)
        where = f"messages.{number}.content.{place}"
        if "text" in block and not block["text"].strip():
            raise invalid(
                f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, "
                "and try again."
            )
        if not has_tools and block.keys() & {"toolUse", "toolResult"}:
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        texts.append(_block_text(block, where))
    if not texts:
        raise invalid(
            f"The content field in the Message object at messages.{number} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    return "\n".join(filter(None, texts))


def _block_text(block: Mapping[str, Any], where: str) -> str:
    kind, value = next(iter(_present(block).items()))
    if kind not in _TEXT_OF_BLOCK:
        raise invalid(f"This model doesn't support the {kind} content block at {where}. Remove it and try again.")
    return _TEXT_OF_BLOCK[kind](value)


def _image_text(image: Mapping[str, Any]) -> str:
    data = image["source"].get("bytes")
    if data is None:
        raise invalid("This local endpoint cannot fetch images from Amazon S3. Send the image's bytes instead.")
    return image_note(image["format"], data)


def _tool_result_text(result: Mapping[str, Any]) -> str:
    parts = (_block_text(block, "toolResult") for block in result["content"])
    return tool_result_text("\n".join(parts), failed=result.get("status") == "error")


_TEXT_OF_BLOCK: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "image": _image_text,
    "document": lambda document: document_note(
        document["name"], document.get("format") or "of no format", document["source"].get("bytes")
    ),
    "toolUse": lambda call: tool_use_text(call["name"], call["input"]),
    "toolResult": _tool_result_text,
    "guardContent": lambda guarded: _present(guarded.get("text")).get("text", ""),
    "reasoningContent": lambda _reasoning: "",
    "cachePoint": lambda _point: "",
}


def _answer_schema(output: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not (text_format := output.get("textFormat")):
        return None
    try:
        schema = json.loads(text_format["structure"]["jsonSchema"]["schema"])
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise invalid("The schema in outputConfig.textFormat.structure.jsonSchema is not a JSON object.")
    return schema


def _tools(config: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    """Return the tools that the answer may call, and whether it must call one."""
    check_tool_schemas(config.get("tools", ()))
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if tool.get("toolSpec")]
    tools = tuple(Tool(spec["name"], spec["inputSchema"]["json"], spec.get("description") or "") for spec in specs)
    choice = _present(config.get("toolChoice"))
    if "tool" not in choice:
        return tools, "any" in choice
    chosen = tuple(tool for tool in tools if tool.name == choice["tool"]["name"])
    if not chosen:
        raise invalid(f"The tool {choice['tool']['name']} in toolConfig.toolChoice is not one of toolConfig.tools.")
    return chosen, True
