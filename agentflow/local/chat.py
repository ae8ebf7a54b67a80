"""What the endpoint and its models say to each other: a request, and an answer that comes in items.

The wire formats (`converse`, `anthropic`) turn bodies into a `ChatRequest` and items into bytes; a model
(`llama`, `scripted`) knows nothing of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias


class StopReason(StrEnum):
    """Why an answer ended; Converse and Anthropic's body use the same words."""

    END_TURN = "end_turn"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_USE = "tool_use"
    CONTEXT_EXCEEDED = "model_context_window_exceeded"
    MALFORMED_TOOL_USE = "malformed_tool_use"
    MALFORMED_MODEL_OUTPUT = "malformed_model_output"
    GUARDRAIL_INTERVENED = "guardrail_intervened"  # this and the next: by a script only
    CONTENT_FILTERED = "content_filtered"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, its blocks rendered as text."""

    role: str  # "user" or "assistant"
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the answer may call, with the JSON schema of its input."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True, slots=True)
class PromptBlock:
    """One block of a prompt that is to be cached, in the order tools, system, messages."""

    digest: bytes  # of the whole prompt up to the end of this block
    characters: int  # of the whole prompt up to the end of this block, as JSON
    ttl: str | None = None  # "5m" or "1h": a checkpoint follows this block


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request, whichever wire format it came in. None: the request does not say."""

    turns: tuple[Turn, ...]
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None  # the answer must be JSON of this schema
    tools: tuple[Tool, ...] = ()  # those that the answer may call
    tool_required: bool = False  # it must call one of them
    blocks: tuple[PromptBlock, ...] = ()  # empty where the prompt has no checkpoint
    streamed: bool = False  # whether anyone sees the pieces of the answer as they come

    @property
    def answer_schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the model's text must obey, None for free text."""
        if not self.tool_required:
            return self.schema
        return self.tools[0].schema if len(self.tools) == 1 else self.call_schema

    @property
    def call_schema(self) -> Mapping[str, Any]:
        """The JSON schema of a call of any of the tools: its name and its input."""
        return {
            "$defs": {f"tool_{number}": _moved(tool.schema, number) for number, tool in enumerate(self.tools)},
            "anyOf": [_named_call(tool, number) for number, tool in enumerate(self.tools)],
        }


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Tokens of a prompt that came from the prompt cache, and that went into it for 5 minutes or 1 hour."""

    read_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0

    @property
    def write_tokens(self) -> int:
        """All that was written."""
        return self.write_5m_tokens + self.write_1h_tokens


@dataclass(frozen=True, slots=True)
class Begin:
    """The prompt is read: first item of every answer."""

    input_tokens: int  # from a model all of the prompt's; to a client those that the cache has no part in
    cache: CacheUse | None = None  # None: the request has no checkpoint


@dataclass(frozen=True, slots=True)
class Block:
    """A content block begins: the pieces up to the next one are its text, or the JSON input of a tool."""

    kind: Literal["text", "tool_use", "reasoning"] = "text"
    tool_name: str = ""
    tool_use_id: str = ""  # empty: the wire format makes one
    signature: str = ""  # of reasoning


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a block's text, and how many tokens the answer has up to its end."""

    text: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The last item of every complete answer."""

    reason: StopReason
    output_tokens: int
    stop_sequence: str | None = None


Item: TypeAlias = Begin | Block | Piece | Finish
Items: TypeAlias = AsyncGenerator[Item, None]


class LocalModel(Protocol):
    """Something that answers. Closing the generator early stops the work behind it."""

    @property
    def label(self) -> str:
        """The name that replies and tables show."""

    async def count_tokens(self, request: ChatRequest) -> int:
        """Return the tokens of a prompt, which a token quota reserves before the answer."""

    def answer(self, request: ChatRequest) -> Items:
        """Answer one request; refuse it by raising `Refusal` before the first item."""

    def close(self) -> bool:
        """Stop all work; return whether every thread of the model has ended."""


def _named_call(tool: Tool, number: int) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "input": {"$ref": f"#/$defs/tool_{number}"}},
        "required": ["name", "input"],
        "additionalProperties": False,
    }


def _moved(schema: Any, number: int) -> Any:
    """Return a tool's schema with its references within itself as they are where it has become a definition."""
    if isinstance(schema, list):
        return [_moved(part, number) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    here = isinstance(reference, str) and reference.startswith("#")
    moved = {"$ref": f"#/$defs/tool_{number}{str(reference)[1:]}"} if here else {}
    return {name: _moved(part, number) for name, part in schema.items()} | moved
