"""InvokeModel with Anthropic's Messages body on the wire, whole and streamed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias, cast
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentflow.local import eventstream
from agentflow.local.answers import Answer, Timing, tool_input
from agentflow.local.blocks import document_note, image_note, tool_result_text, tool_use_text
from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Piece, Tool, Turn
from agentflow.local.errors import Refusal, invalid
from agentflow.local.facts import ServedModel
from agentflow.local.prompt_cache import anthropic_blocks


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Text(_Part):
    type: Literal["text"]
    text: Annotated[str, Field(min_length=1)]

    def as_text(self) -> str:
        return self.text


class _ImageSource(_Part):
    type: Literal["base64"]
    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str


class _Image(_Part):
    type: Literal["image"]
    source: _ImageSource

    def as_text(self) -> str:
        return image_note(self.source.media_type.removeprefix("image/"), self.source.data)


class _Document(_Part):
    type: Literal["document"]
    source: dict[str, Any]
    title: str | None = None

    def as_text(self) -> str:
        media_type = str(self.source.get("media_type", "text"))
        data = self.source.get("data") if self.source.get("type") == "base64" else None
        return document_note(self.title or "without a title", media_type.rpartition("/")[2], data)


class _ToolUse(_Part):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]

    def as_text(self) -> str:
        return tool_use_text(self.name, self.input)


class _ToolResult(_Part):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Annotated[_Text | _Image | _Document, Field(discriminator="type")]] = ""
    is_error: bool = False

    def as_text(self) -> str:
        return tool_result_text(_text_of(self.content), failed=self.is_error)


class _Thinking(_Part):
    type: Literal["thinking", "redacted_thinking"]

    def as_text(self) -> str:
        return ""


_AnyBlock: TypeAlias = _Text | _Image | _Document | _ToolUse | _ToolResult | _Thinking
_Block = Annotated[_AnyBlock, Field(discriminator="type")]


class _Message(_Part):
    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1)] | list[_Block]


class _Tool(_Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    description: str | None = None


class _ToolChoice(_Part):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class _Format(_Part):
    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class _OutputConfig(_Part):
    format: _Format | None = None


class _Body(_Part):
    anthropic_version: Literal["bedrock-2023-05-31"]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    system: str | list[_Text] = ""
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop_sequences: list[Annotated[str, Field(min_length=1)]] = []
    tools: list[_Tool] = []
    tool_choice: _ToolChoice | None = None
    output_config: _OutputConfig = _OutputConfig()


def parse(body: object, model: ServedModel) -> ChatRequest:
    """Return the request in an Anthropic Messages body.

    Raises
    ------
    Refusal
        Bedrock would not accept this body, or the model is not one of Anthropic's.
    """
    if not model.model_id.startswith("anthropic."):
        raise invalid(
            f"This local endpoint has InvokeModel for Anthropic's models only: call {model.model_id} by Converse."
        )
    try:
        message = _Body.model_validate(body)
    except ValidationError as error:
        raise _malformed(error) from error
    if message.messages[0].role != "user":
        raise invalid('messages: first message must use the "user" role')
    _check_tool_results(message.messages)
    output_format = message.output_config.format
    tools, tool_required = _offered_tools(message.tools, message.tool_choice)
    return ChatRequest(
        turns=tuple(Turn(turn.role, _text_of(turn.content)) for turn in message.messages),
        system=_text_of(message.system),
        max_tokens=message.max_tokens,
        temperature=message.temperature,
        top_p=message.top_p,
        stop_sequences=tuple(message.stop_sequences),
        schema=output_format.json_schema if output_format else None,
        tools=tools,
        tool_required=tool_required,
        blocks=anthropic_blocks(cast("Mapping[str, Any]", body)),
    )


def response(answer: Answer, _timing: Timing, model: ServedModel) -> Mapping[str, Any]:
    """Return the body of an InvokeModel response."""
    return {
        **_message(model),
        "content": [_content(*block) for block in answer.blocks],
        "stop_reason": answer.finish.reason,
        "stop_sequence": answer.finish.stop_sequence,
        "usage": _usage(answer.begin, answer.finish.output_tokens),
    }


def headers(answer: Answer, timing: Timing) -> Mapping[str, str]:
    """Return the headers that InvokeModel adds to a response, for clients that cannot read the model's body."""
    return {
        "X-Amzn-Bedrock-Input-Token-Count": str(answer.begin.input_tokens),
        "X-Amzn-Bedrock-Output-Token-Count": str(answer.finish.output_tokens),
        "X-Amzn-Bedrock-Invocation-Latency": str(timing.latency_ms),
    }


class Frames:
    """The chunks of one streamed answer, in their order."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._index = 0
        self._block: Block | None = None

    def opening(self, begin: Begin) -> bytes:
        """Return the chunk before the first block."""
        start: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(begin, 1)}
        return _chunk({"type": "message_start", "message": {**_message(self._model), **start}})

    def block(self, block: Block) -> bytes:
        """Return the chunks between two blocks."""
        chunks = self._stop()
        self._block = block
        content = _content(block, "") | ({"signature": ""} if block.kind == "reasoning" else {})
        return chunks + _chunk({"type": "content_block_start", "index": self._index, "content_block": content})

    def delta(self, piece: Piece) -> bytes:
        """Return the chunk of one piece of a block."""
        match self._block:
            case Block(kind="tool_use"):
                return self._delta({"type": "input_json_delta", "partial_json": piece.text})
            case Block(kind="reasoning"):
                return self._delta({"type": "thinking_delta", "thinking": piece.text})
            case _:
                return self._delta({"type": "text_delta", "text": piece.text})

    def closing(self, begin: Begin, finish: Finish, timing: Timing) -> bytes:
        """Return the chunks after the last piece; the last one has Bedrock's own figures."""
        metrics = {
            "inputTokenCount": begin.input_tokens,
            "outputTokenCount": finish.output_tokens,
            "invocationLatency": timing.latency_ms,
            "firstByteLatency": timing.first_byte_ms,
        }
        change = {"stop_reason": finish.reason, "stop_sequence": finish.stop_sequence}
        usage = {"output_tokens": finish.output_tokens}
        return (
            self._stop()
            + _chunk({"type": "message_delta", "delta": change, "usage": usage})
            + _chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
        )

    def _stop(self) -> bytes:
        """Return the chunks that end the block that is open; a signature comes after the thinking that it is of."""
        block, self._block = self._block, None
        if block is None:
            return b""
        chunks = self._delta({"type": "signature_delta", "signature": block.signature}) if block.signature else b""
        chunks += _chunk({"type": "content_block_stop", "index": self._index})
        self._index += 1
        return chunks

    def _delta(self, change: Mapping[str, Any]) -> bytes:
        return _chunk({"type": "content_block_delta", "index": self._index, "delta": change})


def _content(block: Block, text: str) -> dict[str, Any]:
    match block.kind:
        case "tool_use":
            use_id = block.tool_use_id or f"toolu_bdrk_{uuid4().hex[:24]}"
            return {"type": "tool_use", "id": use_id, "name": block.tool_name, "input": tool_input(text)}
        case "reasoning":
            return {"type": "thinking", "thinking": text, "signature": block.signature}
        case "text":
            return {"type": "text", "text": text}


def _chunk(data: Mapping[str, Any]) -> bytes:
    return eventstream.event("chunk", {"bytes": base64.b64encode(json.dumps(data).encode()).decode()})


def _message(model: ServedModel) -> Mapping[str, Any]:
    name = model.model_id.removeprefix("anthropic.").partition("-v1:")[0]  # as Anthropic itself calls the model
    return {"id": f"msg_bdrk_{uuid4().hex[:24]}", "type": "message", "role": "assistant", "model": name}


def _usage(begin: Begin, output_tokens: int) -> Mapping[str, int]:
    return {
        "input_tokens": begin.input_tokens,
        "cache_creation_input_tokens": begin.cache.write_tokens if begin.cache else 0,
        "cache_read_input_tokens": begin.cache.read_tokens if begin.cache else 0,
        "output_tokens": output_tokens,
    }


def _text_of(content: str | Sequence[_AnyBlock]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (block.as_text() for block in content)))


def _check_tool_results(messages: Sequence[_Message]) -> None:
    """Refuse a tool call that the next message does not answer."""
    for number, (message, following) in enumerate(pairwise(messages)):
        answered = {block.tool_use_id for block in _listed(following.content) if isinstance(block, _ToolResult)}
        calls = [block.id for block in _listed(message.content) if isinstance(block, _ToolUse)]
        if missing := [call for call in calls if call not in answered]:
            raise invalid(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )


def _listed(content: str | Sequence[_AnyBlock]) -> Sequence[_AnyBlock]:
    return () if isinstance(content, str) else content


def _offered_tools(given: Iterable[_Tool], choice: _ToolChoice | None) -> tuple[tuple[Tool, ...], bool]:
    """Return the tools that the answer may call, and whether it must call one."""
    tools = tuple(Tool(tool.name, tool.input_schema, tool.description or "") for tool in given)
    if choice is None or choice.type == "auto":
        return tools, False
    if choice.type == "none":
        return (), False
    required = tuple(tool for tool in tools if choice.type == "any" or tool.name == choice.name)
    if not required:
        raise invalid(f"tool_choice: the tool {choice.name or ''} is not one of tools")
    return required, True


def _malformed(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return invalid(
            f"Malformed input request: #: required key [{where}] not found, please reformat your input and try again."
        )
    return invalid(f"{where}: {first['msg']}" if where else f"Malformed input request: {first['msg']}")
