"""Service Quotas' lists for Bedrock by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint import HAIKU, Endpoint

HAIKU_TOKENS = "L-58BE175A"


def listed(client: Any, **more: Any) -> dict[str, float]:
    rows = client.list_service_quotas(ServiceCode="bedrock", **more)["Quotas"]
    return {row["QuotaName"]: row["Value"] for row in rows}


@pytest.fixture
def quotas(scripted: Endpoint) -> Any:
    return scripted.new_client("service-quotas")


def test_the_quotas_that_the_endpoint_enforces_are_listed(scripted: Endpoint, quotas: Any) -> None:
    scripted.quotas({HAIKU: {"tokens_per_minute": 9000, "requests_per_minute": 5, "tokens_per_day": 70}})
    assert listed(quotas) == {
        "Cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5": 9000,
        "Cross-region model inference requests per minute for Anthropic Claude Haiku 4.5": 5,
        "Model invocation max tokens per day for Anthropic Claude Haiku 4.5": 70,
    }
    assert list(listed(quotas, QuotaCode=HAIKU_TOKENS).values()) == [9000]


def test_the_defaults_are_amazons(scripted: Endpoint, quotas: Any) -> None:
    scripted.quotas({"*": {"tokens_per_minute": 1}})
    defaults = quotas.list_aws_default_service_quotas(ServiceCode="bedrock")["Quotas"]
    assert [(row["QuotaCode"], row["Value"]) for row in defaults] == [(HAIKU_TOKENS, 5_000_000)]


def test_quotas_come_in_pages_each_with_a_code_of_its_own(scripted: Endpoint, quotas: Any) -> None:
    scripted.quotas({"*": {"tokens_per_minute": 1, "requests_per_minute": 2}})
    pages = list(quotas.get_paginator("list_service_quotas").paginate(ServiceCode="bedrock", MaxResults=10))
    rows = [row for page in pages for row in page["Quotas"]]
    assert len(pages) > 2
    assert len({row["QuotaCode"] for row in rows}) == len(rows)
    assert len({row["QuotaName"] for row in rows}) == len(rows)


def test_another_service_and_another_operation_are_refused(quotas: Any) -> None:
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.list_service_quotas(ServiceCode="ec2")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        quotas.list_services()
