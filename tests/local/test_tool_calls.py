"""What a model that only writes text is bound to write where it may call tools, and what that becomes."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.local.answers import Answer, collect
from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Items, Piece, StopReason, Tool
from agentflow.local.scripted import smallest_instance
from agentflow.local.tool_calls import CALL_MARK, as_blocks
from tests.endpoint import HAIKU, Endpoint, user

WEATHER = Tool("weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
AUTO = ChatRequest((), tools=(WEATHER, Tool("time", {"type": "object"})))
SPEC = {"toolSpec": {"name": "weather", "description": "Of a city", "inputSchema": {"json": WEATHER.schema}}}


async def _items(pieces: list[str], reason: StopReason) -> Items:
    yield Begin(1)
    for count, piece in enumerate(pieces, start=1):
        yield Piece(piece, count)
    yield Finish(reason, len(pieces))


def understood(text: str, cuts: list[int], reason: StopReason = StopReason.END_TURN) -> Answer:
    """Return what a text becomes, however it is cut into pieces."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places) if end > start]
    return asyncio.run(collect(as_blocks(_items(pieces, reason), AUTO)))


CUTS = st.lists(st.integers(0, 1000), max_size=10)


@given(st.text(min_size=1).filter(lambda text: not text.startswith("<")), CUTS)
def test_text_stays_text(text: str, cuts: list[int]) -> None:
    answer = understood(text, cuts)
    assert (answer.blocks, answer.finish.reason) == (((Block(), text),), StopReason.END_TURN)


@given(st.text(), CUTS)
def test_a_call_is_a_call_however_it_arrives(city: str, cuts: list[int]) -> None:
    answer = understood(CALL_MARK + json.dumps({"name": "weather", "input": {"city": city}}), cuts)
    [(block, text)] = answer.blocks
    assert (block, json.loads(text)) == (Block("tool_use", "weather"), {"city": city})
    assert answer.finish.reason == StopReason.TOOL_USE


@given(st.integers(0, 60), CUTS)
def test_a_call_that_was_cut_is_no_malformed_call(size: int, cuts: list[int]) -> None:
    whole = CALL_MARK + json.dumps({"name": "weather", "input": {"city": "Longyearbyen"}})
    answer = understood(whole[:size], cuts, StopReason.MAX_TOKENS)
    assert [block.kind for block, _ in answer.blocks] == ["text"]
    assert answer.finish.reason == StopReason.MAX_TOKENS


@pytest.mark.parametrize(
    "written", ["[1]", '{"name": "rocket", "input": {}}', '{"name": [], "input": 1}', '{"input": {}}']
)
def test_what_no_grammar_has_bound_is_said_to_be_malformed(written: str) -> None:
    answer = understood(CALL_MARK + written, [])
    assert (answer.blocks, answer.finish.reason) == (((Block(), written),), StopReason.MALFORMED_TOOL_USE)


def test_the_references_of_a_tools_schema_hold_within_a_choice_of_tools() -> None:
    city = {"type": "object", "properties": {"near": {"$ref": "#"}, "name": {"$ref": "#/$defs/Name"}}}
    tool = Tool("weather", {**city, "required": ["name"], "$defs": {"Name": {"enum": ["Oslo"]}}})
    schema = ChatRequest((), tools=(Tool("time", {"type": "object"}), tool)).call_schema
    moved = schema["$defs"]["tool_1"]["properties"]
    assert moved == {"near": {"$ref": "#/$defs/tool_1"}, "name": {"$ref": "#/$defs/tool_1/$defs/Name"}}
    assert smallest_instance({**schema, "anyOf": schema["anyOf"][1:]}) == {"name": "weather", "input": {"name": "Oslo"}}


@pytest.mark.parametrize("choice", [{"any": {}}, {"tool": {"name": "book"}}])
def test_the_small_model_calls_tools_with_any_schema(small_model: Endpoint, choice: dict[str, Any]) -> None:
    schema = {
        "type": "object",
        "properties": {
            "guest": {"$ref": "#/$defs/Guest"},
            "days": {"type": "array", "uniqueItems": True, "maxItems": 2},
        },
        "required": ["guest"],
        "additionalProperties": False,
        "$defs": {"Guest": {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}},
    }
    book = {"toolSpec": {"name": "book", "inputSchema": {"json": schema}}}
    tools = {"tools": [book, {"toolSpec": {**SPEC["toolSpec"], "name": "never"}}], "toolChoice": choice}
    answer = small_model.say("Book a room.", toolConfig=tools, inferenceConfig={"temperature": 0.0, "maxTokens": 300})
    assert answer["stopReason"] in ("tool_use", "max_tokens")
    if answer["stopReason"] == "tool_use":
        call = answer["output"]["message"]["content"][0]["toolUse"]
        assert call["name"] == "never" or isinstance(call["input"]["guest"]["age"], int)


@pytest.mark.parametrize("prompt", ["Hello!", "What is the weather in Paris?", "Call weather.", "<tool_call>", "{"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_small_model_answers_or_calls_and_is_never_malformed(
    small_model: Endpoint, prompt: str, temperature: float
) -> None:
    settings = {"maxTokens": 40, "temperature": temperature}
    answer = small_model.say(prompt, toolConfig={"tools": [SPEC]}, inferenceConfig=settings)
    [block] = answer["output"]["message"]["content"]
    if "toolUse" in block:
        assert answer["stopReason"] == "tool_use"
        assert isinstance(block["toolUse"]["input"]["city"], str)
    else:
        assert answer["stopReason"] in ("end_turn", "max_tokens")
        assert block["text"]


def test_the_small_model_calls_a_tool_by_itself_once_it_has_seen_calls(small_model: Endpoint) -> None:
    """Its prompt has the calls of earlier turns as it would write them, which is example enough."""
    messages: list[Any] = []
    for number, city in enumerate(["Rome", "Oslo", "Lima"]):
        use = {"toolUseId": f"t{number}", "name": "weather", "input": {"city": city}}
        result = {"toolUseId": f"t{number}", "content": [{"text": "sunny"}]}
        messages += [
            *user(f"Weather in {city}?"),
            {"role": "assistant", "content": [{"toolUse": use}]},
            {"role": "user", "content": [{"toolResult": result}]},
            {"role": "assistant", "content": [{"text": f"It is sunny in {city}."}]},
        ]
    messages += user("Weather in Paris?")
    answer = small_model.client.converse(
        modelId=HAIKU, messages=messages, toolConfig={"tools": [SPEC]}, inferenceConfig={"temperature": 0.0}
    )
    assert answer["stopReason"] == "tool_use"
    assert answer["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": "Paris"}
