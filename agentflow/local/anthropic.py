"""InvokeModel with Anthropic's Messages body on the wire, whole and streamed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, cast
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentflow.local import eventstream
from agentflow.local.answers import Answer, Timing
from agentflow.local.blocks import document_note, image_note, tool_result_text, tool_use_text
from agentflow.local.chat import Begin, ChatRequest, Finish, Piece, Tool, Turn
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
        return document_note(self.title or "without a title", media_type.rpartition("/")[2])


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


_Block = Annotated[_Text | _Image | _Document | _ToolUse | _ToolResult | _Thinking, Field(discriminator="type")]


class _Message(_Part):
    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1)] | list[_Block]


class _Tool(_Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]


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
    output_format = message.output_config.format
    return ChatRequest(
        turns=tuple(Turn(turn.role, _text_of(turn.content)) for turn in message.messages),
        system=_text_of(message.system),
        max_tokens=message.max_tokens,
        temperature=message.temperature,
        top_p=message.top_p,
        stop_sequences=tuple(message.stop_sequences),
        schema=output_format.json_schema if output_format else None,
        forced_tools=_forced_tools(message.tools, message.tool_choice),
        blocks=anthropic_blocks(cast("Mapping[str, Any]", body)),
    )


def response(answer: Answer, _timing: Timing, model: ServedModel) -> Mapping[str, Any]:
    """Return the body of an InvokeModel response."""
    block: Mapping[str, Any] = {"type": "text", "text": answer.text}
    if answer.begin.tool_name:
        block = {**_tool_use(answer.begin.tool_name), "input": answer.tool_input}
    return {
        **_message(model),
        "content": [block],
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


def opening(begin: Begin, model: ServedModel) -> bytes:
    """Return the chunks before the first text."""
    message = {**_message(model), "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(begin, 1)}
    block = _tool_use(begin.tool_name) if begin.tool_name else {"type": "text", "text": ""}
    return _chunk({"type": "message_start", "message": message}) + _chunk(
        {"type": "content_block_start", "index": 0, "content_block": block}
    )


def delta(piece: Piece, begin: Begin) -> bytes:
    """Return the chunk of one piece of text or of a tool's input."""
    change = {"type": "text_delta", "text": piece.text}
    if begin.tool_name:
        change = {"type": "input_json_delta", "partial_json": piece.text}
    return _chunk({"type": "content_block_delta", "index": 0, "delta": change})


def closing(begin: Begin, finish: Finish, timing: Timing) -> bytes:
    """Return the chunks after the last text; the last one has Bedrock's own figures."""
    metrics = {
        "inputTokenCount": begin.input_tokens,
        "outputTokenCount": finish.output_tokens,
        "invocationLatency": timing.latency_ms,
        "firstByteLatency": timing.first_byte_ms,
    }
    change = {"stop_reason": finish.reason, "stop_sequence": finish.stop_sequence}
    usage = {"output_tokens": finish.output_tokens}
    return (
        _chunk({"type": "content_block_stop", "index": 0})
        + _chunk({"type": "message_delta", "delta": change, "usage": usage})
        + _chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
    )


def _chunk(data: Mapping[str, Any]) -> bytes:
    return eventstream.event("chunk", {"bytes": base64.b64encode(json.dumps(data).encode()).decode()})


def _message(model: ServedModel) -> Mapping[str, Any]:
    name = model.model_id.removeprefix("anthropic.").partition("-v1:")[0]  # as Anthropic itself calls the model
    return {"id": f"msg_bdrk_{uuid4().hex[:24]}", "type": "message", "role": "assistant", "model": name}


def _tool_use(name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_bdrk_{uuid4().hex[:24]}", "name": name, "input": {}}


def _usage(begin: Begin, output_tokens: int) -> Mapping[str, int]:
    return {
        "input_tokens": begin.input_tokens,
        "cache_creation_input_tokens": begin.cache.write_tokens if begin.cache else 0,
        "cache_read_input_tokens": begin.cache.read_tokens if begin.cache else 0,
        "output_tokens": output_tokens,
    }


def _text_of(content: str | Sequence[_Text | _Image | _Document | _ToolUse | _ToolResult | _Thinking]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (block.as_text() for block in content)))


def _forced_tools(tools: Iterable[_Tool], choice: _ToolChoice | None) -> tuple[Tool, ...]:
    if choice is None or choice.type in ("auto", "none"):
        return ()
    forced = tuple(
        Tool(tool.name, tool.input_schema) for tool in tools if choice.type == "any" or tool.name == choice.name
    )
    if not forced:
        raise invalid(f"tool_choice: the tool {choice.name or ''} is not one of tools")
    return forced


def _malformed(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return invalid(
            f"Malformed input request: #: required key [{where}] not found, please reformat your input and try again."
        )
    return invalid(f"{where}: {first['msg']}" if where else f"Malformed input request: {first['msg']}")
