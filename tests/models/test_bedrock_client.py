"""BedrockClient against the real wire: boto3 over HTTP to the scripted endpoint."""

import asyncio
import multiprocessing
import os
import time
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core import errors
from agentflow.core.errors import DefinitionError, ModelCallError, UnknownModelError
from agentflow.utils.env import SettingError
from tests.dictated import Dictated, answer
from tests.endpoint import Endpoint

BUSY = {"code": "ServiceUnavailableException", "message": "Bedrock is unable to process your request.", "status": 503}
THROTTLED = {"code": "ThrottlingException", "message": "Too many requests, please wait before trying again."}


async def test_a_reply_says_what_it_took(scripted: Endpoint) -> None:
    scripted.follow(text="four words of text")
    client = BedrockClient("eu-west-1", endpoint_url=scripted.url)
    reply = await client.invoke("haiku", "Hello there", max_tokens=50)
    assert (reply.text, reply.stop_reason, reply.region) == ("four words of text", "end_turn", "eu-west-1")
    assert (reply.model, reply.model_id) == ("local · scripted", "eu.anthropic.claude-haiku-4-5-20251001-v1:0")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 4)
    assert reply.cost_usd == 0
    assert reply.bedrock_usd == (5 * Decimal("1.1") + 4 * Decimal("5.5")) / 1_000_000
    assert len(reply.attempts) == 1
    assert reply.attempts[0].http_status == 200
    assert reply.request_id == reply.attempts[0].request_id
    assert reply.latency_ms > 0
    assert reply.ttft_ms is None


async def test_max_tokens_are_always_sent(scripted: Endpoint) -> None:
    reply = await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "one two three four", max_tokens=2)
    assert (reply.text, reply.stop_reason) == ("one two", "max_tokens")


async def test_a_stream_brings_text_as_it_comes_and_then_the_reply(scripted: Endpoint) -> None:
    scripted.follow(text="one two three", latency_ms=300, first_token_ms=50)
    stream = BedrockClient(endpoint_url=scripted.url).stream("haiku", "Count", max_tokens=50)
    texts = [text async for text in stream]
    assert len(texts) > 1
    assert stream.reply is not None
    assert "".join(texts) == stream.reply.text == "one two three"
    assert stream.reply.usage.output_tokens == 3
    assert stream.reply.ttft_ms is not None
    assert stream.reply.ttft_ms < stream.reply.latency_ms


async def test_a_stream_left_early_ends_quietly(scripted: Endpoint) -> None:
    scripted.follow(text="word " * 200, latency_ms=5000, first_token_ms=0)
    client = BedrockClient(endpoint_url=scripted.url, max_connections=1)
    async for _ in client.stream("haiku", "Go on", max_tokens=500):
        break
    scripted.follow(text="next")
    reply = await asyncio.wait_for(client.invoke("haiku", "again"), 4)
    assert reply.text == "next"


async def test_a_stream_can_be_read_once(scripted: Endpoint) -> None:
    stream = BedrockClient(endpoint_url=scripted.url).stream("haiku", "Hello")
    assert [text async for text in stream]
    with pytest.raises(DefinitionError, match="read already"):
        [text async for text in stream]


async def test_a_request_that_nobody_waits_for_any_longer_is_an_attempt(scripted: Endpoint) -> None:
    scripted.follow(text="late", latency_ms=2000)
    agent = SimpleAgent(AgentConfig(name="a"), BedrockClient(endpoint_url=scripted.url), prompt_template="x")
    workflow = Workflow(WorkflowConfig(name="cut off", timeout_seconds=0.5))
    workflow.add_step("slow", agent)
    with pytest.raises(WorkflowError, match="in step 'slow'") as caught:
        await workflow.execute()
    row = caught.value.result.rows["slow"]
    assert [attempt.error_code for attempt in row.attempts] == ["Cancelled"]
    assert (row.status, row.model_id) == ("cancelled", "us.anthropic.claude-haiku-4-5-20251001-v1:0")


async def test_a_throttled_call_is_retried_and_every_attempt_is_seen(scripted: Endpoint) -> None:
    scripted.follow(text="done", errors=[{**THROTTLED, "times": 2}])
    reply = await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x")
    assert [(attempt.number, attempt.error_code, attempt.http_status) for attempt in reply.attempts] == [
        (1, "ThrottlingException", 429), (2, "ThrottlingException", 429), (3, None, 200),
    ]  # fmt: skip
    assert reply.retry_wait_ms == sum(attempt.wait_ms for attempt in reply.attempts) > 0


async def test_retries_end_after_the_number_that_is_set(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "1")
    scripted.follow(errors=[{**BUSY, "times": 9}])
    before = scripted.stats()["requests"]
    with pytest.raises(errors.ServiceError, match="health") as error:
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x")
    assert scripted.stats()["requests"] - before == 2
    assert (error.value.code, error.value.kind) == ("ServiceUnavailableException", "capacity")


async def test_throttling_is_no_retry_and_goes_on_to_the_deadline(
    scripted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    scripted.follow(text="done", errors=[{**THROTTLED, "times": 2}])
    assert len((await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x")).attempts) == 3
    monkeypatch.setenv("AGENTFLOW_TIMEOUT", "0.5")
    scripted.follow(errors=[{**THROTTLED, "times": 99}])
    with pytest.raises(errors.ThrottledError) as error:
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x")
    assert error.value.kind == "throttle"


@pytest.mark.parametrize(
    ("code", "message", "error", "says"),
    [
        ("AccessDeniedException", "You don't have access to the model with the specified model ID.",
         errors.AccessDeniedError, "Model access"),
        ("AccessDeniedException", "User: arn is not authorized to perform: bedrock:InvokeModel on resource: arn",
         errors.AccessDeniedError, "bedrock:InvokeModelWithResponseStream"),
        ("ThrottlingException", "Too many tokens per day, please wait before trying again.",
         errors.ThrottledError, "daily token quota"),
        ("ExpiredTokenException", "The security token included in the request is expired",
         errors.CredentialsError, "aws sso login"),
        ("UnrecognizedClientException", "The security token included in the request is invalid.",
         errors.CredentialsError, "get-caller-identity"),
        ("ResourceNotFoundException", "Model not found.", errors.ModelNotFoundError, "list-foundation-models"),
        ("SomethingNewException", "Who knows.", ModelCallError, "SomethingNewException: Who knows"),
    ],
)  # fmt: skip
async def test_an_error_names_model_region_and_fix_and_is_not_retried(
    scripted: Endpoint, code: str, message: str, error: type[ModelCallError], says: str
) -> None:
    scripted.follow(errors=[{"code": code, "message": message, "status": 403}])
    before = scripted.stats()["requests"]
    with pytest.raises(error, match=says) as caught:
        await BedrockClient("us-west-2", endpoint_url=scripted.url).invoke("haiku", "x")
    assert scripted.stats()["requests"] - before == 1
    assert "us.anthropic.claude-haiku-4-5-20251001-v1:0" in str(caught.value)
    assert "us-west-2" in str(caught.value)


async def test_a_model_that_needs_a_profile_names_it(scripted: Endpoint) -> None:
    client = BedrockClient("eu-west-1", endpoint_url=scripted.url)
    with pytest.raises(errors.ProfileNeededError, match=r"Call eu\.anthropic\.claude-haiku-4-5-20251001-v1:0 instead"):
        await client.invoke("anthropic.claude-haiku-4-5-20251001-v1:0", "x")


async def test_a_request_that_bedrock_would_refuse_says_why(scripted: Endpoint) -> None:
    with pytest.raises(errors.InvalidRequestError, match="max_tokens=0"):
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x", max_tokens=0)
    with pytest.raises(errors.InvalidRequestError, match=r"max_tokens=100,000 is more than .* can give"):
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x", max_tokens=100_000)


async def test_an_endpoint_that_nobody_serves_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    with pytest.raises(errors.EndpointError, match=r"http://127\.0\.0\.1:9 cannot be reached.*BEDROCK_ENDPOINT_URL"):
        await BedrockClient(endpoint_url="http://127.0.0.1:9").invoke("haiku", "x")


async def test_a_model_that_sends_nothing_is_a_timeout(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentflow.models.transport.READ_TIMEOUT_SECONDS", 0.2)
    scripted.follow(text="late", latency_ms=3000)
    client = BedrockClient("ap-south-1", endpoint_url=scripted.url)  # a transport of its own, made with that limit
    with pytest.raises(errors.ModelTimeoutError, match="sent nothing for too long"):
        await client.invoke("haiku", "x")


async def test_missing_credentials_say_what_to_run() -> None:
    with pytest.raises(errors.CredentialsError, match=r"aws configure.*BEDROCK_ENDPOINT_URL=local"):
        await BedrockClient("us-east-2").invoke("haiku", "x")


async def test_a_profile_that_does_not_exist_is_named_but_default_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(errors.CredentialsError, match="no AWS profile 'nightly'"):
        await BedrockClient("us-east-2", profile_name="nightly").invoke("haiku", "x")
    monkeypatch.setenv("AWS_PROFILE", "default")
    with pytest.raises(errors.CredentialsError, match="no AWS credentials"):
        await BedrockClient("us-east-2").invoke("haiku", "x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_has_connections_of_its_own(scripted: Endpoint) -> None:
    client = BedrockClient("sa-east-1", endpoint_url=scripted.url)
    assert asyncio.run(client.invoke("haiku", "parent")).text == "parent"
    made = client, weakref.ref(client._route.link._client)
    with multiprocessing.get_context("fork").Pool(1, _KEPT.append, (made,)) as pool:
        assert pool.apply_async(_ask_in_child).get(timeout=20) == ("child", True, True)


_KEPT: list[tuple[BedrockClient, weakref.ref[Any]]] = []  # what the parent has made, in a child


def _ask_in_child() -> tuple[str, bool, bool]:
    client, of_parent = _KEPT[0]
    starts_anew = client._route.link._client is None
    is_left_alone = of_parent() is not None  # to free it takes 20 ms, at each fork
    return asyncio.run(client.invoke("haiku", "child")).text, starts_anew, is_left_alone


async def test_an_unknown_alias_sends_nothing(scripted: Endpoint) -> None:
    before = scripted.stats()["requests"]
    workflow = Workflow("unknown model")
    agent = SimpleAgent(
        AgentConfig(name="a", model_type="haikuu"), BedrockClient(endpoint_url=scripted.url), prompt_template="x"
    )
    workflow.add_step("first", agent)
    with pytest.raises(DefinitionError, match="Step 'first': 'haikuu' is no model"):
        await workflow.execute()
    with pytest.raises(UnknownModelError):
        await BedrockClient(endpoint_url=scripted.url).invoke("haikuu", "x")
    assert scripted.stats()["requests"] == before


async def test_as_many_calls_as_connections_run_at_once(scripted: Endpoint) -> None:
    """50 calls of 300 ms on 50 connections take little more than one of them; the event loop stays free."""
    scripted.follow(text="x", latency_ms=300)
    client = BedrockClient(endpoint_url=scripted.url, max_connections=50)
    await client.invoke("haiku", "warm up")
    started = time.perf_counter()
    replies = await asyncio.gather(*(client.invoke("haiku", "x") for _ in range(50)))
    elapsed = time.perf_counter() - started
    assert len({reply.request_id for reply in replies}) == 50
    assert elapsed < 5 * 0.3  # Python's default pool of 6 threads would take 9 times as long as one call


async def test_waiting_for_a_connection_is_counted_apart(scripted: Endpoint) -> None:
    scripted.follow(text="x", latency_ms=100)
    client = BedrockClient(endpoint_url=scripted.url, max_connections=2)
    replies = await asyncio.gather(*(client.invoke("haiku", "x") for _ in range(4)))
    assert max(reply.queue_ms for reply in replies) > 80
    assert min(reply.queue_ms for reply in replies) < 80


async def test_real_keys_and_proxies_are_not_used_for_this_machine(
    scripted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "secret")  # botocore refuses it for a plain http endpoint
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert (await BedrockClient("us-west-1", endpoint_url=scripted.url).invoke("haiku", "hi")).text == "hi"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BEDROCK_MAX_CONNECTIONS", "many", "BEDROCK_MAX_CONNECTIONS=many"),
        ("BEDROCK_MAX_CONNECTIONS", "0", "at least 1"),
        ("AGENTFLOW_MAX_RETRIES", "1.5", "whole number"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=says):
        BedrockClient()


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(DefinitionError, match="no URL"):
        BedrockClient(endpoint_url="localhost:8000")
    with pytest.raises(DefinitionError, match="no URL"):
        BedrockClient(endpoint_url="http://[bad")
    with pytest.raises(DefinitionError, match="max_connections=0"):
        BedrockClient(max_connections=0)
    with pytest.raises(DefinitionError, match="max_connections='5'"):
        BedrockClient(max_connections="5")  # type: ignore[arg-type]


def test_the_region_follows_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BedrockClient().region == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert BedrockClient().region == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert BedrockClient().region == "eu-west-2"
    assert BedrockClient("us-west-2").region == "us-west-2"


def test_every_known_error_names_model_region_and_fix() -> None:
    from agentflow.models.faults import _FAULTS

    *known, unknown = _FAULTS
    for fault in known:
        assert "{model_id}" in fault.what, fault
        assert "{region}" in fault.what, fault
        assert fault.fix, fault
        assert fault.kind != "other", fault
    assert unknown.codes == unknown.wording == ""


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://exa mple", "http://127.0.0.1:0", "http://[::1"])
def test_what_is_no_url_of_an_endpoint_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match="is no URL"):
        BedrockClient(endpoint_url=url)


async def test_an_answer_without_its_usage_is_not_complete(dictated: Dictated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    dictated.says(answer("Yes.", usage={}))
    with pytest.raises(errors.ServiceError, match="no inputTokens, no outputTokens"):
        await BedrockClient(endpoint_url=dictated.url).invoke("haiku", "x")


async def test_an_aws_configuration_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile x\nfoo")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for profile in (None, "default", "x"):
        with pytest.raises(errors.ConfigurationError, match=r"~/\.aws/config") as error:
            await BedrockClient(profile_name=profile).invoke("haiku", "x")
        assert error.value.kind == "validation"
