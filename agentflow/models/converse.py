"""Bedrock's Converse wire format: the only code that knows its keys. Requests out, answers and stream events in.

Source of the shapes: botocore's service model `bedrock-runtime`, operations Converse, ConverseStream and CountTokens.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from agentflow.core.content import Attachment, Block, CachePoint, CacheTime, ToolResult
from agentflow.core.model import ANSWER_TOOL, Request, ToolSpec, ToolUse, Turn, Usage
from agentflow.models.model_spec import ModelSpec
from agentflow.models.schemas import accepted_schema, is_native

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9()\[\] -]+")  # of a document; the service model says what may be in it
_LONGEST_NAME = 180  # of 200; the rest is for a number
_NOT_IN_METADATA = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,.-]", re.ASCII)
_LONGEST_METADATA = 256
_BASE64 = "$base64"  # the one key of what stands in the place of bytes in `Reply.content`
_UNKNOWN = "SDK_UNKNOWN_MEMBER"  # botocore's key of what came later than it, which it does not take back
_BEGUN = frozenset({"toolUse", "toolResult", "image"})  # the blocks of a stream that have a start of their own
_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")  # what CountTokens takes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response holds: the text (JSON text, where a schema was asked for), why it ended, the tokens, the rest."""

    text: str
    stop_reason: str
    usage: Usage
    content: tuple[Mapping[str, Any], ...] = ()
    tool_uses: tuple[ToolUse, ...] = ()
    response_fields: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)


def request_body(request: Request, spec: ModelSpec | None = None, *, in_words: bool = False) -> dict[str, Any]:
    """Return the arguments of boto3's `converse` and `converse_stream`, but for `modelId`.

    An output schema goes as such where the model takes that; else as a tool that the model has to call, as does a
    schema that only a tool may have; else as words in the system prompt. Cache points of a model that keeps no prefixes
    are left out.

    Parameters
    ----------
    spec : what is known of the model; None for one that the catalog does not have.
    in_words : ask for an output schema in words in the place of a tool.
    """
    body: dict[str, Any] = {"messages": _messages(request, spec), "inferenceConfig": _inference(request)}
    system: list[dict[str, Any]] = [{"text": request.system}] if request.system else []
    tools = [_tool(tool) for tool in request.tools]
    choice: dict[str, Any] = {}
    output: dict[str, Any] = {"effort": request.effort} if request.effort is not None else {}
    if request.output_schema is not None:
        schema = accepted_schema(request.output_schema)
        if spec is not None and spec.json_schema and is_native(schema):
            structure = {"jsonSchema": {"name": ANSWER_TOOL, "schema": json.dumps(schema)}}
            output["textFormat"] = {"type": "json_schema", "structure": structure}
        elif not in_words and (spec is None or spec.forced_tool is not False):
            # Beside other tools the model has to call one of them: the answer's, when it is done with the others.
            choice = {"any": {}} if tools else {"tool": {"name": ANSWER_TOOL}}
            tools.append(_tool(ToolSpec(ANSWER_TOOL, "Give the answer.", schema)))
        else:
            system.append({"text": f"Answer with JSON alone, which follows this JSON schema: {json.dumps(schema)}"})
    if system:
        body["system"] = [*system, *_cache_point(request.cache_system, spec)]
    if tools:
        body["toolConfig"] = {"tools": [*tools, *_cache_point(request.cache_tools, spec)]}
        if choice:
            body["toolConfig"]["toolChoice"] = choice
    if output:
        body["outputConfig"] = output
    return body | _options(request)


def _inference(request: Request) -> dict[str, Any]:
    inference: dict[str, Any] = {"maxTokens": request.max_tokens}
    if request.temperature is not None:
        inference["temperature"] = float(request.temperature)
    if request.top_p is not None:
        inference["topP"] = float(request.top_p)
    if request.stop_sequences:
        inference["stopSequences"] = list(request.stop_sequences)
    return inference


def _options(request: Request) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.guardrail is not None:
        options["guardrailConfig"] = {
            "guardrailIdentifier": request.guardrail.identifier,
            "guardrailVersion": request.guardrail.version,
            "trace": request.guardrail.trace,
        }
    if request.service_tier is not None:
        options["serviceTier"] = {"type": request.service_tier}
    if request.latency is not None:
        options["performanceConfig"] = {"latency": request.latency}
    if request.extra_fields:
        options["additionalModelRequestFields"] = dict(request.extra_fields)
    if request.response_fields:
        options["additionalModelResponseFieldPaths"] = list(request.response_fields)
    return options


def stream_arguments(arguments: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the arguments of `converse_stream`, from those of `converse`."""
    streamed = dict(arguments)
    if request.guardrail is not None:
        mode = {"streamProcessingMode": request.guardrail.stream_mode}
        streamed["guardrailConfig"] = arguments["guardrailConfig"] | mode
    return streamed


def count_arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of boto3's `count_tokens`, but for `modelId`, from what `request_body` returns."""
    return {"input": {"converse": {name: body[name] for name in _COUNTED if name in body}}}


def request_metadata(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the argument that writes labels into AWS's own log of the call; characters that it refuses become `_`."""
    written = {name: _NOT_IN_METADATA.sub("_", text)[:_LONGEST_METADATA] for name, text in labels.items()}
    return {"requestMetadata": written} if written else {}


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


def _tool(tool: ToolSpec) -> dict[str, Any]:
    specification: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": accepted_schema(tool.schema)}}
    if tool.description:
        specification["description"] = tool.description
    return {"toolSpec": specification}


def _cache_point(ttl: CacheTime | None, spec: ModelSpec | None) -> list[dict[str, Any]]:
    kept = spec.cache_time(ttl) if spec and ttl else ttl
    return [{"cachePoint": {"type": "default", "ttl": kept}}] if kept else []


def _messages(request: Request, spec: ModelSpec | None) -> list[dict[str, Any]]:
    names: list[str] = []  # of the documents
    return [{"role": turn.role, "content": _blocks(turn, names, spec)} for turn in request.messages]


def _blocks(turn: Turn, names: list[str], spec: ModelSpec | None) -> list[dict[str, Any]]:
    if isinstance(turn.content, str):
        return [{"text": turn.content}]
    return list(chain.from_iterable(_block(block, names, spec) for block in turn.content))


def _block(block: Block | Mapping[str, Any], names: list[str], spec: ModelSpec | None) -> Iterable[dict[str, Any]]:
    if isinstance(block, str):
        return [{"text": block}] if block and not block.isspace() else []
    if isinstance(block, CachePoint):
        return _cache_point(block.ttl, spec)
    if isinstance(block, ToolResult):
        return [_tool_result(block)]
    if isinstance(block, Attachment):
        sent: dict[str, Any] = {"format": block.format, "source": {"bytes": block.data}}
        if block.kind == "document":
            names.append(_document_name(block, names))
            sent["name"] = names[-1]
        return [{block.kind: sent}]
    is_blank = block.keys() == {"text"} and not str(block["text"]).strip()  # an answer may have it, a request not
    back = {} if is_blank else _sent_back(block)
    return [back] if back else []


def _tool_result(result: ToolResult) -> dict[str, Any]:
    status = {"status": "error"} if result.is_error else {}
    return {
        "toolResult": {"toolUseId": result.tool_use_id, "content": [{"text": result.text or "(nothing)"}], **status}
    }


def _document_name(document: Attachment, earlier: list[str]) -> str:
    """Return a name that Bedrock takes: of the right characters, and of no other document of the request."""
    words = _NOT_IN_A_NAME.sub(" ", document.name).split()
    name = " ".join(words)[:_LONGEST_NAME].strip(" -")
    numbered = (f"{name or 'document'}-{number}" for number in count(2 if name else len(earlier) + 1))
    taken = {other.casefold() for other in earlier}
    return next(name for name in chain([name] if name else [], numbered) if name.casefold() not in taken)


def _sent_back(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block of `Reply.content` as boto3 takes it; empty where it is of a kind that boto3 does not know."""
    sent: dict[str, Any] = _known(block)
    use = sent.get("toolUse")
    return sent | {"toolUse": use | {"input": {}}} if use and not isinstance(use["input"], Mapping) else sent


def _known(value: Any) -> Any:
    """Return a part of `Reply.content` with its bytes, and without what boto3 does not know."""
    if isinstance(value, Mapping):
        if value.keys() == {_BASE64}:
            return base64.b64decode(value[_BASE64])
        return {name: _known(item) for name, item in value.items() if name != _UNKNOWN and not _is_unknown(item)}
    return [_known(item) for item in value if not _is_unknown(item)] if isinstance(value, list | tuple) else value


def _is_unknown(value: Any) -> bool:
    return isinstance(value, Mapping) and _UNKNOWN in value


def _without_bytes(value: Any) -> Any:
    """Return a part of a response as plain JSON."""
    if isinstance(value, Mapping):
        return {name: _without_bytes(item) for name, item in value.items()}
    if isinstance(value, bytes | bytearray):
        return {_BASE64: base64.b64encode(value).decode()}
    return [_without_bytes(item) for item in value] if isinstance(value, list | tuple) else value


def parse_response(response: Mapping[str, Any]) -> Answer:
    """Read a Converse response. Blocks of unknown kinds are in `content` only."""
    blocks = response["output"]["message"]["content"]
    return _answer(blocks, response["stopReason"], response["usage"], response)


def _answer(blocks: Iterable[Any], stop_reason: str, usage: Any, rest: Mapping[str, Any]) -> Answer:
    content = tuple(_without_bytes(block) for block in blocks)
    uses = tuple(
        ToolUse(use["toolUseId"], use["name"], _arguments(use["input"]))
        for block in content
        if (use := block.get("toolUse")) and use.get("type") != "server_tool_use"
    )
    answered = next((use.arguments for use in uses if use.name == ANSWER_TOOL), None)
    if answered is None:
        text = "".join(map(_text, content))
    else:
        text = answered if isinstance(answered, str) else json.dumps(answered)
    return Answer(
        text=text,
        stop_reason=stop_reason,
        usage=_usage(usage),
        content=content,
        tool_uses=uses,
        response_fields=_without_bytes(rest.get("additionalModelResponseFields") or {}),
        trace=_without_bytes(rest.get("trace") or {}),
    )


def _arguments(given: Any) -> Mapping[str, Any] | str:
    return given if isinstance(given, Mapping | str) else json.dumps(given)


def _text(block: Mapping[str, Any]) -> str:
    """Return what a block adds to the answer's text; with its sources it lies deeper."""
    cited = block.get("citationsContent", {}).get("content", ())
    return "".join([block.get("text", ""), *(part.get("text", "") for part in cited)])


def _usage(usage: Mapping[str, Any]) -> Usage:
    written_1h = sum(part["inputTokens"] for part in usage.get("cacheDetails", ()) if part["ttl"] == "1h")
    return Usage(
        input_tokens=usage["inputTokens"],
        output_tokens=usage["outputTokens"],
        cache_read_tokens=usage.get("cacheReadInputTokens", 0),
        cache_write_tokens=usage.get("cacheWriteInputTokens", 0),
        cache_write_1h_tokens=written_1h,
    )


def is_answered_by_tool(arguments: Mapping[str, Any]) -> bool:
    """Return whether the answer to a request is what a tool is called with, and text beside it is not."""
    tools = arguments.get("toolConfig", {}).get("tools", ())
    return any(tool.get("toolSpec", {}).get("name") == ANSWER_TOOL for tool in tools)


@dataclass
class StreamReader:
    """Takes in the events of a ConverseStream, one by one, until `complete`.

    botocore reports no error for a stream that ends early, so an answer counts only when its stop reason and its
    usage have come; the usage comes last.

    Parameters
    ----------
    by_tool : the answer is to come as a tool's input: text is held back, until there is none.
    """

    by_tool: bool = False
    _blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    _answer: dict[str, Any] | None = None  # the block of the answer that came as a tool's input
    _stop: Mapping[str, Any] | None = None
    _metadata: Mapping[str, Any] | None = None

    def take(self, event: Mapping[str, Any]) -> str:
        """Read one event and return the text that it adds to the answer's; empty for most kinds."""
        if start := event.get("contentBlockStart"):
            self._begin(start["contentBlockIndex"], start["start"])
        elif change := event.get("contentBlockDelta"):
            return self._add(self._blocks.setdefault(change["contentBlockIndex"], {}), change["delta"])
        elif "messageStop" in event:
            self._stop = event["messageStop"]
            if self.by_tool and self._answer is None:
                return "".join(map(_text, self._content()))
        elif "metadata" in event:
            self._metadata = event["metadata"]
        return ""

    def _begin(self, index: int, start: Mapping[str, Any]) -> None:
        known = start.keys() <= _BEGUN
        block: dict[str, Any] = {kind: dict(given) for kind, given in start.items()} if known else {_UNKNOWN: [start]}
        self._blocks[index] = block
        if self._answer is None and block.get("toolUse", {}).get("name") == ANSWER_TOOL:
            self._answer = block

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> str:
        for kind, value in delta.items():
            if kind == "text":
                block["text"] = block.get("text", "") + value
                return "" if self.by_tool else str(value)
            if kind == "toolUse":
                use = block.setdefault("toolUse", {})
                use["input"] = use.get("input", "") + value.get("input", "")
                return value.get("input", "") if block is self._answer else ""
            if kind == "reasoningContent":
                _add_reasoning(block.setdefault("reasoningContent", {}), value)
            elif kind == "citation":
                block.setdefault("citations", []).append(value)
            elif kind == "toolResult":
                block.setdefault("toolResult", {}).setdefault("content", []).extend(value)
            elif kind == "image":
                block.setdefault("image", {}).update(value)
            else:
                block.setdefault(_UNKNOWN, []).append({kind: value})
        return ""

    def _content(self) -> list[Mapping[str, Any]]:
        return [_finished(block) for _, block in sorted(self._blocks.items())]

    @property
    def complete(self) -> Answer | None:
        """The answer; None while the stream has not come to its end."""
        if self._stop is None or self._metadata is None:
            return None
        rest = {**self._stop, **self._metadata}
        return _answer(self._content(), self._stop["stopReason"], self._metadata["usage"], rest)


def _add_reasoning(reasoning: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a piece of reasoning to its block, whose text and signature lie one level deeper than those of a delta."""
    for part, value in delta.items():
        if part == "redactedContent":
            reasoning[part] = reasoning.get(part, b"") + value
        else:
            text = reasoning.setdefault("reasoningText", {"text": ""})  # which has to be there
            text[part] = text.get(part, "") + value


def _finished(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a block of a stream as a whole answer has it."""
    if "citations" in block:
        cited = {"content": [{"text": block.get("text", "")}], "citations": block["citations"]}
        return {"citationsContent": cited}
    if "toolUse" in block:
        return {**block, "toolUse": {**block["toolUse"], "input": _input(block["toolUse"].get("input", ""))}}
    return block


def _input(text: str) -> Any:
    """Return the input of a tool; its text where that is no JSON, as of a call that was cut off."""
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text
