"""The catalog: what a name stands for in a region, and what a call costs."""

import warnings
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.errors import UnknownModelError
from agentflow.core.model import Usage
from agentflow.models.catalog import ModelType, load_catalog

CATALOG = load_catalog()


def test_every_model_type_is_in_the_catalog_and_the_other_way_round() -> None:
    assert {model.value for model in ModelType} == set(CATALOG.models)
    assert set(CATALOG.aliases.values()) <= set(CATALOG.models)
    assert all(spec.successor in {*CATALOG.models, None} for spec in CATALOG.models.values())


@pytest.mark.filterwarnings("ignore:.*end of life")
@pytest.mark.parametrize("model", ModelType)
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2", "sa-east-1"])
def test_every_model_resolves_to_an_id_with_a_price(model: ModelType, region: str) -> None:
    resolved = CATALOG.resolve(model, region)
    assert resolved.model_id.endswith(CATALOG.models[model].id)
    assert (resolved.cost(Usage(1000, 1000)) or 0) > 0


@pytest.mark.parametrize(
    ("name", "region", "model_id"),
    [
        (ModelType.HAIKU_4_5, "us-east-1", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("haiku", "eu-central-1", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("haiku", "ca-central-1", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("haiku", "ap-northeast-1", "jp.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("haiku", "sa-east-1", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        (None, "us-east-1", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("nova-lite", "eu-west-1", "eu.amazon.nova-lite-v1:0"),
        ("nova-lite", "me-central-1", "amazon.nova-lite-v1:0"),
        ("nova-micro", "ap-southeast-1", "apac.amazon.nova-micro-v1:0"),
        ("sonnet", "us-gov-west-1", "us-gov.anthropic.claude-sonnet-5"),
        ("eu.anthropic.claude-sonnet-5", "us-east-1", "eu.anthropic.claude-sonnet-5"),
        ("some.new-model-v9:0", "us-east-1", "some.new-model-v9:0"),
    ],
)
def test_a_name_resolves_to_the_profile_of_the_region(name: str | None, region: str, model_id: str) -> None:
    assert CATALOG.resolve(name, region).model_id == model_id


def test_an_unknown_alias_names_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match=r"'haikuu' is no model of the catalog \(did you mean 'haiku'\?\)"):
        CATALOG.resolve("haikuu", "us-east-1")


def test_a_model_that_a_region_cannot_reach_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="no inference profile that serves us-gov-west-1"):
        CATALOG.resolve("haiku", "us-gov-west-1")


def test_a_retired_model_warns_once_and_names_its_successor() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from agentflow.models import catalog

        catalog._warn_retired.cache_clear()
        CATALOG.resolve(ModelType.SONNET_4, "us-east-1")
        CATALOG.resolve(ModelType.SONNET_4, "us-east-1")
    assert [str(warning.message) for warning in caught] == [
        "'sonnet-4' reached its end of life on 2026-10-14: use 'sonnet-5'."
    ]


@pytest.mark.parametrize(
    ("model_id", "usage", "dollars"),
    [
        # The fact behind the first: 10,000 tokens in and 500 out of `us.` Haiku 4.5 are $0.011 + $0.00275.
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(10_000, 500), "0.01375"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(10_000, 500), "0.0125"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(0, 0, cache_read_tokens=1_000_000), "0.11"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(0, 0, 0, 1_000_000), "1.375"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(0, 0, 0, 1_000_000, 400_000), "1.705"),
        ("global.anthropic.claude-haiku-5-5", Usage(100_000, 1000), "0.0105"),
        ("global.anthropic.claude-haiku-5-5", Usage(100_001, 1000), "0.0525005"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Usage(200_001, 0), "1.3200066"),
        ("amazon.nova-lite-v1:0", Usage(1_000_000, 0), "0.06"),
        (
            "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-sonnet-5",
            Usage(1000, 0),
            "0.0022",
        ),
    ],
)
def test_costs_are_exact(model_id: str, usage: Usage, dollars: str) -> None:
    assert CATALOG.resolve(model_id, "us-east-1").cost(usage) == Decimal(dollars)


@pytest.mark.parametrize(
    ("model_id", "usage"),
    [
        ("some.new-model-v9:0", Usage(1, 1)),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", Usage(1, 1)),  # a bare id of Claude cannot be called
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", Usage(1, 1, 0, 10, 10)),  # no price for an hour's cache write
    ],
)
def test_an_unknown_price_is_unknown_and_not_zero(model_id: str, usage: Usage) -> None:
    assert CATALOG.resolve(model_id, "us-east-1").cost(usage) is None


@given(st.builds(Usage, *[st.integers(0, 10**6)] * 3), st.builds(Usage, *[st.integers(0, 10**6)] * 3))
def test_costs_add_up_and_are_never_negative(one: Usage, two: Usage) -> None:
    price = CATALOG.models["haiku-4-5"].price("us", 0)
    assert price is not None
    both = Usage(
        one.input_tokens + two.input_tokens,
        one.output_tokens + two.output_tokens,
        one.cache_read_tokens + two.cache_read_tokens,
    )
    costs = [price.cost(usage) for usage in (one, two, both)]
    assert all(cost is not None and cost >= 0 for cost in costs)
    assert (costs[0] or 0) + (costs[1] or 0) == costs[2]
