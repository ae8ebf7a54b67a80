"""Service Quotas for Bedrock, in lists and one by one: what the endpoint enforces, else what AWS's defaults are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, cast

from agentflow.local.control_plane import provider, title
from agentflow.local.errors import Refusal
from agentflow.local.facts import ServedModels
from agentflow.local.incoming import ACCOUNT, page
from agentflow.local.quotas import Quota, Quotas
from agentflow.local.shapes import check

TARGET = "ServiceQuotasV20190624."  # how the header X-Amz-Target of this service begins

_PAGE = 100
_SERVICE = "service-quotas"
_WRONG_TOKEN = "InvalidPaginationTokenException"  # noqa: S105 - an error's name
_HAIKU_4_5 = "anthropic.claude-haiku-4-5-20251001-v1:0"

#: Codes of tokens-per-minute quotas that public code names, by kind of profile and model; others get one made of their
#: name, which is the same at every start.
_CODES: Mapping[tuple[str, str], str] = {
    ("Cross-region", _HAIKU_4_5): "L-58BE175A",
    ("Global cross-region", _HAIKU_4_5): "L-9A11C666",
    ("Cross-region", "anthropic.claude-sonnet-4-20250514-v1:0"): "L-59759B4A",
    ("Cross-region", "anthropic.claude-opus-4-7"): "L-5DB28B7B",
    ("Cross-region", "anthropic.claude-opus-4-8"): "L-DB99DCDB",
    ("Global cross-region", "anthropic.claude-opus-4-8"): "L-4FCE27C7",
    ("Cross-region", "anthropic.claude-opus-5"): "L-99296DCD",
    ("Global cross-region", "anthropic.claude-opus-5"): "L-D73B1244",
    ("Cross-region", "anthropic.claude-opus-5-5"): "L-A4430697",
    ("Global cross-region", "anthropic.claude-opus-5-5"): "L-A103A344",
    ("Cross-region", "anthropic.claude-sonnet-5"): "L-D4FBCF4E",
    ("Global cross-region", "anthropic.claude-sonnet-5"): "L-DD84E5CA",
}

#: The one default that is publicly read: tokens per minute in us-east-1. The others differ by account.
_DEFAULTS: Mapping[str, int] = {"L-58BE175A": 5_000_000}

_MINUTE = {"PeriodValue": 1, "PeriodUnit": "MINUTE"}
_DAY = {"PeriodValue": 1, "PeriodUnit": "DAY"}


def answer(target: str, body: object, served: ServedModels, quotas: Quotas, region: str) -> Mapping[str, Any]:
    """Return the body of a response, by the operation in the header ``X-Amz-Target``.

    Raises
    ------
    Refusal
        Service Quotas would not accept it, or it is another operation.
    """
    operation = target.removeprefix(TARGET)
    values = {
        "GetServiceQuota": quotas.of,
        "GetAWSDefaultServiceQuota": _no_quota,
        "ListServiceQuotas": quotas.of,
        "ListAWSDefaultServiceQuotas": _no_quota,
    }.get(operation)
    if values is None:
        raise Refusal("UnknownOperationException", f"This local endpoint has no operation {target or 'here'}.")
    check(body, operation, _SERVICE)
    asked = cast("Mapping[str, Any]", body)
    if asked["ServiceCode"] != "bedrock":
        raise Refusal("NoSuchResourceException", f"The service {asked['ServiceCode']} does not exist.")
    rows = [row for row in _rows(served, values, region) if asked.get("QuotaCode") in (None, row["QuotaCode"])]
    if operation.startswith("Get"):
        if not rows:
            raise Refusal("NoSuchResourceException", f"The quota {asked['QuotaCode']} does not exist.")
        return {"Quota": rows[0]}
    shown, token = page(rows, asked.get("MaxResults") or _PAGE, asked.get("NextToken"), code=_WRONG_TOKEN)
    return {"Quotas": list(shown), **({"NextToken": token} if token else {})}


def _no_quota(_called_as: str) -> Quota:
    return Quota()


def _rows(served: ServedModels, values: Callable[[str], Quota], region: str) -> Iterator[Mapping[str, Any]]:
    for model in served:
        called = {"On-demand": model.model_id} if model.on_demand else {}
        for geography in served.geographies_of(region):
            if geography in model.profiles:
                kind = "Global cross-region" if geography == "global" else "Cross-region"
                called[kind] = f"{geography}.{model.model_id}"
        whom = f"{provider(model)} {title(model)}"
        by_kind = {kind: values(called_as) for kind, called_as in called.items()}
        for kind, quota in by_kind.items():
            name = f"{kind} model inference tokens per minute for {whom}"
            code = _CODES.get((kind, model.model_id)) or _code(name)
            yield from _row(code, name, quota.tokens_per_minute, _MINUTE, region)
            name = f"{kind} model inference requests per minute for {whom}"
            yield from _row(_code(name), name, quota.requests_per_minute, _MINUTE, region)
        name = f"Model invocation max tokens per day for {whom}"  # of all kinds together
        days = [quota.tokens_per_day for quota in by_kind.values() if quota.tokens_per_day is not None]
        yield from _row(_code(name), name, min(days, default=None), _DAY, region)


def _row(
    code: str, name: str, value: int | None, period: Mapping[str, Any], region: str
) -> Iterator[Mapping[str, Any]]:
    value = _DEFAULTS.get(code) if value is None else value
    if value is not None:  # a quota that is not known is not listed
        yield {
            "ServiceCode": "bedrock",
            "ServiceName": "Amazon Bedrock",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:bedrock/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
            "Period": period,
            "QuotaAppliedAtLevel": "ACCOUNT",
        }


def _code(name: str) -> str:
    return f"L-{blake2b(name.encode(), digest_size=4).hexdigest().upper()}"
