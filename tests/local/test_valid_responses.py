"""Every operation's response, and every kind of error, is what botocore's service models allow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint, user
from tests.local.valid import error_problems, method_of, problems, send, stream_problems

MODEL = f"/model/{HAIKU.replace(':', '%3A')}"
BARE = f"/model/{HAIKU_BARE.replace(':', '%3A')}"
SAY = {"messages": user("Hello!")}
TOOL = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
EVERYTHING = {
    "reasoning": "First.",
    "signature": "c2ln",
    "text": "Then.",
    "tool_calls": [{"name": "weather", "input": {"city": "Oslo"}}],
    "usage": {"input_tokens": 5, "cache_read_tokens": 7, "cache_write_tokens": 2, "cache_write_1h_tokens": 3},
}
ANTHROPIC = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
JOB = {
    "jobName": "nightly",
    "roleArn": "arn:aws:iam::123456789012:role/Batch",
    "modelId": HAIKU,
    "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://nowhere/in.jsonl"}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://nowhere/out/"}},
}
QUOTAS = "ServiceQuotasV20190624"


@pytest.mark.parametrize(
    ("service", "operation", "path", "body"),
    [
        ("bedrock-runtime", "Converse", f"{MODEL}/converse", SAY),
        ("bedrock-runtime", "CountTokens", f"{BARE}/count-tokens", {"input": {"converse": SAY}}),
        ("bedrock", "ListFoundationModels", "/foundation-models", None),
        ("bedrock", "GetFoundationModel", f"/foundation-models/{HAIKU_BARE.replace(':', '%3A')}", None),
        ("bedrock", "GetFoundationModelAvailability", f"/foundation-model-availability/{HAIKU_BARE}", None),
        ("bedrock", "ListInferenceProfiles", "/inference-profiles?maxResults=3", None),
        ("bedrock", "GetInferenceProfile", f"/inference-profiles/{HAIKU.replace(':', '%3A')}", None),
        ("service-quotas", "GetServiceQuota", "/", {"ServiceCode": "bedrock", "QuotaCode": "L-58BE175A"}),
        ("service-quotas", "GetAWSDefaultServiceQuota", "/", {"ServiceCode": "bedrock", "QuotaCode": "L-58BE175A"}),
        ("service-quotas", "ListServiceQuotas", "/", {"ServiceCode": "bedrock"}),
        ("service-quotas", "ListAWSDefaultServiceQuotas", "/", {"ServiceCode": "bedrock"}),
        ("bedrock", "CreateModelInvocationJob", "/model-invocation-job", JOB),
        ("bedrock", "ListModelInvocationJobs", "/model-invocation-jobs?submitTimeAfter=2026-11-25T00:00:00", None),
    ],
)
def test_a_response_is_valid(
    scripted: Endpoint, service: str, operation: str, path: str, body: Mapping[str, Any] | None
) -> None:
    scripted.quotas({"*": {"tokens_per_minute": 100_000, "requests_per_minute": 50, "tokens_per_day": 1_000_000}})
    headers = {"X-Amz-Target": f"{QUOTAS}.{operation}"}
    status, _, answer = send(scripted.url, method_of(service, operation), path, body, headers)
    assert (status, problems(json.loads(answer), service, operation)) == (200, [])


def test_a_job_is_valid_in_every_view_of_it(scripted: Endpoint) -> None:
    _, _, answer = send(scripted.url, "POST", "/model-invocation-job", JOB)
    job = json.loads(answer)["jobArn"].rpartition("/")[2]
    got = json.loads(send(scripted.url, "GET", f"/model-invocation-job/{job}")[2])
    assert problems(got, "bedrock", "GetModelInvocationJob") == []
    listed = json.loads(send(scripted.url, "GET", "/model-invocation-jobs")[2])
    assert listed["invocationJobSummaries"][0]["jobArn"] == got["jobArn"]
    assert problems(listed, "bedrock", "ListModelInvocationJobs") == []


def test_an_answer_with_blocks_of_every_kind_is_valid_whole_and_streamed(scripted: Endpoint) -> None:
    scripted.follow(replies=[EVERYTHING])
    body = {**SAY, "toolConfig": {"tools": [TOOL]}}
    status, _, answer = send(scripted.url, "POST", f"{MODEL}/converse", body)
    assert (status, problems(json.loads(answer), "bedrock-runtime", "Converse")) == (200, [])
    status, _, wire = send(scripted.url, "POST", f"{MODEL}/converse-stream", body)
    assert (status, stream_problems(wire, "ConverseStream", "stream")) == (200, [])
    status, _, wire = send(scripted.url, "POST", f"{MODEL}/invoke-with-response-stream", ANTHROPIC)
    assert (status, stream_problems(wire, "InvokeModelWithResponseStream", "body")) == (200, [])


@pytest.mark.parametrize("code", ["ThrottlingException", "ModelTimeoutException", "ServiceUnavailableException"])
def test_an_error_in_a_stream_is_a_valid_event(scripted: Endpoint, code: str) -> None:
    scripted.faults({"fault": "stream_error", "code": code})
    _, _, wire = send(scripted.url, "POST", f"{MODEL}/invoke-with-response-stream", ANTHROPIC)
    assert stream_problems(wire, "InvokeModelWithResponseStream", "body") == []


@pytest.mark.parametrize(
    ("service", "operation", "path", "body"),
    [
        ("bedrock-runtime", "Converse", f"{BARE}/converse", SAY),
        ("bedrock-runtime", "Converse", f"{MODEL}/converse", {"messages": []}),
        ("bedrock-runtime", "ConverseStream", f"{MODEL}/converse-stream", {"messages": "a"}),
        ("bedrock-runtime", "InvokeModel", f"{MODEL}/invoke", {}),
        ("bedrock-runtime", "CountTokens", "/model/no.such/count-tokens", {"input": {"converse": SAY}}),
        ("bedrock-runtime", "CountTokens", f"{BARE}/count-tokens", {"input": {}}),
        ("bedrock", "ListFoundationModels", "/foundation-models?byOutputModality=SMELL", None),
        ("bedrock", "GetFoundationModel", "/foundation-models/no.such", None),
        ("bedrock", "GetFoundationModelAvailability", "/foundation-model-availability/no.such", None),
        ("bedrock", "ListInferenceProfiles", "/inference-profiles?maxResults=many", None),
        ("bedrock", "ListInferenceProfiles", "/inference-profiles?nextToken=%3F", None),
        ("bedrock", "GetInferenceProfile", "/inference-profiles/mars.no.such", None),
        ("service-quotas", "GetServiceQuota", "/", {"ServiceCode": "bedrock", "QuotaCode": "L-00000000"}),
        ("service-quotas", "ListServiceQuotas", "/", {"ServiceCode": "ec2"}),
        ("service-quotas", "ListServiceQuotas", "/", {"ServiceCode": "bedrock", "NextToken": "AAAA"}),
        ("bedrock", "CreateModelInvocationJob", "/model-invocation-job", {**JOB, "jobName": "-"}),
        ("bedrock", "CreateModelInvocationJob", "/model-invocation-job", {**JOB, "modelId": "no.such"}),
        ("bedrock", "GetModelInvocationJob", "/model-invocation-job/abcdefghij01", None),
        ("bedrock", "ListModelInvocationJobs", "/model-invocation-jobs?statusEquals=Bored", None),
        ("bedrock", "ListModelInvocationJobs", "/model-invocation-jobs?submitTimeAfter=noon", None),
        ("bedrock", "StopModelInvocationJob", "/model-invocation-job/abcdefghij01/stop", None),
    ],
)
def test_an_error_is_valid(
    scripted: Endpoint, service: str, operation: str, path: str, body: Mapping[str, Any] | None
) -> None:
    headers = {"X-Amz-Target": f"{QUOTAS}.{operation}"} if service == "service-quotas" else {}
    status, told, answer = send(scripted.url, method_of(service, operation), path, body, headers)
    assert status >= 400
    assert error_problems(status, dict(told.items()), answer, service, operation) == []
