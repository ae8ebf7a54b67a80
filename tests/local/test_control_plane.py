"""Foundation models and inference profiles by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint


@pytest.fixture
def bedrock_lists(scripted: Endpoint) -> Any:
    return scripted.new_client("bedrock")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {HAIKU_BARE, "amazon.nova-lite-v1:0"}),
        ({"byProvider": "Amazon"}, {"amazon.nova-lite-v1:0"}),
        ({"byInferenceType": "ON_DEMAND"}, {"amazon.nova-lite-v1:0"}),
        ({"byOutputModality": "TEXT"}, {HAIKU_BARE, "amazon.nova-lite-v1:0"}),
        ({"byOutputModality": "IMAGE"}, set()),
        ({"byCustomizationType": "FINE_TUNING"}, set()),
        ({"byInferenceType": "PROVISIONED"}, set()),
    ],
)
def test_models_are_listed_as_the_filters_say(bedrock_lists: Any, filters: dict[str, str], found: set[str]) -> None:
    ids = {model["modelId"] for model in bedrock_lists.list_foundation_models(**filters)["modelSummaries"]}
    assert ids & {HAIKU_BARE, "amazon.nova-lite-v1:0"} == found
    assert bool(ids) == bool(found)


def test_a_model_is_found_by_its_id_and_by_its_arn(bedrock_lists: Any) -> None:
    by_id = bedrock_lists.get_foundation_model(modelIdentifier=HAIKU_BARE)["modelDetails"]
    assert (by_id["modelName"], by_id["providerName"]) == ("Claude Haiku 4.5", "Anthropic")
    assert by_id["inferenceTypesSupported"] == []  # only a profile may call it
    assert bedrock_lists.get_foundation_model(modelIdentifier=by_id["modelArn"])["modelDetails"] == by_id


def test_a_model_whose_end_is_announced_is_legacy(bedrock_lists: Any) -> None:
    model_id = "anthropic.claude-sonnet-4-20250514-v1:0"
    lifecycle = bedrock_lists.get_foundation_model(modelIdentifier=model_id)["modelDetails"]["modelLifecycle"]
    assert lifecycle["status"] == "LEGACY"
    assert lifecycle["endOfLifeTime"].date().isoformat() == "2026-10-14"


@pytest.mark.parametrize(
    ("region", "prefixes"),
    [("us-east-1", {"us", "global"}), ("eu-west-1", {"eu", "global"}), ("ap-northeast-1", {"jp", "apac", "global"}),
     ("sa-east-1", {"global"}), ("us-gov-west-1", {"us-gov"})],
)  # fmt: skip
def test_the_profiles_are_those_of_the_clients_region(scripted: Endpoint, region: str, prefixes: set[str]) -> None:
    rows = scripted.new_client("bedrock", region=region).list_inference_profiles()["inferenceProfileSummaries"]
    assert {row["inferenceProfileId"].partition(".")[0] for row in rows} == prefixes
    assert all(f":{region}:" in row["inferenceProfileArn"] for row in rows)


def test_profiles_come_in_pages(bedrock_lists: Any) -> None:
    whole = bedrock_lists.list_inference_profiles()["inferenceProfileSummaries"]
    pages = bedrock_lists.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 7})
    sizes = [len(page["inferenceProfileSummaries"]) for page in pages]
    assert sum(sizes) == len(whole)
    assert set(sizes[:-1]) == {7}
    assert bedrock_lists.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"] == []


def test_a_profile_names_its_models(bedrock_lists: Any) -> None:
    profile = bedrock_lists.get_inference_profile(inferenceProfileIdentifier=HAIKU)
    assert f"arn:aws:bedrock:us-east-2::foundation-model/{HAIKU_BARE}" in [row["modelArn"] for row in profile["models"]]
    by_arn = bedrock_lists.get_inference_profile(inferenceProfileIdentifier=profile["inferenceProfileArn"])
    assert by_arn["inferenceProfileId"] == HAIKU
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        bedrock_lists.get_inference_profile(inferenceProfileIdentifier=f"eu.{HAIKU_BARE}")
