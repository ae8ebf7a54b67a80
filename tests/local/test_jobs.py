"""Model invocation jobs by boto3, with moto's S3 in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from agentflow.local.handle import LocalBedrock
from agentflow.local.jobs import ENDED
from tests.endpoint import HAIKU, Endpoint, running

ROLE = "arn:aws:iam::123456789012:role/Batch"
RECORDS = 100  # the least that a job takes


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: connects(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def s3(s3_url: str) -> Any:
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="batch")
    return client


@pytest.fixture(scope="module")
def batch_process(s3_url: str) -> Iterator[Endpoint]:
    with running("--port", "0", "--model", "scripted", "--s3-url", s3_url) as endpoint:
        yield endpoint


@pytest.fixture
def batch(batch_process: Endpoint) -> Endpoint:
    batch_process.reset()
    return batch_process


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def converse_record(number: int, text: str = "Hello", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"text": f"{text} {number}"}]}]
    return {"recordId": f"R{number}", "modelInput": {"messages": messages, **more}}


def put(s3: Any, key: str, records: list[Any]) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    s3.put_object(Bucket="batch", Key=key, Body=lines.encode())


def create(batch: LocalBedrock, source: str, *, kind: str = "Converse", **more: Any) -> str:
    job: str = batch.new_client("bedrock").create_model_invocation_job(
        **{
            "jobName": "nightly",
            "roleArn": ROLE,
            "modelId": HAIKU,
            "modelInvocationType": kind,
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://batch/{source}", "s3InputFormat": "JSONL"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://batch/out/"}},
            **more,
        }
    )["jobArn"]
    return job


def ended(batch: LocalBedrock, job: str) -> dict[str, Any]:
    """Wait for the end of a job."""
    client = batch.new_client("bedrock")
    state: dict[str, Any] = {}

    def is_over() -> bool:
        state.update(client.get_model_invocation_job(jobIdentifier=job))
        return state["status"] in ENDED

    assert eventually(is_over), state
    return state


def written(s3: Any, job: str, name: str) -> list[dict[str, Any]]:
    body = s3.get_object(Bucket="batch", Key=f"out/{job.rpartition('/')[2]}/{name}")["Body"].read()
    return [json.loads(line) for line in body.decode().splitlines()]


def test_a_job_answers_every_record_of_every_file(batch: Endpoint, s3: Any) -> None:
    put(s3, "two/a.jsonl", [converse_record(number) for number in range(60)])
    put(s3, "two/b.jsonl", [converse_record(number) for number in range(60, 120)])
    put(s3, "two/readme.txt", ["not a record"])
    job = create(batch, "two/", clientRequestToken="once")
    assert create(batch, "two/", clientRequestToken="once") == job
    state = ended(batch, job)
    assert state["status"] == "Completed"
    assert (state["totalRecordCount"], state["successRecordCount"], state["errorRecordCount"]) == (120, 120, 0)
    assert state["endTime"] >= state["submitTime"]
    lines = written(s3, job, "a.jsonl.out") + written(s3, job, "b.jsonl.out")
    texts = {line["recordId"]: line["modelOutput"]["output"]["message"]["content"][0]["text"] for line in lines}
    assert texts == {f"R{number}": f"Hello {number}" for number in range(120)}
    [manifest] = written(s3, job, "manifest.json.out")
    assert (manifest["totalRecordCount"], manifest["successRecordCount"]) == (120, 120)
    assert manifest["inputTokenCount"] == sum(line["modelOutput"]["usage"]["inputTokens"] for line in lines)
    assert batch.stats()["billed"]["calls"] == 120


def test_records_that_bedrock_would_refuse_are_errors_of_their_own(batch: Endpoint, s3: Any) -> None:
    tools = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}
    wrong = [
        {"recordId": "roleless", "modelInput": {"messages": [{"content": []}]}},
        converse_record(1001, inferenceConfig={"maxTokens": 64_001}),
        converse_record(1002, toolConfig=tools),
    ]
    put(s3, "wrong.jsonl", [*wrong, *(converse_record(number) for number in range(RECORDS))])
    job = create(batch, "wrong.jsonl")
    state = ended(batch, job)
    assert (state["status"], state["successRecordCount"], state["errorRecordCount"]) == ("Completed", RECORDS, 3)
    errors = {line["recordId"]: line["error"] for line in written(s3, job, "wrong.jsonl.out") if "error" in line}
    assert {error["errorCode"] for error in errors.values()} == {400}
    assert "Member must not be null" in errors["roleless"]["errorMessage"]
    assert "exceed the model limit" in errors["R1001"]["errorMessage"]
    assert "tool use" in errors["R1002"]["errorMessage"]


def test_anthropics_bodies_are_the_default(batch: Endpoint, s3: Any) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    put(s3, "invoke.jsonl", [{"modelInput": body}] * RECORDS)
    job = create(batch, "invoke.jsonl", kind="InvokeModel")
    assert ended(batch, job)["status"] == "Completed"
    lines = written(s3, job, "invoke.jsonl.out")
    assert len({line["recordId"] for line in lines}) == RECORDS  # made where the input has none
    assert {line["modelOutput"]["content"][0]["text"] for line in lines} == {"Hi"}


@pytest.mark.parametrize(
    ("records", "wording"),
    [
        ([converse_record(1)], "The job has 1 records: its model takes 100 or more."),
        ([{"modelInput": {}}] * RECORDS + ["x"], "Line 101 of broken.jsonl is not a JSON object"),
    ],
)
def test_an_input_that_cannot_be_used_fails_the_job(batch: Endpoint, s3: Any, records: list[Any], wording: str) -> None:
    put(s3, "broken.jsonl", records)
    state = ended(batch, create(batch, "broken.jsonl"))
    assert state["status"] == "Failed"
    assert wording in state["message"]


def test_a_bucket_that_is_not_there_fails_the_job(batch: Endpoint, s3: Any) -> None:
    missing = {"s3InputDataConfig": {"s3Uri": "s3://no-such-bucket/a.jsonl"}}
    state = ended(batch, create(batch, "", inputDataConfig=missing))
    assert (state["status"], "NoSuchBucket" in state["message"]) == ("Failed", True)


def test_a_stopped_job_keeps_what_it_has_answered(batch: Endpoint, s3: Any) -> None:
    batch.follow(latency_ms=20)
    put(s3, "long.jsonl", [converse_record(number) for number in range(2000)])
    client = batch.new_client("bedrock")
    job = create(batch, "long.jsonl")
    assert eventually(lambda: client.get_model_invocation_job(jobIdentifier=job)["processedRecordCount"] > 0)
    client.stop_model_invocation_job(jobIdentifier=job)
    state = ended(batch, job)
    assert state["status"] == "Stopped"
    assert 0 < state["processedRecordCount"] < 2000
    assert len(written(s3, job, "long.jsonl.out")) == state["processedRecordCount"]
    with pytest.raises(ClientError, match="ConflictException"):
        client.stop_model_invocation_job(jobIdentifier=job)


def test_a_job_whose_time_is_over_is_partial_and_one_that_never_began_expires(batch: Endpoint, s3: Any) -> None:
    batch.follow(latency_ms=20)
    put(s3, "long.jsonl", [converse_record(number) for number in range(2000)])
    client = batch.new_client("bedrock")
    jobs = [create(batch, "long.jsonl") for _ in range(3)]  # two are worked at together

    def statuses() -> list[str]:
        return sorted(client.get_model_invocation_job(jobIdentifier=job)["status"] for job in jobs)

    assert eventually(lambda: statuses() == ["InProgress", "InProgress", "Scheduled"])
    batch.clock.advance(24 * 3600)
    assert sorted(ended(batch, job)["status"] for job in jobs) == [
        "Expired", "PartiallyCompleted", "PartiallyCompleted"
    ]  # fmt: skip


def test_jobs_are_listed_by_name_and_state_newest_first(batch: Endpoint, s3: Any) -> None:
    put(s3, "few.jsonl", [converse_record(1)])
    jobs = [create(batch, "few.jsonl", jobName=f"night-{number}") for number in range(3)]
    states = [ended(batch, job) for job in jobs]
    client = batch.new_client("bedrock")

    def names(**filters: Any) -> list[str]:
        rows = client.list_model_invocation_jobs(**filters)["invocationJobSummaries"]
        return [row["jobName"] for row in rows]

    assert names() == ["night-2", "night-1", "night-0"]
    assert names(sortOrder="Ascending", maxResults=2) == ["night-0", "night-1"]
    assert names(nameContains="night-1") == ["night-1"]
    assert names(statusEquals="Completed") == []
    assert names(submitTimeAfter=states[0]["submitTime"].replace(year=2999)) == []
    pages = client.get_paginator("list_model_invocation_jobs").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["invocationJobSummaries"]) for page in pages] == [2, 1]


def test_a_reset_forgets_the_jobs(batch: Endpoint, s3: Any) -> None:
    put(s3, "few.jsonl", [converse_record(1)])
    create(batch, "few.jsonl")
    batch.reset()
    assert batch.new_client("bedrock").list_model_invocation_jobs()["invocationJobSummaries"] == []
