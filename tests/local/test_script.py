"""Scripted answers: rules, blocks, usage, stop reasons, waits; as a file, as JSON, and by a Python function."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentflow.local import script as script_module
from agentflow.local.chat import ChatRequest
from agentflow.local.errors import LocalEndpointError, Refusal
from agentflow.local.in_process import serving
from agentflow.local.script import Script, ScriptedAnswer, read_script
from agentflow.models.served import served_models
from tests.endpoint import HAIKU, Endpoint, text_of, user

TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}
CALL = {"tool_calls": [{"name": "weather", "input": {"city": "Oslo"}, "id": "tooluse_1"}]}


def blocks_of(events: Any) -> list[dict[str, Any]]:
    """Put the deltas of a ConverseStream together, by block."""
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = {**start["start"]["toolUse"], "input": ""}
        elif part := event.get("contentBlockDelta"):
            block = blocks.setdefault(part["contentBlockIndex"], {})
            delta = part["delta"]
            for name, text in (delta.get("toolUse") or delta.get("reasoningContent") or delta).items():
                block[name] = block.get(name, "") + text
    return [blocks[index] for index in sorted(blocks)]


def test_the_example_of_the_documentation_is_a_script() -> None:
    text = str(script_module.__doc__).partition("A complete example::")[2].partition("\nWhere nothing")[0]
    script = Script.model_validate(yaml.safe_load(textwrap.dedent(text)))
    assert [len(rule.replies) for rule in script.rules] == [2, 1, 1]
    assert set(Script.model_fields) - {"text"} == script.model_fields_set


def test_the_first_rule_whose_pattern_is_found_answers_in_turn(scripted: Endpoint) -> None:
    scripted.follow(rules=[{"prompt": "(?i)oslo", "replies": ["a", "b"]}, {"prompt": "o", "replies": ["c"]}], text="d")
    assert [text_of(scripted.say(prompt)) for prompt in ("OSLO", "to", "oslo", "x", "Oslo?")] == list("acbda")


def test_an_agent_can_be_played_through(scripted: Endpoint) -> None:
    answered = {"prompt": "the tool answered", "replies": ["It rains."]}
    scripted.follow(rules=[answered, {"prompt": ".", "replies": [CALL]}])
    asked = user("Weather in Oslo?")
    called = scripted.say("", messages=asked, toolConfig=TOOLS)
    assert called["stopReason"] == "tool_use"
    assert called["output"]["message"]["content"] == [
        {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Oslo"}}}
    ]
    result = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}}
    messages = [*asked, called["output"]["message"], {"role": "user", "content": [result]}]
    assert text_of(scripted.say("", messages=messages, toolConfig=TOOLS)) == "It rains."


def test_an_answer_has_reasoning_text_and_calls_in_this_order(scripted: Endpoint) -> None:
    scripted.follow(replies=[{"reasoning": "Hm, so.", "signature": "c2ln", "text": "Let me look.", **CALL}])
    reasoning, text, call = scripted.say("?", toolConfig=TOOLS)["output"]["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"] == {"text": "Hm, so.", "signature": "c2ln"}
    assert text == {"text": "Let me look."}
    assert call["toolUse"]["input"] == {"city": "Oslo"}
    events = list(scripted.stream("?", toolConfig=TOOLS))
    assert blocks_of(events) == [
        {"text": "Hm, so.", "signature": "c2ln"},
        {"text": "Let me look."},
        {"toolUseId": "tooluse_1", "name": "weather", "input": '{"city": "Oslo"}'},
    ]
    kinds = [next(iter(event)) for event in events]
    assert kinds.count("contentBlockStop") == 3
    assert kinds.count("contentBlockStart") == 1  # only a tool's block is announced
    assert kinds[-2:] == ["messageStop", "metadata"]


def test_anthropics_body_has_the_same_blocks(scripted: Endpoint) -> None:
    scripted.follow(replies=[{"reasoning": "Hm.", "signature": "c2ln", "text": "Let me look.", **CALL}])
    body = json.dumps(
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": [{"role": "user", "content": "?"}]}
    )
    whole = json.loads(scripted.client.invoke_model(modelId=HAIKU, body=body)["body"].read())
    thinking, text, call = whole["content"]
    assert (thinking["thinking"], thinking["signature"], text["text"]) == ("Hm.", "c2ln", "Let me look.")
    assert (call["id"], call["input"], whole["stop_reason"]) == ("tooluse_1", {"city": "Oslo"}, "tool_use")
    stream = scripted.client.invoke_model_with_response_stream(modelId=HAIKU, body=body)["body"]
    objects = [json.loads(event["chunk"]["bytes"]) for event in stream]
    deltas = [part["delta"]["type"] for part in objects if part["type"] == "content_block_delta"]
    assert list(dict.fromkeys(deltas)) == ["thinking_delta", "signature_delta", "text_delta", "input_json_delta"]
    starts = [part["content_block"]["type"] for part in objects if part["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use"]


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_is_as_the_script_says(scripted: Endpoint, streamed: bool) -> None:
    said = {
        "input_tokens": 11, "output_tokens": 22, "cache_read_tokens": 33, "cache_write_tokens": 4,
        "cache_write_1h_tokens": 5,
    }  # fmt: skip
    scripted.follow(replies=[{"text": "Hi", "usage": said}])
    usage = list(scripted.stream("?"))[-1]["metadata"]["usage"] if streamed else scripted.say("?")["usage"]
    assert usage == {
        "inputTokens": 11,
        "outputTokens": 22,
        "totalTokens": 75,
        "cacheReadInputTokens": 33,
        "cacheWriteInputTokens": 9,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 5}, {"ttl": "5m", "inputTokens": 4}],
    }
    billed = scripted.stats()["billed"]
    assert (billed["input_tokens"], billed["output_tokens"], billed["cache_write_tokens"]) == (11, 22, 9)


@pytest.mark.parametrize(
    "reason", ["end_turn", "max_tokens", "guardrail_intervened", "content_filtered", "malformed_tool_use",
               "malformed_model_output", "model_context_window_exceeded", "stop_sequence", "tool_use"]
)  # fmt: skip
def test_every_stop_reason_can_be_had(scripted: Endpoint, reason: str) -> None:
    scripted.follow(replies=[{"text": "x", "stop_reason": reason}])
    assert scripted.say("?")["stopReason"] == reason
    assert {"messageStop": {"stopReason": reason}} in list(scripted.stream("?"))


def test_max_tokens_cut_an_answer_of_several_blocks(scripted: Endpoint) -> None:
    scripted.follow(replies=[{"reasoning": "one two", "text": "three four", **CALL}])
    answer = scripted.say("?", inferenceConfig={"maxTokens": 3})
    assert answer["output"]["message"]["content"][1:] == [{"text": "three"}]
    assert (answer["stopReason"], answer["usage"]["outputTokens"]) == ("max_tokens", 3)


def test_a_stop_sequence_is_looked_for_in_text_alone(scripted: Endpoint) -> None:
    scripted.follow(replies=[{"reasoning": "STOP here", "text": "go on", **CALL}])
    answer = scripted.say("?", inferenceConfig={"stopSequences": ["STOP", "Oslo"]})
    assert (answer["stopReason"], len(answer["output"]["message"]["content"])) == ("tool_use", 3)
    answer = scripted.say("?", inferenceConfig={"stopSequences": [" on"]})
    assert (answer["stopReason"], answer["output"]["message"]["content"][-1]) == ("stop_sequence", {"text": "go"})


def test_a_text_is_the_input_of_a_call_that_must_be(scripted: Endpoint) -> None:
    scripted.follow(text='{"city": "Rome"}')
    answer = scripted.say("?", toolConfig={**TOOLS, "toolChoice": {"any": {}}})
    assert answer["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": "Rome"}


def test_a_file_is_served(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("rules:\n  - {prompt: ping, replies: [pong]}\nlatency_ms: 1\n", encoding="utf-8")
    script = read_script(file)
    assert (script.rules[0].replies[0].text, script.latency_ms) == ("pong", 1)


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("rules: [{prompt: '(', replies: [a]}]", "field rules.0.prompt: '(' is no regular expression"),
        ("rules: [{prompt: a, replies: []}]", "field rules.0.replies: "),
        ("replies: [{txt: a}]", "field replies.0.txt: Extra inputs are not permitted"),
        ("replies: [{usage: {input_tokens: -1}}]", "field replies.0.usage.input_tokens: "),
        ("replies: [{stop_reason: bored}]", "field replies.0.stop_reason: "),
        ("latency_ms: .nan", "field latency_ms: "),
        ("- a", "field the whole: "),
        ("a: [", "cannot be used: while parsing"),
    ],
)
def test_a_wrong_file_is_told_by_its_field(tmp_path: Path, text: str, wording: str) -> None:
    file = tmp_path / "script.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LocalEndpointError) as caught:
        read_script(file)
    assert f"The script {file}" in str(caught.value)
    assert wording in str(caught.value)


def test_a_python_function_answers() -> None:
    def answer(request: ChatRequest) -> str | ScriptedAnswer | None:
        prompt = request.turns[-1].text
        if prompt == "refuse":
            raise Refusal("ThrottlingException", "No.")
        if prompt == "think":
            return ScriptedAnswer(reasoning="Hm.", text="Yes.")
        return "HEY" if prompt == "shout" else None

    with serving(answer, served_models()) as bedrock:

        def said(prompt: str) -> Any:
            return bedrock.client.converse(modelId=HAIKU, messages=user(prompt))

        assert text_of(said("shout")) == "HEY"
        assert [next(iter(block)) for block in said("think")["output"]["message"]["content"]] == [
            "reasoningContent", "text"
        ]  # fmt: skip
        assert text_of(said("echo")) == "echo"
        with pytest.raises(bedrock.client.exceptions.ThrottlingException):
            said("refuse")
        assert bedrock.stats()["answers"] == 3
    with pytest.raises(OSError, match="refused"):
        bedrock.stats()
