"""What a request will take: the likely tokens, and bounds that hold."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentflow
from agentflow import AgentConfig, Attachment, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.content import CachePoint, ToolResult
from agentflow.core.errors import UnknownModelError, UnknownPriceError
from agentflow.core.model import Request, ToolSpec, Turn, Usage
from agentflow.models.catalog import load_catalog
from agentflow.models.tokens import LARGEST_CONTEXT_TOKENS, estimated_tokens, most_tokens
from tests.dictated import Dictated, answer
from tests.endpoint import Endpoint

SCHEMA = {"type": "object", "properties": {"urgent": {"type": "boolean"}}, "required": ["urgent"]}
SENT_SCHEMA = {**SCHEMA, "additionalProperties": False}
PICTURE = Attachment("image", "png", b"\x89PNG\r\n\x1a\n....")


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (Request("x" * 35), 20),
        (Request("x" * 36), 21),  # rounded up
        (Request("東京" * 10), 30),
        (Request("Grüße"), 13),  # 3 in ASCII, 2 others
        (Request("x" * 35, system="y" * 35), 30),
        (Request("x" * 35, turns=(Turn("user", "y" * 35), Turn("assistant", "z" * 35))), 60),
        (Request(("x" * 35, PICTURE)), 20),
        (Request((ToolResult("u", "x" * 35),)), 20),
        (Request("x", turns=(Turn("user", "y"), Turn("assistant", ({"text": "z" * 35},)))), 44),
        (Request("x" * 35, tools=(ToolSpec("t", "", SCHEMA),)), 20 + -(-len(json.dumps(["t", "", SENT_SCHEMA])) // 3)),
        (Request("x" * 35, output_schema=SCHEMA), 20 + -(-len(json.dumps(SENT_SCHEMA)) // 3)),
    ],
)
def test_the_likely_tokens_follow_the_rule(request_: Request, tokens: int) -> None:
    assert estimated_tokens(request_) == estimated_tokens(request_, "older") == tokens


def test_the_newer_tokenizer_makes_more_of_the_same_text() -> None:
    assert estimated_tokens(Request("x" * 350), "newer") == 143  # 110 and 30 % more


@given(st.text(), st.none() | st.text(), st.lists(st.text(), max_size=3), st.none() | st.just(SCHEMA))
def test_the_most_tokens_are_more_than_the_bytes_and_than_the_likely_ones(
    prompt: str, system: str | None, turns: list[str], schema: Any
) -> None:
    request = Request(prompt, system=system, turns=tuple(Turn("user", text) for text in turns), output_schema=schema)
    bytes_sent = sum(len(text.encode(errors="surrogatepass")) for text in (prompt, system or "", *turns))
    most = most_tokens(request, 200_000)
    assert most > bytes_sent
    assert most > estimated_tokens(request, "newer")


def test_the_most_tokens_with_an_attachment_are_the_context_window() -> None:
    assert most_tokens(Request(("Look", PICTURE)), 200_000) == 200_000
    assert most_tokens(Request(("Look", "here")), 200_000) < 200_000


def test_no_model_has_a_larger_context_than_the_one_that_is_taken_for_an_unknown_model() -> None:
    assert max(spec.context_tokens for spec in load_catalog().models.values()) == LARGEST_CONTEXT_TOKENS


def test_an_estimate_has_the_model_the_tokens_and_the_price_of_them() -> None:
    estimate = BedrockClient("eu-west-1").estimate("haiku", Request("x" * 350, 1000))
    assert (estimate.model, estimate.input_tokens, estimate.most_output_tokens) == ("haiku-4-5", 110, 1000)
    assert estimate.most_input_tokens == 450
    assert estimate.price(Usage(110, 1000)) == Decimal("0.005621")
    assert estimate.most_usd == estimate.price(Usage(450, 1000)) == Decimal("0.005995")


def test_the_most_dollars_are_those_of_the_tier_that_the_most_tokens_reach() -> None:
    client = BedrockClient("us-east-1")
    short, long = (client.estimate("haiku-5-5", Request("x" * length, 100)) for length in (99_000, 101_000))
    assert short.most_usd == Decimal(99100) * Decimal("0.11") / 1_000_000 + Decimal("0.000055")
    assert long.most_usd == Decimal(101100) * Decimal("0.55") / 1_000_000 + Decimal("0.000275")
    pictured = client.estimate("haiku-5-5", Request(("Look", PICTURE), 100))
    assert pictured.most_usd == Decimal("0.550275")


def test_with_a_cache_point_all_tokens_may_be_written_to_the_cache_for_the_longest_time() -> None:
    client = BedrockClient("eu-west-1")
    five_minutes = client.estimate("haiku", Request(("x" * 350, CachePoint()), 1000))
    an_hour = client.estimate("haiku", Request(("x" * 350, CachePoint()), 1000, system="s", cache_system="1h"))
    assert five_minutes.most_usd == (450 * Decimal("1.375") + 1000 * Decimal("5.5")) / 1_000_000
    assert an_hour.most_usd == (451 * Decimal("2.2") + 1000 * Decimal("5.5")) / 1_000_000
    only_five_minutes = client.estimate("sonnet-4", Request("x" * 350, 1000, cache_tools="1h"))
    without_a_price = client.estimate("nova-lite", Request("x" * 350, 1000, cache_tools="1h"))
    nothing_kept = client.estimate("llama-3-3-70b", Request(("x" * 350, CachePoint()), 1000))
    assert only_five_minutes.most_usd == (450 * Decimal("3.75") + 1000 * Decimal(15)) / 1_000_000
    assert without_a_price.most_usd is None
    assert nothing_kept.most_usd == nothing_kept.price(Usage(450, 1000))


@pytest.mark.parametrize("served", [{"service_tier": "priority"}, {"service_tier": "flex"}, {"latency": "optimized"}])
async def test_a_service_tier_or_latency_that_no_list_prices_has_no_known_price(
    dictated: Dictated, served: dict[str, Any]
) -> None:
    client = BedrockClient("us-east-1", endpoint_url=dictated.url)
    estimate = client.estimate("nova-pro", Request("x", **served))
    assert (estimate.most_usd, estimate.price(Usage(10, 5))) == (None, None)
    dictated.says(answer("Yes."))
    assert (await client.invoke("nova-pro", "x", **served)).cost_usd is None
    asked = len(dictated.requests)
    workflow = Workflow(WorkflowConfig(name="w", budget_usd=1))
    config = AgentConfig(name="a", model_type="nova-pro", **served)
    workflow.add_step("ask", SimpleAgent(config, client, prompt_template="?"))
    with pytest.raises(UnknownPriceError, match="default service tier"):
        await workflow.execute()
    with agentflow.budget(1), pytest.raises(UnknownPriceError):
        await client.invoke("nova-pro", "x", **served)
    assert len(dictated.requests) == asked
    standard = Request("x", service_tier="default", latency="standard")
    assert client.estimate("nova-pro", standard).most_usd == client.estimate("nova-pro", Request("x")).most_usd


def test_an_answer_is_no_longer_than_the_model_can_make_it() -> None:
    estimate = BedrockClient("us-east-1").estimate("nova-micro", Request("x", 20_000))
    assert estimate.most_output_tokens == 10_000


def test_a_model_without_a_price_has_tokens_but_no_dollars() -> None:
    estimate = BedrockClient("us-east-1").estimate("some.new-model-v9:0", Request(("x", PICTURE), 20_000))
    assert (estimate.price(Usage(1, 1)), estimate.most_usd) == (None, None)
    assert (estimate.most_input_tokens, estimate.most_output_tokens) == (LARGEST_CONTEXT_TOKENS, 20_000)


def test_an_unknown_name_has_no_estimate() -> None:
    with pytest.raises(UnknownModelError):
        BedrockClient("us-east-1").estimate("haikuu", Request("x"))


async def test_what_a_call_cost_is_within_its_estimate(scripted: Endpoint) -> None:
    scripted.follow(text="four words of text")
    client = BedrockClient("us-east-1", endpoint_url=scripted.url)
    request = Request("Say four words, please.", 50, system="You are terse.", output_schema=None)
    estimate = client.estimate("haiku", request)
    reply = await client.answer("haiku", request)
    assert reply.bedrock_usd is not None
    assert estimate.most_usd is not None
    assert reply.usage.input_tokens <= estimate.most_input_tokens
    assert 0 < reply.bedrock_usd <= estimate.most_usd
