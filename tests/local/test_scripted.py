from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from agentflow.local.answers import Answer, collect, until_stop
from agentflow.local.chat import Begin, Block, Finish, Item, Piece, StopReason
from agentflow.local.scripted import smallest_instance
from tests.endpoint import HAIKU, Endpoint, text_of, user


def test_replies_come_in_turn_and_begin_again(scripted: Endpoint) -> None:
    scripted.follow(replies=["a", "b"])
    assert [text_of(scripted.say("?")) for _ in range(3)] == ["a", "b", "a"]


def test_a_fixed_reply_is_given_to_everyone(scripted: Endpoint) -> None:
    scripted.follow(text="fixed")
    assert {text_of(scripted.say(text)) for text in "xyz"} == {"fixed"}


def test_an_error_to_order_comes_once_and_is_not_billed(scripted: Endpoint) -> None:
    error = {"code": "ThrottlingException", "message": "Too many requests, please wait before trying again."}
    scripted.follow(errors=[error, {"code": "ServiceUnavailableException", "message": "Busy.", "times": 2}])
    billed = scripted.stats()["billed"]
    for code in ("ThrottlingException", "ServiceUnavailableException", "ServiceUnavailableException"):
        with pytest.raises(ClientError, match=code):
            scripted.client.converse_stream(modelId=HAIKU, messages=user("Hello!"))
    assert scripted.stats()["billed"] == billed
    assert text_of(scripted.say("Hello!")) == "Hello!"


def test_max_tokens_cuts_a_reply(scripted: Endpoint) -> None:
    scripted.follow(text="one two three four")
    answer = scripted.say("?", inferenceConfig={"maxTokens": 2})
    assert (text_of(answer), answer["stopReason"], answer["usage"]["outputTokens"]) == ("one two", "max_tokens", 2)


def test_a_stop_sequence_ends_a_reply_before_it(scripted: Endpoint) -> None:
    scripted.follow(text="one two three four")
    answer = scripted.say("?", inferenceConfig={"stopSequences": ["o th"]})
    assert (text_of(answer), answer["stopReason"]) == ("one tw", "stop_sequence")


def test_the_first_word_comes_before_the_last(scripted: Endpoint) -> None:
    scripted.follow(text="one two three four", latency_ms=240, first_token_ms=40)
    start = time.monotonic()
    stream = scripted.client.converse_stream(modelId=HAIKU, messages=user("?"))["stream"]
    arrivals = [time.monotonic() - start for event in stream if "contentBlockDelta" in event]
    assert len(arrivals) == 4
    assert arrivals[-1] - arrivals[0] > 0.1
    assert arrivals[-1] >= 0.23


def test_a_hundred_calls_at_once_wait_together(scripted: Endpoint) -> None:
    scripted.follow(latency_ms=300)
    client = scripted.new_client(connections=100)
    start = time.monotonic()
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda n: text_of(client.converse(modelId=HAIKU, messages=user(str(n)))), range(100)))
    assert answers == [str(n) for n in range(100)]
    assert time.monotonic() - start < 10  # one after the other: 30 s
    assert scripted.stats()["peak_in_flight"] >= 20


@pytest.mark.parametrize("script", [{"reply": "a"}, {"latency_ms": -1}, {"errors": [{"code": "X"}]}, {"replies": "a"}])
def test_a_script_that_cannot_be_used_is_refused(scripted: Endpoint, script: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="field script"):
        scripted.follow(**script)


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"type": "string"}, ""),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": ["null", "string"]}, None),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, [0]),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, False),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}, "b": {}}, "required": ["a"],
          "$defs": {"A": {"type": "number"}}}, {"a": 0}),
        ({"$ref": "#"}, None),
    ],
)  # fmt: skip
def test_the_smallest_instance_of_a_schema(schema: dict[str, Any], instance: Any) -> None:
    assert smallest_instance(schema) == instance


def test_a_malformed_schema_is_refused(scripted: Endpoint) -> None:
    tool = {"name": "t", "inputSchema": {"json": {"type": [{}]}}}
    with pytest.raises(ClientError, match="ValidationException"):
        scripted.say("?", toolConfig={"tools": [{"toolSpec": tool}], "toolChoice": {"any": {}}})


async def _items(pieces: list[str]) -> AsyncGenerator[Item, None]:
    yield Begin(1)
    yield Block()
    for count, piece in enumerate(pieces, start=1):
        yield Piece(piece, count)
    yield Finish(StopReason.END_TURN, len(pieces))


@given(st.lists(st.text("ab", min_size=1, max_size=3)), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stop_sequences_do_not_care_how_the_text_is_cut(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    found: Answer = asyncio.run(collect(until_stop(_items(pieces), stops)))
    # The stop that is complete first wins; of those complete at once, the one that begins first.
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    if not ends:
        assert (found.text, found.finish.reason) == (text, StopReason.END_TURN)
        return
    assert found.finish.reason == StopReason.STOP_SEQUENCE
    assert text.startswith(found.text + (found.finish.stop_sequence or "?"))
    assert not any(stop in found.text for stop in stops)
