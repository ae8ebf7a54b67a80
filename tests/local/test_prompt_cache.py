"""The prompt cache against tables made by hand, and as a client meets it in both wire formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from agentflow.local.chat import CacheUse
from agentflow.local.clock import Clock, ClockChange
from agentflow.local.prompt_cache import PromptCache, anthropic_blocks, converse_blocks
from tests.endpoint import HAIKU, Endpoint

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"  # caches from 1,024 tokens on
LONG = "word " * 2_000
POINT = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}


def body(*user_blocks: Any, system: Any = (), tools: Any = ()) -> dict[str, Any]:
    tool_config = {"toolConfig": {"tools": list(tools)}} if tools else {}
    return {"system": list(system), "messages": [{"role": "user", "content": list(user_blocks)}], **tool_config}


class Cache:
    """A cache with a clock that stands, and a prompt of which each character of a block's text is about one token."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.change(ClockChange(stopped=True))
        self._cache = PromptCache(self.clock)

    def use(self, request: dict[str, Any], least_tokens: int | None = 100) -> CacheUse:
        blocks = converse_blocks(request)
        return self._cache.use(HAIKU, blocks, blocks[-1].characters, least_tokens)

    def wait(self, seconds: float) -> None:
        self.clock.change(ClockChange(advance_seconds=seconds))


def text(character: str, count: int = 500) -> dict[str, str]:
    return {"text": character * count}


def test_what_was_written_is_read_until_five_minutes_after_its_last_use() -> None:
    cache = Cache()
    first = cache.use(body(text("a"), POINT, text("b")))
    assert first.read_tokens == 0
    assert first.write_5m_tokens > 500
    for _ in range(3):
        cache.wait(299)
        assert cache.use(body(text("a"), POINT, text("c"))) == CacheUse(read_tokens=first.write_5m_tokens)
    cache.wait(301)
    assert cache.use(body(text("a"), POINT, text("b"))) == first


def test_an_hour_is_an_hour() -> None:
    cache = Cache()
    first = cache.use(body(text("a"), HOUR))
    assert (first.write_5m_tokens, first.write_1h_tokens > 0) == (0, True)
    cache.wait(3599)
    assert cache.use(body(text("a"), HOUR)).read_tokens == first.write_1h_tokens
    cache.wait(3601)
    assert cache.use(body(text("a"), HOUR)).read_tokens == 0


def test_each_checkpoint_is_written_with_its_own_life() -> None:
    cache = Cache()
    request = body(text("q"), system=[text("s"), POINT], tools=[tool(500), HOUR])
    first = cache.use(request)
    assert first.write_1h_tokens > 500
    assert first.write_5m_tokens > 500
    cache.wait(301)
    later = cache.use(request)
    assert (later.read_tokens, later.write_5m_tokens) == (first.write_1h_tokens, first.write_5m_tokens)


def test_below_the_minimum_nothing_is_cached() -> None:
    cache = Cache()
    for _ in range(2):
        assert cache.use(body(text("a", 10), POINT, text("b", 1000))) == CacheUse()
    assert cache.use(body(text("a", 1000), POINT), least_tokens=None) == CacheUse()


def test_the_minimum_counts_all_of_the_prompt_before_the_checkpoint() -> None:
    cache = Cache()
    request = body(text("q", 10), POINT, system=[text("s", 60), POINT], tools=[tool(10)])
    assert cache.use(request, least_tokens=150).write_5m_tokens > 150


def test_a_changed_tool_changes_all_that_follows() -> None:
    cache = Cache()
    cache.use(body(text("q"), POINT, system=[text("s"), POINT], tools=[tool(500), POINT]))
    changed = cache.use(body(text("q"), POINT, system=[text("s"), POINT], tools=[tool(501), POINT]))
    assert changed.read_tokens == 0


def test_a_checkpoint_that_moves_on_reads_what_the_last_turn_wrote() -> None:
    cache = Cache()
    turns = [{"role": "user", "content": [text("a"), POINT]}]
    first = cache.use({"messages": turns})
    turns = [
        {"role": "user", "content": [text("a")]},
        {"role": "assistant", "content": [text("b")]},
        {"role": "user", "content": [text("c"), POINT]},
    ]
    second = cache.use({"messages": turns})
    assert second.read_tokens == first.write_5m_tokens
    assert second.write_5m_tokens > 1000


@pytest.mark.parametrize(("blocks", "found"), [(20, True), (21, False)])
def test_twenty_blocks_are_looked_back(blocks: int, found: bool) -> None:
    cache = Cache()
    cache.use(body(text("a"), POINT))
    later = cache.use(body(text("a"), *[text("b", 5)] * blocks, POINT))
    assert (later.read_tokens > 0) is found


@pytest.mark.parametrize(
    ("points", "wording"),
    [
        ([POINT] * 5, "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        ([HOUR, POINT, HOUR], "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."),
    ],
)
def test_checkpoints_that_bedrock_would_refuse_are_refused(scripted: Endpoint, points: list[Any], wording: str) -> None:
    content = [entry for point in points for entry in (text("a", 5), point)]
    with pytest.raises(ClientError, match="ValidationException") as caught:
        scripted.say("?", messages=[{"role": "user", "content": content}])
    assert wording in caught.value.response["Error"]["Message"]


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=3), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 5000),
)
def test_the_parts_of_a_prompt_are_never_more_than_the_prompt(parts: list[tuple[str, bool]], tokens: int) -> None:
    content: list[Any] = [
        entry for text, cached in parts for entry in ({"text": text}, POINT if cached else None) if entry
    ]
    blocks = converse_blocks(body(*content))
    cache = PromptCache(Clock())
    for _ in range(3):
        use = cache.use(HAIKU, blocks, tokens, least_tokens=1)
        assert 0 <= use.read_tokens + use.write_tokens <= tokens
        assert min(use.read_tokens, use.write_5m_tokens, use.write_1h_tokens) >= 0


def test_converse_tells_the_four_counts(scripted: Endpoint) -> None:
    system = [{"text": LONG}, HOUR]
    first = scripted.say("Hello!", modelId=SONNET, system=system)["usage"]
    assert first["cacheReadInputTokens"] == 0
    assert first["cacheDetails"] == [{"ttl": "1h", "inputTokens": first["cacheWriteInputTokens"]}]
    assert first["totalTokens"] == first["inputTokens"] + first["outputTokens"] + first["cacheWriteInputTokens"]
    [metadata] = [
        event["metadata"] for event in scripted.stream("Goodbye!", modelId=SONNET, system=system) if "metadata" in event
    ]
    second = metadata["usage"]
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["cacheWriteInputTokens"] == 0
    assert "cacheDetails" not in second
    billed = scripted.stats()["billed"]
    assert billed["cache_read_tokens"] == billed["cache_write_tokens"] == first["cacheWriteInputTokens"]
    assert billed["input_tokens"] == first["inputTokens"] + second["inputTokens"]


def test_a_request_without_checkpoints_has_no_cache_counts(scripted: Endpoint) -> None:
    assert scripted.say("Hello!")["usage"].keys() == {"inputTokens", "outputTokens", "totalTokens"}


def test_the_catalogs_minimum_decides(scripted: Endpoint) -> None:
    system = [{"text": LONG}, POINT]  # about 2,000 tokens
    written = [
        scripted.say("?", modelId=model, system=system)["usage"]["cacheWriteInputTokens"] > 0
        for model in (HAIKU, SONNET, "amazon.nova-lite-v1:0")
    ]
    assert written == [False, True, True]


def test_the_clock_ends_an_entry(scripted: Endpoint) -> None:
    scripted.clock.stop()
    system = [{"text": LONG}, POINT]
    reads = []
    for wait in (0, 300, 299, 299):
        scripted.clock.advance(wait)
        reads.append(scripted.say("?", modelId=SONNET, system=system)["usage"]["cacheReadInputTokens"] > 0)
    assert reads == [False, False, True, True]


def test_anthropics_body_has_its_checkpoints_on_blocks(scripted: Endpoint) -> None:
    request = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 5,
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "Hi"}],
    }
    usages = []
    for _ in range(2):
        answer = scripted.client.invoke_model(modelId=SONNET, body=json.dumps(request))
        usages.append(json.loads(answer["body"].read())["usage"])
    assert usages[0]["cache_creation_input_tokens"] == usages[1]["cache_read_input_tokens"] > 1024
    assert usages[0]["cache_read_input_tokens"] == usages[1]["cache_creation_input_tokens"] == 0


def test_a_mark_is_no_part_of_what_it_marks() -> None:
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    plain = {"type": "text", "text": "a"}
    [first, last] = (
        anthropic_blocks({"messages": [{"role": "user", "content": [block, marked]}]}) for block in (marked, plain)
    )
    assert [block.digest for block in first] == [block.digest for block in last]
    assert [[block.ttl for block in blocks] for blocks in (first, last)] == [["1h", "1h"], [None, "1h"]]


def tool(size: int) -> dict[str, Any]:
    return {"toolSpec": {"name": "t", "description": "d" * size, "inputSchema": {"json": {"type": "object"}}}}
