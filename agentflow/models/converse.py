"""Bedrock's Converse wire format: the only code that knows its keys. Requests out, answers and stream events in.

Source of the shapes: botocore's service model `bedrock-runtime`, operations Converse and ConverseStream.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from agentflow.core.content import Attachment, Content
from agentflow.core.model import Request, Usage

ANSWER_TOOL = "answer"

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9()\[\] -]+")  # of a document; the service model says what may be in it
_LONGEST_NAME = 180  # of 200; the rest is for a number

# What Bedrock's structured output refuses (User Guide, structured-output); pydantic checks the answer for it again.
_REFUSED_KEYWORDS = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "default",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response holds: the text (JSON text, where a schema was asked for), why it ended, the tokens."""

    text: str
    stop_reason: str
    usage: Usage


def request_body(request: Request, *, json_schema: bool) -> dict[str, Any]:
    """Return the arguments of boto3's `converse` and `converse_stream`, but for `modelId`.

    Parameters
    ----------
    json_schema : the model takes an output schema as such; else it goes as a tool that the model has to call, as does a
        schema with an object of any keys, which only a tool may have.
    """
    inference: dict[str, Any] = {"maxTokens": request.max_tokens}
    if request.temperature is not None:
        inference["temperature"] = float(request.temperature)
    if request.stop_sequences:
        inference["stopSequences"] = list(request.stop_sequences)
    body: dict[str, Any] = {
        "messages": [
            *({"role": turn.role, "content": [{"text": turn.text}]} for turn in request.turns),
            {"role": "user", "content": _blocks(request.prompt)},
        ],
        "inferenceConfig": inference,
    }
    if request.system:
        body["system"] = [{"text": request.system}]
    if request.output_schema is not None:
        schema = accepted_schema(request.output_schema)
        if json_schema and not _has_open_object(schema):
            structure = {"jsonSchema": {"name": ANSWER_TOOL, "schema": json.dumps(schema)}}
            body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
        else:
            specification = {"name": ANSWER_TOOL, "description": "Give the answer.", "inputSchema": {"json": schema}}
            body["toolConfig"] = {
                "tools": [{"toolSpec": specification}],
                "toolChoice": {"tool": {"name": ANSWER_TOOL}},
            }
    return body


def accepted_schema(schema: Any) -> Any:
    """Return a JSON schema as it is sent: without the keywords that Bedrock refuses, closed to further properties."""
    if isinstance(schema, list):
        return [accepted_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    accepted: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in {"properties", "$defs"}:  # their keys are names, not keywords
            accepted[keyword] = {name: accepted_schema(item) for name, item in value.items()}
        elif keyword not in _REFUSED_KEYWORDS:
            accepted[keyword] = accepted_schema(value)
    if accepted.get("type") == "object" and ("properties" in accepted or not accepted.get("additionalProperties")):
        accepted["additionalProperties"] = False
    return accepted


def _has_open_object(schema: Any) -> bool:
    """Return whether an accepted schema has an object of any keys in it, as a `dict` makes one."""
    if isinstance(schema, Mapping):
        return bool(schema.get("additionalProperties")) or any(map(_has_open_object, schema.values()))
    return isinstance(schema, list) and any(map(_has_open_object, schema))


def request_key(model_name: str, body: Mapping[str, Any]) -> str:
    """Return what tells a request from every other: the SHA-256 of its canonical JSON, in hex digits.

    Parameters
    ----------
    model_name : without the prefix of a region, so that it is the same request in all of them.
    body : what `request_body` returns; in the place of bytes stands their own SHA-256.
    """
    canonical = json.dumps(
        {"model": model_name, "request": body},
        sort_keys=True,
        separators=(",", ":"),
        default=lambda data: {"sha256": hashlib.sha256(data).hexdigest()},
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _blocks(prompt: Content) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        return [{"text": prompt}]
    names: list[str] = []  # of the documents
    blocks: list[dict[str, Any]] = []
    for part in prompt:
        if isinstance(part, str):
            blocks.append({"text": part})
            continue
        block: dict[str, Any] = {"format": part.format, "source": {"bytes": part.data}}
        if part.kind == "document":
            names.append(_document_name(part, names))
            block["name"] = names[-1]
        blocks.append({part.kind: block})
    return blocks


def _document_name(document: Attachment, earlier: list[str]) -> str:
    """Return a name that Bedrock takes: of the right characters, and of no other document of the request."""
    words = _NOT_IN_A_NAME.sub(" ", document.name).split()
    name = " ".join(words)[:_LONGEST_NAME].strip(" -")
    numbered = (f"{name or 'document'}-{number}" for number in count(2 if name else len(earlier) + 1))
    taken = {other.casefold() for other in earlier}
    return next(name for name in chain([name] if name else [], numbered) if name.casefold() not in taken)


def parse_response(response: Mapping[str, Any]) -> Answer:
    """Read a Converse response; content blocks of unknown kinds are passed over."""
    texts = []
    for block in response["output"]["message"]["content"]:
        if "text" in block:
            texts.append(block["text"])
        elif block.get("toolUse", {}).get("name") == ANSWER_TOOL:
            texts.append(json.dumps(block["toolUse"]["input"]))
    return Answer("".join(texts), response["stopReason"], _usage(response["usage"]))


def _usage(usage: Mapping[str, Any]) -> Usage:
    written_1h = sum(part["inputTokens"] for part in usage.get("cacheDetails", ()) if part["ttl"] == "1h")
    return Usage(
        input_tokens=usage["inputTokens"],
        output_tokens=usage["outputTokens"],
        cache_read_tokens=usage.get("cacheReadInputTokens", 0),
        cache_write_tokens=usage.get("cacheWriteInputTokens", 0),
        cache_write_1h_tokens=written_1h,
    )


@dataclass
class StreamReader:
    """Takes in the events of a ConverseStream, one by one, until `complete`.

    botocore reports no error for a stream that ends early, so an answer counts only when its stop reason and its
    usage have come; the usage comes last.
    """

    _texts: list[str] = field(default_factory=list)
    _stop_reason: str | None = None
    _usage: Usage | None = None

    def take(self, event: Mapping[str, Any]) -> str:
        """Read one event and return the text that it adds; empty for most kinds."""
        if delta := event.get("contentBlockDelta", {}).get("delta"):
            text: str = delta.get("text", "") or delta.get("toolUse", {}).get("input", "")
            self._texts.append(text)
            return text
        if "messageStop" in event:
            self._stop_reason = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            self._usage = _usage(event["metadata"]["usage"])
        return ""

    @property
    def complete(self) -> Answer | None:
        """The answer; None while the stream has not come to its end."""
        if self._stop_reason is None or self._usage is None:
            return None
        return Answer("".join(self._texts), self._stop_reason, self._usage)
