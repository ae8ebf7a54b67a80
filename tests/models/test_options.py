"""An option that a call cannot take is refused before anything is sent, with its name and what it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import botocore.session
import pytest

from agentflow import BedrockClient
from agentflow.core.content import Attachment, CachePoint, CacheTime
from agentflow.core.errors import AgentFlowError, DefinitionError, InputError, InvalidRequestError
from agentflow.core.model import (
    GUARDRAIL_IDENTIFIER,
    GUARDRAIL_VERSION,
    Guardrail,
    Latency,
    RequestOptions,
    ServiceTier,
    StreamMode,
    ToolSpec,
    Trace,
    Turn,
)
from agentflow.models.options import MAX_EFFORT, MAX_POINTER, MAX_RESPONSE_FIELDS, TAKES
from tests.endpoint import Endpoint

TOOL = ToolSpec("look", "", {"type": "object"})


def shape(name: str) -> Any:
    return botocore.session.get_session().get_service_model("bedrock-runtime").shape_for(name)


async def refused(endpoint: Endpoint, prompt: Any = "x", **options: Any) -> AgentFlowError:
    """Return the error of a call that has sent nothing."""
    before = endpoint.stats()["requests"]
    with pytest.raises(AgentFlowError) as caught:
        await BedrockClient(endpoint_url=endpoint.url).invoke("haiku", prompt, **options)
    assert endpoint.stats()["requests"] == before
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("option", "value", "takes"),
    [
        ("max_tokens", "5", "a whole number"),
        ("max_tokens", None, "a whole number"),
        ("max_tokens", 5.5, "a whole number"),
        ("max_tokens", True, "a whole number"),
        ("temperature", "hot", "a number from 0 to 1"),
        ("temperature", 10**400, "a number from 0 to 1"),
        ("top_p", [1], "a number from 0 to 1"),
        ("system", 5, "text"),
        ("stop_sequences", 5, "a list of texts"),
        ("stop_sequences", ["a", 5], "a list of texts"),
        ("output_schema", "a: int", "AgentConfig(output_type=...)"),
        ("output_schema", {"type": object}, "a JSON schema"),
        ("turns", [("user", "a")], "a list of Turn"),
        ("turns", [{"role": "user", "content": "a"}], "a list of Turn"),
        ("turns", Turn("user", "a"), "a list of Turn"),
        ("tools", [len], "AgentConfig(tools=...)"),
        ("cache_system", "2h", "'5m' or '1h'"),
        ("cache_tools", "2h", "'5m' or '1h'"),
        ("guardrail", {"identifier": "a", "version": "1"}, "a Guardrail"),
        ("service_tier", "fast", "'priority', 'default', 'flex' or 'reserved'"),
        ("latency", "turbo", "'standard' or 'optimized'"),
        ("latency", ["optimized"], "'standard' or 'optimized'"),
        ("effort", "x" * 20, "1 to 16 characters"),
        ("effort", "", "1 to 16 characters"),
        ("extra_fields", ["top_k"], "a dict"),
        ("extra_fields", {"top_k": Path("a")}, "a dict"),
        ("extra_fields", {"top_k": float("nan")}, "a dict"),
        ("tools", [ToolSpec("a", 5, {})], "a list of ToolSpec"),  # type: ignore[arg-type]
        ("response_fields", ["stop_sequence"], "JSON pointers"),
        ("response_fields", ["/a"] * 11, "JSON pointers"),
    ],
)
async def test_an_option_of_the_wrong_kind_says_what_it_takes(
    scripted: Endpoint, option: str, value: Any, takes: str
) -> None:
    error = await refused(scripted, **{option: value})
    assert isinstance(error, InvalidRequestError)
    assert error.what.startswith(f"{option}=")
    assert takes in error.fix


async def test_a_misspelt_option_names_the_nearest(scripted: Endpoint) -> None:
    error = await refused(scripted, max_token=5)
    assert "no option 'max_token' (did you mean 'max_tokens'?)" in str(error)
    assert "stop_sequences" in error.fix


async def test_every_option_is_checked_before_a_stream_and_a_count_too(scripted: Endpoint) -> None:
    assert set(TAKES) == set(RequestOptions.__annotations__)
    client: Any = BedrockClient(endpoint_url=scripted.url)
    with pytest.raises(InvalidRequestError, match="latency='turbo'"):
        client.stream("haiku", "x", latency="turbo")
    with pytest.raises(InvalidRequestError, match="latency='turbo'"):
        await client.count_tokens("haiku", "x", latency="turbo")


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([Turn("user", [Path("a.png")]), Turn("assistant", "b")], "turns[0] has PosixPath"),  # type: ignore[list-item]
        ([Turn("bot", "a")], "turns[0] is of the role 'bot'"),  # type: ignore[arg-type]
        ([Turn("user", 5)], "turns[0] has 5"),  # type: ignore[arg-type]
        ([Turn(["user"], "a")], "turns[0] is of the role ['user']"),  # type: ignore[arg-type]
        ([Turn("user", None)], "turns[0] has None"),  # type: ignore[arg-type]
        ([Turn("user", [{"text": 5}])], "turns[0] has {'text': 5}"),
        ([Turn("assistant", "a")], "begin with the assistant"),
        ([Turn("user", ""), Turn("assistant", "b")], "number 1 is empty"),
        ([Turn("user", " \n"), Turn("assistant", "b")], "number 1 is empty"),
        ([Turn("user", []), Turn("assistant", "b")], "number 1 is empty"),
    ],
)
async def test_a_turn_that_cannot_be_sent_is_named(scripted: Endpoint, turns: list[Turn], says: str) -> None:
    error = await refused(scripted, turns=turns)
    assert isinstance(error, InvalidRequestError)
    assert says in error.what


async def test_two_tools_of_one_name_and_one_in_the_place_of_the_answer_are_refused(scripted: Endpoint) -> None:
    assert "two tools are called 'look'" in str(await refused(scripted, tools=[TOOL, TOOL]))
    answer = ToolSpec("answer", "", {"type": "object"})
    error = await refused(scripted, tools=[answer], output_schema={"type": "object"})
    assert "'answer' is the name" in str(error)


async def test_a_list_of_fields_may_be_one_text(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    request = await client.invoke("haiku", "x", response_fields="/stop_sequence", stop_sequences="END")
    assert request.text


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (b"abc", "of type bytes"),
        (None, "of type NoneType"),
        ([Path("a.png")], r"A \w*Path in the prompt"),
        (["x", b"PNG"], "A bytes in the prompt"),
    ],
)
async def test_a_prompt_of_the_wrong_kind_says_which(scripted: Endpoint, prompt: Any, says: str) -> None:
    error = await refused(scripted, prompt)
    assert isinstance(error, InputError)
    assert re.search(says, error.what)
    assert "Attachment.of" in error.fix


@pytest.mark.parametrize("prompt", ["", "  \n", [], ["", " "], [CachePoint()]])
async def test_an_empty_prompt_is_not_sent(scripted: Endpoint, prompt: Any) -> None:
    assert "The prompt is empty" in str(await refused(scripted, prompt))


async def test_blanks_beside_other_texts_are_left_out(scripted: Endpoint) -> None:
    assert (
        await BedrockClient(endpoint_url=scripted.url).invoke(
            "nova-lite", ["x", " ", Attachment("image", "png", b"\x89PNG\r\n\x1a\n")]
        )
    ).text


async def test_documents_of_turns_are_checked_as_those_of_the_prompt(scripted: Endpoint) -> None:
    page = Attachment("document", "txt", b"text")
    six = await refused(scripted, turns=[Turn("user", ["x", *[page] * 6]), Turn("assistant", "b")])
    assert "number 1 has 6 documents" in str(six)
    alone = await refused(scripted, turns=[Turn("user", [page]), Turn("assistant", "b")])
    assert "number 1 is a document without text" in str(alone)


def test_a_cache_point_for_another_time_is_refused_where_it_is_made() -> None:
    with pytest.raises(InputError, match=r"CachePoint\('2h'\)"):
        CachePoint("2h")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("identifier", "version"), [("a", "latest"), ("a", "0"), ("a", 1), ("My-guardrail", "1"), ("", "1"), ("a", "")]
)
def test_a_guardrail_that_bedrock_does_not_take_is_refused_where_it_is_made(identifier: Any, version: Any) -> None:
    with pytest.raises(DefinitionError, match=r"guardrail"):
        Guardrail(identifier, version)


def test_a_guardrail_takes_known_modes_only() -> None:
    with pytest.raises(DefinitionError, match="trace='on'"):
        Guardrail("a", "1", trace="on")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="stream_mode='later'"):
        Guardrail("a", "1", stream_mode="later")  # type: ignore[arg-type]
    Guardrail("arn:aws:bedrock:us-east-1:111122223333:guardrail/abc123", "DRAFT")


def test_the_values_are_those_of_botocores_service_model() -> None:
    assert list(get_args(ServiceTier)) == shape("ServiceTierType").enum
    assert list(get_args(Latency)) == shape("PerformanceConfigLatency").enum
    assert list(get_args(CacheTime)) == shape("CacheTTL").enum
    assert list(get_args(Trace)) == shape("GuardrailTrace").enum
    assert list(get_args(StreamMode)) == shape("GuardrailStreamProcessingMode").enum
    assert f"(|{GUARDRAIL_IDENTIFIER})" == shape("GuardrailIdentifier").metadata["pattern"]
    assert f"(|{GUARDRAIL_VERSION})" == shape("GuardrailVersion").metadata["pattern"]
    assert shape("OutputConfigEffortString").metadata["max"] == MAX_EFFORT
    paths = "ConverseRequestAdditionalModelResponseFieldPathsList"
    assert shape(paths).metadata["max"] == MAX_RESPONSE_FIELDS
    assert shape(f"{paths}MemberString").metadata["max"] == MAX_POINTER


@pytest.mark.parametrize(
    "arguments",
    [
        {"region_name": 5}, {"endpoint_url": 5}, {"profile_name": 5}, {"max_connections": True}, {"regions": [5]},
        {"regions": 5}, {"base_models": ["arn:aws"]}, {"base_models": {5: "haiku"}}, {"quotas": {"haiku": 5}},
        {"quotas": [5]}, {"fallback_model": 5},
    ],
)  # fmt: skip
def test_an_argument_of_the_wrong_kind_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(arguments))) as caught:
        BedrockClient(**arguments)
    assert caught.value.fix
