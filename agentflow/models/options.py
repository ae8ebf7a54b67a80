"""The options of a call, as `invoke` is given them: which there are, and what each takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, get_args

from agentflow.core.content import Block, CacheTime
from agentflow.core.errors import InvalidRequestError, nearest
from agentflow.core.model import (
    ANSWER_TOOL,
    Guardrail,
    Latency,
    Request,
    RequestOptions,
    ServiceTier,
    ToolSpec,
    Turn,
)

# Of botocore's service model `bedrock-runtime`: OutputConfig, ConverseRequest.
MAX_EFFORT = 16
MAX_RESPONSE_FIELDS = 10
MAX_POINTER = 256

_LISTS = ("stop_sequences", "response_fields")  # one text alone stands for a list of it


def request_of(prompt: str | Sequence[Block], options: RequestOptions) -> Request:
    """Return the request of a prompt and the options of a call.

    Raises
    ------
    InputError
        The prompt is nothing that Bedrock takes.
    InvalidRequestError
        There is no such option, or it does not take the value.
    """
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in TAKES:
            known = ", ".join(TAKES)
            _refuse(f"A call has no option {name!r}{nearest(name, TAKES)}.", f"Give one of {known}.")
        if name in _LISTS and isinstance(value, str):
            value = (value,)  # noqa: PLW2901 - what was meant
        fits, what = TAKES[name]
        if not fits(value):
            _refuse(f"{name}={_short(value)} cannot be sent.", f"Give {what}.")
        given[name] = tuple(value) if isinstance(value, list) else value
    _check_turns(given.get("turns", ()))
    if given.get("output_schema") is not None and any(tool.name == ANSWER_TOOL for tool in given.get("tools", ())):
        _refuse(
            f"tools: {ANSWER_TOOL!r} is the name of what an output schema is asked for with.",
            "Give the tool another name, or leave output_schema out.",
        )
    return Request(tuple(prompt) if isinstance(prompt, list) else prompt, **given)  # type: ignore[arg-type]  # checks it


def _check_turns(turns: Sequence[Turn]) -> None:
    for number, turn in enumerate(turns):
        if turn.role not in ("user", "assistant"):  # no set: it may be unhashable
            _refuse(f"turns[{number}] is of the role {turn.role!r}.", "Give 'user' or 'assistant'.")
        if isinstance(turn.content, str):
            continue
        blocks = turn.content if _is_list(turn.content) else (turn.content,)
        if wrong := [block for block in blocks if not _is_block(block)]:
            _refuse(
                f"turns[{number}] has {_short(wrong[0])}.",
                "Give text, or a list of texts and attachments: Attachment.of(path).",
            )


def _refuse(what: str, fix: str) -> NoReturn:
    raise InvalidRequestError(f"{what} Nothing was sent.", fix=fix, kind="validation")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _is_list_of(value: Any, kind: type) -> bool:
    return _is_list(value) and all(isinstance(item, kind) for item in value)


def _is_block(value: object) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value.get("text", ""), str)
    return isinstance(value, Block)


def _is_share(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _is_tool(value: object) -> bool:
    if not isinstance(value, ToolSpec):
        return False
    return isinstance(value.name, str) and isinstance(value.description, str) and _is_json(value.schema)


def _is_pointer(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and len(value) <= MAX_POINTER


def _one_of(alias: Any) -> tuple[Callable[[Any], bool], str]:
    values: tuple[str, ...] = get_args(alias)
    *others, last = map(repr, values)
    return lambda value: value is None or (isinstance(value, str) and value in values), f"{', '.join(others)} or {last}"


_SCHEMA = "a JSON schema as a dict; AgentConfig(output_type=...) takes classes and short forms such as 'a: int'"
_TOOLS = "a list of ToolSpec of two texts and a dict; AgentConfig(tools=...) takes functions, and calls them"

# Of each option: whether a value can be sent, and what to give.
TAKES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_tokens": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "system": (lambda value: value is None or (isinstance(value, str) and not value.isspace()), "text, or None"),
    "temperature": (_is_share, "a number from 0 to 1, or None"),
    "stop_sequences": (lambda value: _is_list_of(value, str), "a list of texts"),
    "output_schema": (lambda value: value is None or _is_json(value), _SCHEMA),
    "turns": (lambda value: _is_list_of(value, Turn), "a list of Turn, such as Turn('user', 'Hello')"),
    "top_p": (_is_share, "a number from 0 to 1, or None"),
    "tools": (lambda value: _is_list(value) and all(map(_is_tool, value)), _TOOLS),
    "cache_tools": _one_of(CacheTime),
    "cache_system": _one_of(CacheTime),
    "guardrail": (lambda value: value is None or isinstance(value, Guardrail), "a Guardrail('id', '1'), or None"),
    "service_tier": _one_of(ServiceTier),
    "latency": _one_of(Latency),
    "effort": (
        lambda value: value is None or (isinstance(value, str) and 1 <= len(value) <= MAX_EFFORT),
        f"a text of 1 to {MAX_EFFORT} characters, such as 'low'",
    ),
    "extra_fields": (lambda value: value is None or _is_json(value), "a dict of JSON values, such as {'top_k': 50}"),
    "response_fields": (
        lambda value: _is_list(value) and len(value) <= MAX_RESPONSE_FIELDS and all(map(_is_pointer, value)),
        f"at most {MAX_RESPONSE_FIELDS} JSON pointers of at most {MAX_POINTER} characters, such as '/stop_sequence'",
    ),
}
