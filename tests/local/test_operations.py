"""The four operations by boto3, for the scripted and the small model alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.endpoint import HAIKU, Endpoint, text_of, user

ANTHROPIC = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 12,
    "messages": [{"role": "user", "content": "Hi there"}],
}
WEATHER = {
    "toolSpec": {
        "name": "weather",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    }
}
TIME = {"toolSpec": {**WEATHER["toolSpec"], "name": "time"}}


def test_converse_answers_with_text_usage_and_latency(either: Endpoint) -> None:
    answer = either.say("Hello!", inferenceConfig={"maxTokens": 8})
    assert text_of(answer)
    usage = answer["usage"]
    assert 0 < usage["outputTokens"] <= 8
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert answer["stopReason"] in ("end_turn", "max_tokens")
    assert answer["metrics"]["latencyMs"] >= 0
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36


def test_converse_stream_sends_the_events_in_bedrocks_order(either: Endpoint) -> None:
    response = either.client.converse_stream(modelId=HAIKU, messages=user("Hello!"), inferenceConfig={"maxTokens": 8})
    events = list(response["stream"])
    kinds = [next(iter(event)) for event in events]
    deltas = kinds.count("contentBlockDelta")
    assert deltas >= 1
    assert kinds == [
        "messageStart", *["contentBlockDelta"] * deltas, "contentBlockStop", "messageStop", "metadata"
    ]  # fmt: skip
    assert events[-1]["metadata"]["usage"]["outputTokens"] > 0


def test_invoke_model_speaks_anthropics_body(either: Endpoint) -> None:
    response = either.client.invoke_model(modelId=HAIKU, body=json.dumps(ANTHROPIC))
    body = json.loads(response["body"].read())
    assert response["contentType"] == "application/json"
    assert body["content"][0]["text"]
    assert body["usage"]["output_tokens"] > 0
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == str(body["usage"]["input_tokens"])


def test_invoke_model_streams_anthropics_objects_and_ends_with_bedrocks_figures(either: Endpoint) -> None:
    response = either.client.invoke_model_with_response_stream(modelId=HAIKU, body=json.dumps(ANTHROPIC))
    objects = [json.loads(event["chunk"]["bytes"]) for event in response["body"]]
    kinds = [part["type"] for part in objects]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    metrics = objects[-1]["amazon-bedrock-invocationMetrics"]
    assert metrics["outputTokenCount"] == objects[-2]["usage"]["output_tokens"] > 0
    assert objects[0]["message"]["usage"]["input_tokens"] == metrics["inputTokenCount"]


def test_every_answer_names_the_model_behind_the_endpoint(either: Endpoint) -> None:
    headers = either.say("Hello!", inferenceConfig={"maxTokens": 4})["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-agentflow-model"] == either.stats()["model"]
    assert f"({headers['x-agentflow-model']})" in either.first_line


@pytest.mark.parametrize(
    "name",
    [HAIKU, f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU}", "amazon.nova-lite-v1:0",
     "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"],
)  # fmt: skip
def test_a_model_can_be_called_by_every_name_bedrock_has_for_it(scripted: Endpoint, name: str) -> None:
    assert text_of(scripted.say("Hello!", modelId=name)) == "Hello!"


def test_a_schema_makes_the_answer_json(either: Endpoint) -> None:
    schema = {"type": "object", "properties": {"severity": {"enum": ["P0", "P1", "P2"]}}, "required": ["severity"]}
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}
    answer = either.say("Checkout is completely down for all users", outputConfig={"textFormat": text_format})
    assert json.loads(text_of(answer))["severity"] in ("P0", "P1", "P2")
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize("choice", [{"tool": {"name": "weather"}}, {"any": {}}])
def test_a_forced_tool_is_called(either: Endpoint, choice: dict[str, Any]) -> None:
    answer = either.say("Weather in Paris?", toolConfig={"tools": [WEATHER, TIME], "toolChoice": choice})
    call = answer["output"]["message"]["content"][0]["toolUse"]
    assert answer["stopReason"] == "tool_use"
    assert call["name"] in ({"weather"} if "tool" in choice else {"weather", "time"})
    assert isinstance(call["input"]["city"], str)


def test_a_streamed_tool_call_arrives_as_fragments_of_its_input(either: Endpoint) -> None:
    tools = {"tools": [WEATHER], "toolChoice": {"any": {}}}
    response = either.client.converse_stream(modelId=HAIKU, messages=user("Weather in Paris?"), toolConfig=tools)
    events = list(response["stream"])
    assert events[1]["contentBlockStart"]["start"]["toolUse"]["name"] == "weather"
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert "city" in json.loads("".join(delta["toolUse"]["input"] for delta in deltas))
    assert {"messageStop": {"stopReason": "tool_use"}} in events


def test_invoke_model_calls_a_forced_tool(scripted: Endpoint) -> None:
    tool = {"name": "weather", "input_schema": WEATHER["toolSpec"]["inputSchema"]["json"]}  # type: ignore[index]
    body = {**ANTHROPIC, "tools": [tool], "tool_choice": {"type": "tool", "name": "weather"}}
    answer = json.loads(scripted.client.invoke_model(modelId=HAIKU, body=json.dumps(body))["body"].read())
    assert answer["content"][0]["input"] == {"city": ""}
    assert answer["stop_reason"] == "tool_use"


def test_blocks_that_the_model_cannot_read_are_named_in_its_prompt(scripted: Endpoint) -> None:
    content = [
        {"text": "Compare."},
        {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n0000"}}},
        {"document": {"name": "Report", "format": "pdf", "source": {"bytes": b"%PDF"}}},
    ]
    echo = text_of(scripted.say("", messages=[{"role": "user", "content": content}]))
    assert echo.splitlines() == [
        "Compare.",
        "[an image (png) is attached, which this model cannot see]",
        "[a document (pdf) is attached, which this model cannot read: Report]",
    ]


def test_results_of_tools_are_part_of_the_prompt(scripted: Endpoint) -> None:
    messages = [
        *user("Weather?"),
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"c": 3}}]}}]},
    ]
    echo = text_of(scripted.say("", messages=messages, toolConfig={"tools": [WEATHER]}))
    assert echo == '[the tool answered: {"c": 3}]'
