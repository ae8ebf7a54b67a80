"""A script: what the scripted model answers, as data.

It is a YAML file for ``agentflow local serve --model scripted --script FILE``, or the same object as JSON for
``POST /_config`` or as keyword arguments of the `bedrock` fixture's ``script``. A complete example::

    latency_ms: 300                  # of every answer, until its end
    first_token_ms: 100              # until its beginning; without it nothing comes before the end
    rules:                           # by the last user message: the first whose pattern is found in it answers
      - prompt: "(?i)weather in (Oslo|Bergen)"
        replies:                     # in turn, and again from the first
          - tool_calls:
              - {name: weather, input: {city: Oslo}}
          - It rains.                # a text alone is an answer too
      - prompt: "(?i)prove"
        replies:
          - reasoning: First the lemma.
            signature: c2lnbmVk
            text: Proved.
            usage: {input_tokens: 1200, output_tokens: 90, cache_read_tokens: 1100}
            latency_ms: 2000
      - prompt: "(?i)forbidden"
        replies:
          - {text: I cannot help with that., stop_reason: content_filtered}
    replies: [one, two]              # to all other prompts, in turn; instead of them `text`, the same to all
    errors:                          # what the next requests get, before all of the above
      - {code: ThrottlingException, message: "Too many requests, please wait before trying again.", times: 2}

Where nothing answers a prompt, the model echoes it; a request that asks for JSON, or for a tool, gets the smallest that
fits. An answer without a text or a call echoes too. What an answer does not say is as it comes: usage by counting,
the stop reason ``tool_use`` after a call, ``max_tokens`` where `maxTokens` has cut the answer, else ``end_turn``. A
text for a request that must call a tool is the JSON input of its call. In Python a function may answer instead
(`agentflow.local.in_process`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agentflow.local.chat import ChatRequest, StopReason
from agentflow.local.errors import LocalEndpointError

Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedError(_Part):
    """An error that the next `times` requests get, before any work."""

    code: str
    message: str
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    times: Annotated[int, Field(ge=1)] = 1


class ScriptedCall(_Part):
    """A call of a tool; without an id it gets one as Bedrock makes them."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    input: dict[str, Any] = {}
    id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:-]{1,64}$")] | None = None


class ScriptedUsage(_Part):
    """Tokens that an answer is said to have used; None: as counted."""

    input_tokens: Count | None = None  # without those of the cache, as Bedrock tells them
    output_tokens: Count | None = None
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0  # for 5 minutes
    cache_write_1h_tokens: Count = 0


class ScriptedAnswer(_Part):
    """One answer: reasoning, text and tool calls, in this order."""

    reasoning: str | None = None
    signature: str = ""  # of the reasoning
    text: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    stop_reason: StopReason | None = None
    usage: ScriptedUsage = ScriptedUsage()
    latency_ms: Milliseconds | None = None  # None, here and next: as the script says for all
    first_token_ms: Milliseconds | None = None


def as_answer(reply: Any) -> Any:
    """Return a text as the answer that it is short for; anything else unchanged."""
    return ScriptedAnswer(text=reply) if isinstance(reply, str) else reply


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


Replies = tuple[Annotated[ScriptedAnswer, BeforeValidator(as_answer)], ...]


class Rule(_Part):
    """Answers to the prompts in which a regular expression is found."""

    prompt: Annotated[str, AfterValidator(_compiles)]
    replies: Annotated[Replies, Field(min_length=1)]


class Script(_Part):
    """What the scripted model does; with no field set it echoes the last user message."""

    rules: tuple[Rule, ...] = ()
    replies: Replies = ()
    text: str | None = None
    latency_ms: Milliseconds = 0.0
    first_token_ms: Milliseconds | None = None
    errors: tuple[ScriptedError, ...] = ()


#: What a Python function answers: a text, an answer, or None for the model's own (an echo).
Answering: TypeAlias = Callable[[ChatRequest], str | ScriptedAnswer | None]


def read_script(path: Path) -> Script:
    """Read a YAML file (of which JSON is a part).

    Raises
    ------
    LocalEndpointError
        It cannot be read, is no YAML, or has a wrong field, which the message names.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Script.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = first["msg"].removeprefix("Value error, ")
        raise LocalEndpointError(f"The script {path} cannot be used: field {where}: {message}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LocalEndpointError(f"The script {path} cannot be used: {error}") from error
