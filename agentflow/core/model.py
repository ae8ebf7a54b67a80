"""The Model port: what a step asks a model, what comes back, and the protocol that a client fills."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, get_args

from agentflow.core.content import Block, CacheTime, Content, check_content
from agentflow.core.errors import DefinitionError

DEFAULT_MAX_TOKENS = 1024
ANSWER_TOOL = "answer"  # what a model is made to call where it takes no schema as such; no other tool has its name
ABANDONED = "Cancelled"  # in the place of an error code: the wait was cancelled, by a timeout, a failure or a person

ServiceTier: TypeAlias = Literal["priority", "default", "flex", "reserved"]
Latency: TypeAlias = Literal["standard", "optimized"]
Trace: TypeAlias = Literal["enabled", "disabled", "enabled_full"]
StreamMode: TypeAlias = Literal["sync", "async"]

# Source: botocore's service model `bedrock-runtime`, GuardrailIdentifier, GuardrailVersion; not empty.
GUARDRAIL_IDENTIFIER = r"([a-z0-9]+)|(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+)"
GUARDRAIL_VERSION = r"([1-9][0-9]{0,7})|(DRAFT)"


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the conversation before the prompt.

    Attributes
    ----------
    content : text, or blocks in order. An answer of the model goes back as it came: `Turn("assistant", reply.content)`
        keeps its reasoning and the tools that it asked for.
    """

    role: Literal["user", "assistant"]
    content: str | Sequence[Block | Mapping[str, Any]] = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it: its name, what it does, and the JSON schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A model wants a tool to be called with these arguments: their text where they are no JSON object."""

    tool_use_id: str
    name: str
    arguments: Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A guardrail of Bedrock's that prompt and answer have to pass.

    Attributes
    ----------
    identifier : its id or ARN.
    version : a number, or `DRAFT`.
    trace : whether `Reply.trace` says what it found.
    stream_mode : of a streamed answer: `sync` holds text back until it is checked, `async` may show it before.

    Raises
    ------
    DefinitionError
        Bedrock takes no such identifier, version or mode.
    """

    identifier: str
    version: str
    trace: Trace = "disabled"
    stream_mode: StreamMode = "sync"

    def __post_init__(self) -> None:
        for name, pattern, fix in (
            ("identifier", GUARDRAIL_IDENTIFIER, "Give its id, of small letters and digits, or its ARN."),
            ("version", GUARDRAIL_VERSION, "Give a number as text, such as '1', or 'DRAFT'."),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                raise DefinitionError(f"Guardrail({name}={value!r}) is no {name} of a guardrail.", fix=fix)
        for name, known in (("trace", get_args(Trace)), ("stream_mode", get_args(StreamMode))):
            if (value := getattr(self, name)) not in known:
                raise DefinitionError(f"Guardrail({name}={value!r}) is none.", fix=f"Give one of {', '.join(known)}.")


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model, in AgentFlow's own terms.

    Attributes
    ----------
    prompt : the user's message: text, or texts, attachments, cache points and results of tools in order.
    max_tokens : the most tokens that the answer may have; always sent, since Bedrock reserves quota by it.
    system : the system prompt, or None.
    temperature : 0 to 1, or None for the model's default.
    stop_sequences : texts that end the answer.
    output_schema : a JSON schema that the answer has to follow, or None for free text.
    turns : what was said before the prompt, such as examples; user and assistant in turn.
    top_p : 0 to 1, or None for the model's default.
    tools : what the model may ask for; the answer's `tool_uses` has what it did ask for.
    cache_tools, cache_system : put a point of the prompt cache behind the tools, behind the system prompt.
    guardrail : what prompt and answer have to pass.
    service_tier : `priority`, `default`, `flex` or `reserved`.
    latency : `optimized` for a faster and dearer answer, where a model has that.
    effort : how much a model thinks, in its own words, such as `low`.
    extra_fields : parameters of the model that Converse has no name for, such as ``{"top_k": 50}``.
    response_fields : JSON pointers to what `Reply.response_fields` is to have, such as ``/stop_sequence``.

    Raises
    ------
    InputError
        The prompt is nothing that Bedrock takes, such as a document without text.
    """

    prompt: Content
    max_tokens: int = DEFAULT_MAX_TOKENS
    system: str | None = None
    temperature: float | None = None
    stop_sequences: Sequence[str] = ()
    output_schema: Mapping[str, Any] | None = None
    turns: tuple[Turn, ...] = ()
    top_p: float | None = None
    tools: tuple[ToolSpec, ...] = ()
    cache_tools: CacheTime | None = None
    cache_system: CacheTime | None = None
    guardrail: Guardrail | None = None
    service_tier: ServiceTier | None = None
    latency: Latency | None = None
    effort: str | None = None
    extra_fields: Mapping[str, Any] | None = None
    response_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_content(self.prompt)

    @property
    def messages(self) -> tuple[Turn, ...]:
        """The whole conversation, with the prompt as its last message."""
        return (*self.turns, Turn("user", self.prompt))

    def answered(self, content: Sequence[Mapping[str, Any]], prompt: Content) -> Request:
        """Return the request that goes on after an answer, of this content, with another prompt."""
        return replace(self, turns=(*self.messages, Turn("assistant", content)), prompt=prompt)


class RequestOptions(TypedDict, total=False):
    """What a call may say beside model and prompt; see `Request`."""

    max_tokens: int
    system: str | None
    temperature: float | None
    stop_sequences: Sequence[str]
    output_schema: Mapping[str, Any] | None
    turns: Sequence[Turn]
    top_p: float | None
    tools: Sequence[ToolSpec]
    cache_tools: CacheTime | None
    cache_system: CacheTime | None
    guardrail: Guardrail | None
    service_tier: ServiceTier | None
    latency: Latency | None
    effort: str | None
    extra_fields: Mapping[str, Any] | None
    response_fields: Sequence[str]


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a call as Bedrock counts them: `input_tokens` leaves out cached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0  # the part of cache_write_tokens that is kept for an hour

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent for a call.

    Attributes
    ----------
    number : 1 for the first.
    started_at : in UTC.
    latency_ms : from sending to the end of the answer or the error.
    error_code : AWS's code, or the name of the exception where there was no answer; `ABANDONED` where nobody waited
        for it any longer, so that it may still be answered and billed; None if it was answered.
    wait_ms : the pause that followed, before the next attempt.
    may_cost_usd : the most that it can have cost where nobody knows, since it was given up or broke off; 0 where it
        cost nothing or its reply says what; None where its price is not known.
    region : that was asked; None where an older AgentFlow did not write it down.
    reason : why another region or model was asked than the attempt before, or than the client's first region; empty
        where none was.
    """

    number: int
    started_at: datetime
    latency_ms: float
    error_code: str | None = None
    http_status: int | None = None
    request_id: str | None = None
    wait_ms: float = 0.0
    may_cost_usd: Decimal | None = Decimal(0)
    region: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer comes from that was given before: the run and the step that paid for it, and when (UTC)."""

    run_id: str
    step: str
    item: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, with what it took.

    Attributes
    ----------
    text : the answer's text; JSON text where an `output_schema` was asked for, see `value`.
    model : who answered: the catalog's name, or `local · ...` for a model of the local endpoint.
    model_id : the Bedrock id or profile that was asked.
    stop_reason : Bedrock's word: `end_turn`, `max_tokens`, `stop_sequence`, ...
    latency_ms : of the attempt that was answered.
    ttft_ms : time to the first token; None unless the answer was streamed.
    queue_ms : time spent waiting for the quota and for a free connection, before all attempts together.
    retry_wait_ms : the pauses after failed attempts.
    cost_usd : what was paid: 0 on the local endpoint, None where the price is not known.
    bedrock_usd : Bedrock's list price of the same tokens, None where it is not known.
    price_date : the date of the price list, ISO.
    origin : where the answer was taken from, which then cost nothing; usage, dollars and times are those of the call
        that was paid for. None where the model was asked.
    key : what tells the request from every other one, whichever region it is sent to.
    content : the blocks of the answer as Bedrock sent them, reasoning and unknown kinds among them; bytes as base64.
    tool_uses : the tools that the model wants to be called.
    response_fields : what `Request.response_fields` asked for.
    trace : what a guardrail or a prompt router said, where it was asked to.
    """

    text: str
    model: str
    model_id: str
    region: str
    stop_reason: str
    usage: Usage
    latency_ms: float
    ttft_ms: float | None
    queue_ms: float
    retry_wait_ms: float
    attempts: tuple[Attempt, ...]
    cost_usd: Decimal | None
    bedrock_usd: Decimal | None
    price_date: str
    request_id: str | None
    origin: Origin | None = None
    key: str = ""
    content: tuple[Mapping[str, Any], ...] = ()
    tool_uses: tuple[ToolUse, ...] = ()
    response_fields: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The answer as plain values, where its text is JSON.

        Raises
        ------
        ValueError
            It is not.
        """
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that a step called since its model asked for it.

    Attributes
    ----------
    output : what the model was given: text, or JSON text.
    is_error : the tool raised, or did not take the arguments.
    latency_ms : of the tool alone.
    """

    tool_use_id: str
    name: str
    arguments: Mapping[str, Any] | str
    output: str
    is_error: bool
    started_at: datetime
    latency_ms: float


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many input tokens a request takes.

    Attributes
    ----------
    is_estimate : it was not counted by Bedrock: it may be off by a quarter.
    reason : why it was not; empty where it was.
    """

    tokens: int
    is_estimate: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will take, as far as that can be said before it is sent.

    Attributes
    ----------
    model : the catalog's name of the model.
    input_tokens : likely; about 25 % up or down.
    most_input_tokens : no request of this text can take more.
    most_output_tokens : the request's `max_tokens`, or the model's limit where that is lower.
    price : dollars of a usage at Bedrock's list price; None where the price is not known.
    most_usd : the dearest that the request can become; None where the price is not known.
    model_id : the Bedrock id or profile that would be asked; empty where that is not known.
    """

    model: str
    input_tokens: int
    most_input_tokens: int
    most_output_tokens: int
    price: Callable[[Usage], Decimal | None]
    most_usd: Decimal | None
    model_id: str = ""


class Model(Protocol):
    """Whatever answers requests; `BedrockClient` does."""

    def check(self, model: str | None) -> None:
        """Raise `UnknownModelError` where the name is no model. Sends nothing."""

    def estimate(self, model: str | None, request: Request) -> Estimate:
        """Return what a request will take. Sends nothing."""

    def identify(self, model: str | None, request: Request) -> tuple[str, str]:
        """Return what tells a request from every other one, and the place that it would be sent to. Sends nothing."""

    async def answer(self, model: str | None, request: Request) -> Reply:
        """Answer one request.

        Raises
        ------
        ModelCallError
            The call failed, after its retries.
        """
