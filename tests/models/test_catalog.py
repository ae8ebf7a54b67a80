"""The catalog: what a name stands for in a region, what a model can do, and what a call costs."""

import warnings
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest

from agentflow.core.errors import UnknownModelError
from agentflow.core.model import Usage
from agentflow.models import catalog
from agentflow.models.catalog import Catalog, ModelType, load_catalog

CATALOG = load_catalog()
UNPRICED = {"llama-3-2-1b", "llama-3-2-3b", "llama-3-2-11b", "llama-3-2-90b"}  # past their end, and on no list


def test_every_model_type_is_in_the_catalog_and_the_other_way_round() -> None:
    assert {model.value for model in ModelType} == set(CATALOG.models)
    assert set(CATALOG.aliases.values()) <= set(CATALOG.models)
    assert all(spec.successor in {*CATALOG.models, None} for spec in CATALOG.models.values())


@pytest.fixture
def _nothing_said_yet() -> Iterator[None]:
    catalog._warn_of_end.cache_clear()
    yield
    catalog._warn_of_end.cache_clear()


@pytest.mark.filterwarnings("ignore:.*end of life")
@pytest.mark.parametrize("model", ModelType)
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2", "sa-east-1"])
def test_every_model_resolves_to_an_id_with_a_price_or_is_refused(model: ModelType, region: str) -> None:
    spec = CATALOG.models[model]
    try:
        resolved = CATALOG.resolve(model, region)
    except UnknownModelError:
        assert not spec.on_demand
        assert "global" not in spec.profiles
        return
    assert resolved.model_id.endswith(spec.id)
    assert model in UNPRICED or (resolved.cost(Usage(1000, 1000)) or 0) > 0


def test_every_model_is_reached_somehow_and_its_limits_make_sense() -> None:
    for name, spec in CATALOG.models.items():
        assert spec.on_demand or spec.profiles, name
        assert 0 < spec.max_output_tokens < spec.context_tokens, name
        assert spec.burndown in {1, 5, 10, 15}, name
        assert (spec.tokenizer is not None) == spec.id.startswith("anthropic."), name


@pytest.mark.parametrize(
    ("name", "known"),
    [
        # burndown, tokenizer, cache_min_tokens, json_schema, forced_tool, count_tokens, batch
        ("haiku-4-5", (5, "older", 4096, True, None, True, True)),
        ("haiku-5-5", (10, "newer", 512, False, None, False, False)),
        ("sonnet-4-6", (5, "older", 1024, None, None, None, None)),
        ("sonnet-5-5", (10, "newer", 512, None, False, None, None)),
        ("opus-4-7", (5, "newer", 4096, False, None, None, None)),
        ("opus-4-8", (15, "newer", 1024, None, None, None, None)),
        ("nova-2-lite", (1, None, None, False, None, False, True)),
    ],
)
def test_what_is_known_of_a_model(name: str, known: tuple[object, ...]) -> None:
    spec = CATALOG.models[name]
    tools = (spec.json_schema, spec.forced_tool, spec.count_tokens, spec.batch)
    assert (spec.burndown, spec.tokenizer, spec.cache_min_tokens, *tools) == known


def test_ids_are_those_that_the_service_takes() -> None:
    """The service model of `bedrock-runtime` has a pattern for the `modelId` of Converse."""
    import re

    from botocore.session import get_session

    shape = get_session().get_service_model("bedrock-runtime").shape_for("ConversationalModelId")
    for spec in CATALOG.models.values():
        for model_id in (spec.id, *(f"{profile}.{spec.id}" for profile in spec.profiles)):
            assert re.fullmatch(shape.metadata["pattern"], model_id), model_id


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


def warnings_of(models: Catalog, name: str) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models.resolve(name, "us-east-1")
        models.resolve(name, "us-east-1")
    return [str(warning.message) for warning in caught]


def with_lifecycle(**dates: date | None) -> Catalog:
    """Return a catalog in which Sonnet 4.5 has other dates."""
    changed = CATALOG.models["sonnet-4-5"].model_copy(update={"end_of_life": None, "legacy_since": None, **dates})
    return CATALOG.model_copy(update={"models": {**CATALOG.models, "sonnet-4-5": changed}})


@pytest.mark.usefixtures("_nothing_said_yet")
def test_a_retired_model_warns_once_and_names_its_successor() -> None:
    assert warnings_of(CATALOG, ModelType.SONNET_4) == [
        "'sonnet-4' reached its end of life on 2026-10-14: use 'sonnet-5'."
    ]


@pytest.mark.usefixtures("_nothing_said_yet")
@pytest.mark.parametrize(("days", "legacy"), [(90, False), (1, False), (200, True)])
def test_a_model_that_is_about_to_end_warns_once_and_names_its_successor(days: int, legacy: bool) -> None:
    today = date.today()  # noqa: DTZ011 - as the catalog counts
    end = today + timedelta(days=days)
    models = with_lifecycle(end_of_life=end, legacy_since=today if legacy else None)
    assert warnings_of(models, "sonnet-4-5") == [f"'sonnet-4-5' reaches its end of life on {end}: use 'sonnet-5'."]


@pytest.mark.usefixtures("_nothing_said_yet")
@pytest.mark.parametrize("days", [91, None])
def test_a_model_whose_end_is_far_off_says_nothing(days: int | None) -> None:
    today = date.today()  # noqa: DTZ011 - as the catalog counts
    models = with_lifecycle(end_of_life=today + timedelta(days=days) if days else None)
    assert warnings_of(models, "sonnet-4-5") == []


@pytest.mark.parametrize(
    ("model_id", "name", "profile"),
    [
        ("eu.anthropic.claude-sonnet-5", "sonnet-5", "eu"),
        ("amazon.nova-lite-v1:0", "nova-lite", "on-demand"),
        ("us-gov.anthropic.claude-opus-5", "opus-5", "us-gov"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "nova-lite", "on-demand"),
        ("arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-opus-5", "opus-5", "us"),
        ("mars.anthropic.claude-sonnet-5", "mars.anthropic.claude-sonnet-5", "on-demand"),
        ("us.anthropic.claude-sonnet-5-v9", "us.anthropic.claude-sonnet-5-v9", "on-demand"),
    ],
)
def test_an_id_that_the_catalog_has_is_known_by_its_name(model_id: str, name: str, profile: str) -> None:
    resolved = CATALOG.resolve(model_id, "us-east-1")
    assert (resolved.model_id, resolved.name, resolved.profile) == (model_id, name, profile)
    assert resolved.spec is CATALOG.models.get(name)


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HAIKU", "'haiku'"),
        ("us.anthropic.claude-haiku-4-5", "'us.anthropic.claude-haiku-4-5-20251001-v1:0'"),
        ("amazon.nova-lite", "'amazon.nova-lite-v1:0'"),
        ("claude-haiku-4.5", "'haiku-4-5'"),
    ],
)
def test_a_name_that_is_nearly_one_says_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match="did you mean") as error:
        CATALOG.resolve(name, "us-east-1")
    assert f"did you mean {meant}" in str(error.value)
