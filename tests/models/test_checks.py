"""Requests that cannot be answered are refused before they are sent, with the field named."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import pytest

from agentflow import BedrockClient
from agentflow.core.content import Attachment
from agentflow.core.errors import InvalidRequestError, PromptTooLongError
from agentflow.core.model import Request, ToolSpec, Turn
from agentflow.models.catalog import ResolvedModel, load_catalog
from agentflow.models.checks import check_request
from agentflow.models.converse import request_body
from tests.endpoint import Endpoint

TOOL = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
USE = {"toolUse": {"toolUseId": "use_1", "name": "weather", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "use_1", "content": [{"text": "rain"}]}}
POINT = {"cachePoint": {"type": "default"}}
POINT_1H = {"cachePoint": {"type": "default", "ttl": "1h"}}
PNG = Attachment("image", "png", b"\x89PNG\r\n\x1a\n")


def model(name: str = "haiku") -> ResolvedModel:
    return load_catalog().resolve(name, "us-east-1")


def check(request: Request, name: str = "haiku", **more: Any) -> None:
    check_request({**request_body(request), **more}, model(name))


def said(role: str, *blocks: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"role": role, "content": list(blocks)}


ASKED = said("user", {"text": "x"})


@pytest.mark.parametrize(
    ("request_", "name", "says"),
    [
        (Request("x", max_tokens=0), "haiku", "max_tokens=0"),
        (Request("x", max_tokens=64_001), "haiku", "max_tokens=64,001 .* 64,000"),
        (Request("x", temperature=1.5), "haiku", r"temperature=1\.5"),
        (Request("x", temperature=float("nan")), "haiku", "temperature=nan"),
        (Request("x", temperature=0.5), "sonnet-5-5", "sonnet-5-5 takes no temperature"),
        (Request("x", stop_sequences=("",)), "haiku", "stop_sequences has an empty"),
        (Request("x", stop_sequences=("a",) * 2501), "haiku", "stop_sequences has 2,501"),
        (Request("x", turns=(Turn("user", "y"),)), "haiku", "both of the role 'user'"),
        (Request("x", output_schema={"type": "object"}), "sonnet-5-5", "cannot be made to call a tool"),
        (Request("x", output_schema={"type": "array"}), "nova-lite", "output_schema: its root is not"),
        (Request("x", tools=(ToolSpec("t", "", {}),)), "haiku", "tools: the schema of 't': its root is not"),
        (Request((PNG,) * 21), "haiku", "21 images"),
    ],
)
def test_a_request_that_cannot_be_answered_names_the_field(request_: Request, name: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says) as caught:
        check(request_, name)
    assert caught.value.fix
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"requestMetadata": {}}, "metadata has 0"),
        ({"requestMetadata": {str(number): "x" for number in range(17)}}, "metadata has 17"),
        ({"requestMetadata": {"k": "x" * 257}}, "more than 256"),
        ({"requestMetadata": {"k": "übung"}}, "characters that Bedrock refuses"),
        ({"toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "clock"}}}}, "no tool 'clock'"),
        ({"toolConfig": {"tools": [{"toolSpec": {**TOOL["toolSpec"], "name": "a b"}}]}}, "'a b' is no name"),
        ({"messages": [ASKED, said("assistant", USE)]}, "nothing answers it"),
        ({"messages": [said("user", RESULT)]}, "which the message before did not use"),
        ({"messages": [ASKED, said("assistant", USE), ASKED]}, "no result of the tool use 'use_1'"),
        ({"messages": [ASKED, said("assistant", {"image": {}})]}, "is the assistant's and has an attachment"),
        ({"system": [{"text": "s"}, *[POINT] * 5]}, "5 cache points"),
        ({"system": [{"text": "s"}, POINT, {"text": "t"}, POINT_1H]}, "1h stands after one of 5m"),
        ({"system": [POINT], "toolConfig": {"tools": [TOOL, POINT]},
          "messages": [said("user", POINT_1H, {"text": "x"})]}, "1h stands after"),
    ],
)  # fmt: skip
def test_a_body_that_breaks_a_rule_names_the_field(more: Mapping[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(says)):
        check(Request("x"), **more)


def test_a_cache_point_may_last_only_as_long_as_the_model_keeps_it() -> None:
    nova_like = {"system": [{"text": "long " * 4000}, POINT_1H]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Sonnet 4 has ended
        with pytest.raises(InvalidRequestError, match="caches no prompt for 1h"):
            check(Request("x"), "sonnet-4", **nova_like)
    check(Request("x"), "haiku", **nova_like)


def test_a_cache_point_that_caches_nothing_is_said() -> None:
    with pytest.warns(UserWarning, match=r"fewer tokens than opus-4-5 caches \(4,096\)"):
        check(Request("x"), "opus-4-5", system=[{"text": "short"}, POINT])


def test_what_bedrock_takes_passes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(Request("x", 64_000, "s", 1.0, ("END",), turns=(Turn("user", "a"), Turn("assistant", "b"))))
        check(Request("x", output_schema={"type": "object", "properties": {"a": {"type": "string"}}}))
        check(Request((PNG,) * 20))
        check(Request("x", max_tokens=10**6, temperature=0.5), "some.new-model-v9:0")
        check(Request("x"), requestMetadata={"workflow": "nightly run", "team": ""})
        check(
            Request("x"),
            toolConfig={"tools": [TOOL, POINT_1H], "toolChoice": {"auto": {}}},
            system=[{"text": "word " * 5000}, POINT],
            messages=[said("user", {"text": "x"}), said("assistant", {"text": "hm"}, USE), said("user", RESULT)],
        )


def test_a_prompt_is_too_long_only_where_no_count_could_fit() -> None:
    check(Request("a" * 3_200_000))
    check(Request(" " * 4_000_000 + "x"))
    with pytest.raises(PromptTooLongError, match="200,000 tokens"):
        check(Request("a" * 3_200_001))


async def test_a_refused_request_is_never_sent_plain_or_streamed(scripted: Endpoint) -> None:
    before = scripted.stats()["requests"]
    client = BedrockClient(endpoint_url=scripted.url)
    with pytest.raises(InvalidRequestError, match="Nothing was sent"):
        await client.invoke("haiku", "x", max_tokens=0)
    with pytest.raises(InvalidRequestError, match="Nothing was sent"):
        [text async for text in client.stream("haiku", "x", max_tokens=0)]
    assert scripted.stats()["requests"] == before
