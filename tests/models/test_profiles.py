"""Profiles that are chosen by name, and application inference profiles, which do not tell their model."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.errors import DefinitionError, InvalidRequestError, ModelCallError, UnknownModelError
from agentflow.core.model import Request, Usage
from agentflow.models.catalog import _warn_of_end, load_catalog
from tests.endpoint import Endpoint

ARN = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123"


@pytest.mark.parametrize(
    ("name", "model_id", "input_usd"),
    [
        ("haiku", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "1.1"),
        ("global.haiku", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "1"),
        ("us.haiku-4-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "1.1"),
        ("on-demand.nova-lite", "amazon.nova-lite-v1:0", "0.06"),
    ],
)
def test_a_profile_is_chosen_by_its_kind_before_the_name(name: str, model_id: str, input_usd: str) -> None:
    resolved = load_catalog().resolve(name, "eu-west-1")
    assert resolved.model_id == model_id
    assert resolved.cost(Usage(1_000_000, 0)) == Decimal(input_usd)


def test_a_profile_that_a_model_does_not_have_is_an_error_that_lists_those_it_has() -> None:
    with pytest.raises(UnknownModelError, match=r"no profile 'apac'.*us, eu, au, jp, global"):
        load_catalog().resolve("apac.haiku", "eu-west-1")


def test_an_application_profile_has_the_price_and_limits_of_its_base() -> None:
    client = BedrockClient("us-east-1", base_models={ARN: "haiku"})
    plain = BedrockClient("us-east-1").estimate("haiku", Request("Hello", 100))
    estimate = client.estimate(ARN, Request("Hello", 100))
    assert estimate.most_usd == plain.most_usd
    assert estimate.most_usd is not None
    assert BedrockClient("us-east-1").estimate(ARN, Request("Hello", 100)).most_usd is None


def test_an_application_profile_of_the_global_profile_has_its_price() -> None:
    regional = BedrockClient("us-east-1", base_models={ARN: "haiku"}).estimate(ARN, Request("Hello"))
    over_all = BedrockClient("us-east-1", base_models={ARN: "global.haiku"}).estimate(ARN, Request("Hello"))
    assert regional.most_usd == over_all.most_usd * Decimal("1.1")  # type: ignore[operator]


async def test_an_application_profile_is_checked_by_the_limits_of_its_base(scripted: Endpoint) -> None:
    client = BedrockClient("us-east-1", endpoint_url=scripted.url, base_models={ARN: "haiku"})
    with pytest.raises(InvalidRequestError, match="64,000"):
        await client.invoke(ARN, "x", max_tokens=64_001)


def test_a_base_that_the_catalog_does_not_know_is_named() -> None:
    with pytest.raises(UnknownModelError, match="haikuu"):
        BedrockClient("us-east-1", base_models={ARN: "haikuu"}).check(ARN)
    with pytest.raises(UnknownModelError, match=r"base_models: 'some\.model'"):
        BedrockClient("us-east-1", base_models={ARN: "some.model"}).check(ARN)
    with pytest.raises(DefinitionError, match="'haiku' is no ARN"):
        BedrockClient("us-east-1", base_models={"haiku": "haiku"})


def test_a_workflow_of_yaml_keeps_the_base_models() -> None:
    workflow = Workflow("w")
    client = BedrockClient("us-east-1", base_models={ARN: "haiku"})
    workflow.add_step("a", SimpleAgent(AgentConfig(name="a", model_type=ARN), client, prompt_template="x"))
    read = Workflow.from_yaml(workflow.to_yaml())
    agent = read.steps["a"].agent
    assert isinstance(agent, SimpleAgent)
    assert isinstance(agent.client, BedrockClient)
    assert agent.client.given == client.given
    agent.check_price()


def test_a_retired_model_is_warned_of_also_by_its_id() -> None:
    _warn_of_end.cache_clear()
    with pytest.warns(UserWarning, match="use 'sonnet-5'"):
        load_catalog().resolve("us.anthropic.claude-sonnet-4-20250514-v1:0", "us-east-1")


async def test_access_to_a_model_is_checked_with_ten_tokens(scripted: Endpoint) -> None:
    scripted.follow(text="word " * 40)
    reply = await BedrockClient("us-east-1", endpoint_url=scripted.url).check_access("haiku")
    assert (reply.stop_reason, reply.usage.output_tokens) == ("max_tokens", 10)


@pytest.mark.parametrize("fault", ["throttled_requests", "unavailable", "iam_denied"])
async def test_a_check_of_access_is_one_request_whatever_comes(scripted: Endpoint, fault: str) -> None:
    scripted.faults({"fault": fault})
    with pytest.raises(ModelCallError):
        await BedrockClient("us-east-1", endpoint_url=scripted.url).check_access()
    assert scripted.stats()["requests"] == 1


def test_the_model_behind_an_id_is_named() -> None:
    catalog = load_catalog().model_copy(update={"base_models": {ARN: "global.haiku"}})
    profile = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
    bare = "anthropic.claude-haiku-4-5-20251001-v1:0"
    assert {catalog.name_of(name) for name in (ARN, profile, bare, f"eu.{bare}")} == {"haiku-4-5"}
    assert catalog.name_of("no.such") is None
