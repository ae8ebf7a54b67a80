"""What can be told of a request before it is sent: Bedrock would refuse it, or it cannot do what it is meant to do.

Works on the body of Converse (`converse.request_body`). Sources of the rules: botocore's service model
`bedrock-runtime` (lengths, patterns, images), Amazon Bedrock User Guide (prompt-caching; wordings of errors),
and the catalog for what a model can do. What is not known of a model is not checked.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn

from agentflow.core.content import MAX_DOCUMENTS
from agentflow.core.errors import InvalidRequestError, PromptTooLongError
from agentflow.core.model import ANSWER_TOOL
from agentflow.models.catalog import ResolvedModel
from agentflow.models.tokens import MOST_TIMES_A_SCHEMA, MOST_TOKENS_OF_A_TOOL, MOST_TOKENS_PER_MESSAGE

MAX_STOP_SEQUENCES = 2500
MAX_CACHE_POINTS = 4
MAX_IMAGES = 20
MAX_METADATA = 16
MAX_METADATA_CHARACTERS = 256

# English prose has 5.2 characters a token, the most of all texts that were measured; no text has three times as many.
MOST_CHARACTERS_PER_TOKEN = 16

_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]*")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")


def check_request(body: Mapping[str, Any], model: ResolvedModel) -> None:
    """Raise an error that names the field where a request cannot be answered. Sends nothing.

    Raises
    ------
    InvalidRequestError
        A field breaks a rule of Bedrock's, or asks for what the model cannot do.
    PromptTooLongError
        The prompt is longer than the model's context window by any count of tokens.

    Warns
    -----
    UserWarning
        A cache point stands too early for the model, so that nothing is cached; once for each model.
    """
    _check_inference(body["inferenceConfig"], model)
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    kinds = {kind for message in messages for block in message["content"] for kind in block}
    _check_texts(messages)
    if len(messages) > 1:
        _check_roles(messages)
    if "toolConfig" in body:
        _check_tools(body["toolConfig"], model)
    if "toolUse" in kinds or "toolResult" in kinds:
        _check_pairs(messages)
    if "image" in kinds or "document" in kinds:
        _check_attachments(messages)
    if "requestMetadata" in body:
        _check_metadata(body["requestMetadata"])
    _check_cache_points(body, model)
    _check_length(body, model)


def _refuse(what: str, fix: str) -> NoReturn:
    raise InvalidRequestError(f"{what} Nothing was sent.", fix=fix, kind="validation")


def _check_inference(inference: Mapping[str, Any], model: ResolvedModel) -> None:
    spec = model.spec
    if (max_tokens := inference["maxTokens"]) < 1:
        _refuse(f"max_tokens={max_tokens!r} leaves no room for an answer.", "Give 1 or more.")
    if spec and max_tokens > spec.max_output_tokens:
        _refuse(
            f"max_tokens={max_tokens:,} is more than {model.name} can give, which is {spec.max_output_tokens:,}.",
            "Lower max_tokens, or use a model that gives longer answers.",
        )
    for name, field in (("temperature", "temperature"), ("topP", "top_p")):
        if (value := inference.get(name)) is None:
            continue
        if not 0 <= value <= 1:
            _refuse(f"{field}={value!r} is not between 0 and 1.", "Give 0 to 1, or leave it out.")
        if spec and spec.sampling is False:
            _refuse(f"{model.name} takes no {field}.", f"Leave {field} out.")
    stops = inference.get("stopSequences", ())
    if len(stops) > MAX_STOP_SEQUENCES:
        _refuse(f"stop_sequences has {len(stops):,} texts; Bedrock takes {MAX_STOP_SEQUENCES:,}.", "Give fewer.")
    if not all(stops):
        _refuse("stop_sequences has an empty text.", "Take it out.")


def _check_texts(messages: Sequence[Mapping[str, Any]]) -> None:
    for number, message in enumerate(messages, start=1):
        if not any(map(_says_something, message["content"])):
            what = "The prompt" if number == len(messages) else f"messages: number {number}"
            _refuse(f"{what} is empty.", "Give it a text that is more than blanks, or an attachment.")


def _says_something(block: Mapping[str, Any]) -> bool:
    if "text" in block:
        return bool(block["text"]) and not block["text"].isspace()
    return "cachePoint" not in block


def _check_roles(messages: Sequence[Mapping[str, Any]]) -> None:
    roles = [message["role"] for message in messages if message["role"] != "system"]
    if roles[0] != "user":
        _refuse("messages: they begin with the assistant.", "Begin with a turn of the user.")
    for number, (role, following) in enumerate(pairwise(roles), start=1):
        if role == following:
            _refuse(
                f"messages: number {number} and the one after it are both of the role {role!r}.",
                "Let user and assistant take turns, or make one message of the two.",
            )


def _check_tools(config: Mapping[str, Any], model: ResolvedModel) -> None:
    names = [tool["toolSpec"]["name"] for tool in config["tools"] if "toolSpec" in tool]
    if wrong := next((name for name in names if not _TOOL_NAME.fullmatch(name)), None):
        _refuse(f"tools: {wrong!r} is no name of a tool.", "Use 1 to 64 letters, digits, `_` and `-`.")
    for specification in (tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool):
        if specification["inputSchema"]["json"].get("type") != "object":
            name = specification["name"]
            field = "output_schema:" if name == ANSWER_TOOL else f"tools: the schema of {name!r}:"
            _refuse(
                f"{field} its root is not of the type 'object', which Bedrock asks of it.",
                'Make it {"type": "object", "properties": {"value": ...}}, with what it was in the place of the dots.',
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"tools: two tools are called {twice!r}.", "Give each tool a name of its own.")
    choice = config.get("toolChoice", {})
    if (wanted := choice.get("tool", {}).get("name")) and wanted not in names:
        _refuse(f"tool choice: there is no tool {wanted!r}; there is {', '.join(names)}.", "Choose one of these.")
    if ("tool" in choice or "any" in choice) and model.spec and model.spec.forced_tool is False:
        _refuse(
            f"{model.name} cannot be made to call a tool, which is how an output schema or a tool choice is asked for.",
            "Ask for JSON in the prompt, or use another model.",
        )


def _check_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    """Each use of a tool is answered in the next message, and nothing is answered that was not used."""
    asked: list[str] = []
    for number, message in enumerate(messages, start=1):
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        if missing := next((one for one in asked if one not in results), None):
            _refuse(
                f"messages: number {number} has no result of the tool use {missing!r}.",
                "Give a tool result for each tool use of the message before.",
            )
        if stray := next((one for one in results if one not in asked), None):
            _refuse(
                f"messages: number {number} has a tool result for {stray!r}, which the message before did not use.",
                "Give results only for the tool uses of the message before.",
            )
        asked = [
            block["toolUse"]["toolUseId"]
            for block in message["content"]
            if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"
        ]
        if wrong := next((one for one in asked if not _TOOL_USE_ID.fullmatch(one)), None):
            _refuse(f"messages: {wrong!r} is no id of a tool use.", "Use 1 to 64 letters, digits and `_.:-`.")
    if asked:
        _refuse(
            f"messages: the last one uses the tool {asked[0]!r}, and nothing answers it.",
            "End with a message that has its result.",
        )


def _check_attachments(messages: Sequence[Mapping[str, Any]]) -> None:
    for number, message in enumerate(messages, start=1):
        kinds = [kind for block in message["content"] for kind in block if kind in {"image", "document"}]
        if kinds and message["role"] != "user":
            _refuse(
                f"messages: number {number} is the {message['role']}'s and has an attachment.",
                "Put images and documents into the user's messages.",
            )
        if (images := kinds.count("image")) > MAX_IMAGES:
            _refuse(f"A message has {images} images; Bedrock takes {MAX_IMAGES}.", "Ask about a few at a time.")
        if (documents := kinds.count("document")) > MAX_DOCUMENTS:
            _refuse(
                f"messages: number {number} has {documents} documents; Bedrock takes {MAX_DOCUMENTS}.",
                "Ask about a few at a time.",
            )
        if documents and not any("text" in block for block in message["content"]):
            _refuse(f"messages: number {number} is a document without text.", "Say beside it what it is for.")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if not 1 <= len(metadata) <= MAX_METADATA:
        _refuse(f"metadata has {len(metadata)} entries; Bedrock takes 1 to {MAX_METADATA}.", "Give fewer.")
    for key, value in metadata.items():
        if not key or len(key) > MAX_METADATA_CHARACTERS or len(value) > MAX_METADATA_CHARACTERS:
            _refuse(
                f"metadata: {key[:40]!r} or its value has no characters, or more than {MAX_METADATA_CHARACTERS}.",
                "Shorten it.",
            )
        if not (_METADATA.fullmatch(key) and _METADATA.fullmatch(value)):
            _refuse(
                f"metadata: {key[:40]!r} or its value has characters that Bedrock refuses.",
                "Use letters and digits of ASCII, blanks and `:_@$#=/+,-.`.",
            )


def _check_cache_points(body: Mapping[str, Any], model: ResolvedModel) -> None:
    """At most four; those of an hour before those of five minutes, in the order tools, system, messages."""
    points = [block["cachePoint"] for block in _in_order(body) if "cachePoint" in block]
    if not points:
        return
    if len(points) > MAX_CACHE_POINTS:
        _refuse(f"The request has {len(points)} cache points; Bedrock takes {MAX_CACHE_POINTS}.", "Take some out.")
    ttls = [point.get("ttl", "5m") for point in points]
    if any(first == "5m" and second == "1h" for first, second in pairwise(ttls)):
        _refuse(
            "A cache point of 1h stands after one of 5m, in the order tools, system, messages.",
            "Put those of 1h first, or give all the same ttl.",
        )
    spec = model.spec
    if spec and spec.cache_ttls and (wrong := next((ttl for ttl in ttls if ttl not in spec.cache_ttls), None)):
        _refuse(f"{model.name} caches no prompt for {wrong}.", f"It does for {', '.join(spec.cache_ttls)}.")
    if spec and spec.cache_min_tokens:
        most = _most_tokens_before_last_point(body)
        if most is not None and most < spec.cache_min_tokens:
            _warn_of_short_prefix(model.name, spec.cache_min_tokens)


def _in_order(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a request in the order in which prefixes are cached."""
    if "toolConfig" in body:
        yield from body["toolConfig"]["tools"]
    yield from body.get("system", ())
    for message in body["messages"]:
        yield from message["content"]


def _most_tokens_before_last_point(body: Mapping[str, Any]) -> int | None:
    """Return a number of tokens that the longest cached prefix cannot pass; None where that cannot be told."""
    most = prefix = 0
    for block in _in_order(body):
        if "cachePoint" in block:
            prefix = most
        elif "text" in block:
            most += len(block["text"].encode(errors="surrogatepass")) + MOST_TOKENS_PER_MESSAGE
        elif "toolSpec" in block:
            most += MOST_TOKENS_OF_A_TOOL + MOST_TIMES_A_SCHEMA * len(json.dumps(block))
        else:  # such as an image
            return None
    return prefix


@cache
def _warn_of_short_prefix(model: str, least: int) -> None:
    warnings.warn(
        f"The cache point stands after fewer tokens than {model} caches ({least:,}): nothing is cached.",
        UserWarning,
        stacklevel=2,
    )


def _check_length(body: Mapping[str, Any], model: ResolvedModel) -> None:
    if model.spec is None:
        return
    texts = [block["text"] for block in _in_order(body) if "text" in block]
    most_characters = model.spec.context_tokens * MOST_CHARACTERS_PER_TOKEN
    if sum(map(len, texts)) <= most_characters:
        return
    visible = sum(len(word) for text in texts for word in text.split())  # blanks can be many to a token
    if visible > most_characters:
        raise PromptTooLongError(
            f"The prompt has {visible:,} characters; {model.name} takes {model.spec.context_tokens:,} tokens. "
            "Nothing was sent.",
            fix="Shorten the prompt or its inputs, or use a model with a larger context.",
            kind="validation",
        )
