"""The scripted model: fixed or echoed replies, latency and errors to order, for tests.

Token counts are made up but repeatable: one token is a word with the blanks before it, and a word of more than eight
characters is cut into pieces of eight; each message of the prompt costs three more.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from itertools import chain, cycle, repeat
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agentflow.local.chat import Begin, ChatRequest, Finish, Items, Piece, StopReason
from agentflow.local.errors import STATUS_BY_CODE, Refusal, invalid

_TOKEN = re.compile(r"\s*\S{1,8}|\s+$")
_TOKENS_PER_MESSAGE = 3


class ScriptedError(BaseModel):
    """An error that the next `times` requests get, before any work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    message: str
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    times: Annotated[int, Field(ge=1)] = 1


class Script(BaseModel):
    """What the scripted model does; with no field set it echoes the last user message."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replies: tuple[str, ...] = ()  # one a request, in turn, and again from the first
    text: str | None = None  # the reply to every request
    latency_ms: Annotated[float, Field(ge=0)] = 0.0  # until the end of an answer
    first_token_ms: Annotated[float, Field(ge=0)] | None = None  # until its beginning; None: the whole latency
    errors: tuple[ScriptedError, ...] = ()


class ScriptedModel:
    """A model that says what its script says."""

    label = "scripted"

    def __init__(self, script: Script | None = None) -> None:
        self.follow(script or Script())

    def follow(self, script: Script) -> None:
        """Take another script, from its beginning."""
        self._script = script
        self._replies = cycle(script.replies)
        self._errors = chain.from_iterable(repeat(error, error.times) for error in script.errors)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Return the tokens of a prompt, as its usage will tell them."""
        return _input_tokens(request)

    async def answer(self, request: ChatRequest) -> Items:
        """Answer as the script says."""
        if error := next(self._errors, None):
            raise Refusal(error.code, error.message, status=error.status or STATUS_BY_CODE.get(error.code, 400))
        script = self._script
        tokens = _TOKEN.findall(self._reply(request))
        shown = tokens[: request.max_tokens]
        first_ms = script.latency_ms if script.first_token_ms is None else script.first_token_ms
        pause_ms = max(0.0, script.latency_ms - first_ms) / max(1, len(shown))
        await asyncio.sleep(first_ms / 1000)
        yield Begin(_input_tokens(request))
        for count, token in enumerate(shown, start=1):
            if pause_ms:
                await asyncio.sleep(pause_ms / 1000)
            yield Piece(token, count)
        yield Finish(StopReason.END_TURN if shown == tokens else StopReason.MAX_TOKENS, len(shown))

    def close(self) -> bool:
        """Return True: this model has no threads."""
        return True

    def _reply(self, request: ChatRequest) -> str:
        if self._script.replies:
            return next(self._replies)
        if self._script.text is not None:
            return self._script.text
        if request.answer_schema is not None:
            return json.dumps(smallest_instance(request.answer_schema))
        return next(turn.text for turn in reversed(request.turns) if turn.role == "user")


def smallest_instance(schema: Mapping[str, Any]) -> Any:
    """Return a small value of a JSON schema: first choice, required members, empty text, zero.

    Raises
    ------
    Refusal
        The schema is malformed.
    """
    try:
        return _instance(schema, schema, depth=0)
    except (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
    ) as error:  # such as a number where a list of names belongs
        raise invalid(f"The model returned the following errors: malformed JSON schema: {error}") from error


_SCALARS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_DEEPEST = 20  # of a schema that contains itself


def _instance(schema: Any, root: Mapping[str, Any], *, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if allowed := [schema["const"]] if "const" in schema else schema.get("enum"):
        return allowed[0]
    for inner in ("$ref", "anyOf", "oneOf", "allOf"):
        if schema.get(inner):
            target = _referred(schema["$ref"], root) if inner == "$ref" else schema[inner][0]
            return _instance(target, root, depth=depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        members = schema.get("properties", {})
        names = [name for name in schema.get("required", ()) if name in members]
        return {name: _instance(members[name], root, depth=depth + 1) for name in names}
    if kind == "array":
        # Bedrock takes no other minItems than 0 and 1.
        return [_instance(schema.get("items"), root, depth=depth + 1)] * min(1, int(schema.get("minItems", 0)))
    return _SCALARS.get(kind)


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """Follow a reference within the schema, such as ``#/$defs/Ticket``."""
    target: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(part) if part and isinstance(target, Mapping) else target
    return target


def _input_tokens(request: ChatRequest) -> int:
    texts = [turn.text for turn in request.turns] + ([request.system] if request.system else [])
    return sum(len(_TOKEN.findall(text)) + _TOKENS_PER_MESSAGE for text in texts)
