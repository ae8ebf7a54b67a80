"""The scripted model: the answers of a script (`agentflow.local.script`), or of a Python function, for tests.

Token counts are made up but repeatable: one token is a word with the blanks before it, and a word of more than eight
characters is cut into pieces of eight; each message of the prompt and each tool on offer costs three more.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, cycle, repeat
from typing import Any

from agentflow.local.chat import Begin, Block, CacheUse, ChatRequest, Finish, Items, Piece, StopReason
from agentflow.local.errors import STATUS_BY_CODE, Refusal, invalid
from agentflow.local.script import Answering, Script, ScriptedAnswer, as_answer

_TOKEN = re.compile(r"\s*\S{1,8}|\s+$")
_TOKENS_PER_MESSAGE = 3


class ScriptedModel:
    """A model that says what its script says, or, before that, what a function returns."""

    label = "scripted"

    def __init__(self, script: Script | None = None, *, function: Answering | None = None) -> None:
        self._function = function
        self.follow(script or Script())

    def follow(self, script: Script) -> None:
        """Take another script, from its beginning."""
        self._script = script
        self._rules = [(re.compile(rule.prompt), cycle(rule.replies)) for rule in script.rules]
        self._replies = cycle(script.replies or (ScriptedAnswer(text=script.text),))
        self._errors = chain.from_iterable(repeat(error, error.times) for error in script.errors)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Return the tokens of a prompt, as its usage will tell them."""
        texts = [turn.text for turn in request.turns]
        texts += [request.system] if request.system else []
        texts += [json.dumps([tool.name, tool.description, tool.schema]) for tool in request.tools]
        return sum(len(_TOKEN.findall(text)) + _TOKENS_PER_MESSAGE for text in texts)

    async def answer(self, request: ChatRequest) -> Items:
        """Answer as the script says."""
        if error := next(self._errors, None):
            raise Refusal(error.code, error.message, status=error.status or STATUS_BY_CODE.get(error.code, 400))
        answer = self._found(request)
        usage = answer.usage
        blocks = [(block, _TOKEN.findall(text)) for block, text in _blocks(answer, request)]
        size = sum(len(tokens) for _, tokens in blocks)
        shown = min(size, request.max_tokens or size)
        counted = shown if usage.output_tokens is None else usage.output_tokens

        first_ms, pause_ms = self._waits(answer, shown)
        if first_ms:  # a sleep of nothing is a turn of the event loop all the same
            await asyncio.sleep(first_ms / 1000)
        cached = (usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens)
        asked = await self.count_tokens(request) if usage.input_tokens is None else usage.input_tokens
        yield Begin(asked, CacheUse(*cached) if any(cached) else None)
        count = 0
        for block, tokens in blocks:
            if count == shown and tokens:
                break
            yield block
            cut = tokens[: shown - count]
            if not (request.streamed or pause_ms):  # one piece for all, which costs a whole answer a tenth
                count += len(cut)
                yield Piece("".join(cut), min(count, counted))
                continue
            for token in cut:
                if pause_ms:
                    await asyncio.sleep(pause_ms / 1000)
                count += 1
                yield Piece(token, min(count, counted))
        called = any(block.kind == "tool_use" for block, _ in blocks)
        reason = StopReason.MAX_TOKENS if shown < size else StopReason.TOOL_USE if called else StopReason.END_TURN
        yield Finish(answer.stop_reason or reason, counted)

    def close(self) -> bool:
        """Return True: this model has no threads."""
        return True

    def _found(self, request: ChatRequest) -> ScriptedAnswer:
        """Return what the function, a rule, the replies or the fixed text answer; empty for an echo."""
        if self._function and (given := as_answer(self._function(request))) is not None:
            answer: ScriptedAnswer = given
            return answer
        if self._rules:
            prompt = _last_prompt(request)
            for pattern, replies in self._rules:
                if pattern.search(prompt):
                    return next(replies)
        return next(self._replies)

    def _waits(self, answer: ScriptedAnswer, tokens: int) -> tuple[float, float]:
        """Return the milliseconds before an answer and before each of its tokens."""
        script = self._script
        whole = script.latency_ms if answer.latency_ms is None else answer.latency_ms
        first = script.first_token_ms if answer.first_token_ms is None else answer.first_token_ms
        first = whole if first is None else first
        return first, max(0.0, whole - first) / max(1, tokens)


def _last_prompt(request: ChatRequest) -> str:
    return next((turn.text for turn in reversed(request.turns) if turn.role == "user"), "")


def _blocks(answer: ScriptedAnswer, request: ChatRequest) -> Iterator[tuple[Block, str]]:
    if answer.reasoning is not None:
        yield Block("reasoning", signature=answer.signature), answer.reasoning
    if answer.text is not None:
        yield (Block(), answer.text) if answer.tool_calls else _written(answer.text, request)
    elif not answer.tool_calls:
        yield _written(_unscripted(request), request)
    for call in answer.tool_calls:
        yield Block("tool_use", call.name, call.id or ""), json.dumps(call.input, ensure_ascii=False)


def _unscripted(request: ChatRequest) -> str:
    if request.answer_schema is not None:
        return json.dumps(smallest_instance(request.answer_schema))
    return _last_prompt(request)


def _written(text: str, request: ChatRequest) -> tuple[Block, str]:
    """Return a text as what it is for this request: an answer, or the input of the call that it must be."""
    if not request.tool_required:
        return Block(), text
    if len(request.tools) == 1:
        return Block("tool_use", request.tools[0].name), text
    try:
        call = json.loads(text)
        return Block("tool_use", str(call["name"])), json.dumps(call["input"], ensure_ascii=False)
    except (ValueError, TypeError, LookupError):
        return Block(), text


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
