"""Failover: breakers with a clock of their own; regions that die, and models that cannot answer, over the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agentflow import AgentConfig, BedrockClient, Quota, SimpleAgent, Workflow
from agentflow.core.errors import DefinitionError, ServiceError, ThrottledError, UnknownModelError
from agentflow.models.failover import FAILURES, Breaker
from tests.models.regions import Regions, playing_regions

DEAD = (503, "ServiceUnavailableException", "Bedrock is unable to process your request.")
THROTTLED = (429, "ThrottlingException", "Too many requests, please wait before trying again.")
USED_UP = (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.")
EAST, WEST = "us-east-1", "us-west-2"


@pytest.fixture
def regions() -> Iterator[Regions]:
    with playing_regions() as playing:
        yield playing


def is_open(breaker: Breaker) -> bool:
    return breaker.is_open


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    clock = [0.0]
    breaker = Breaker(clock=lambda: clock[0])
    for _ in range(FAILURES - 1):
        breaker.ended("capacity")
    breaker.ended(None)
    breaker.ended("network")
    assert not is_open(breaker)
    for _ in range(FAILURES):
        breaker.ended("timeout")
    assert is_open(breaker)
    clock[0] = 10.0
    assert not is_open(breaker)
    breaker.begin()  # the probe
    assert is_open(breaker)
    breaker.ended("capacity")
    clock[0] = 29.0
    assert is_open(breaker)  # twice as long
    clock[0] = 30.0
    breaker.begin()
    breaker.ended(None)
    assert not is_open(breaker)


def test_a_refusal_shows_that_a_region_works() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.ended("capacity")
        breaker.ended("validation")
    assert not is_open(breaker)


async def test_a_call_goes_on_in_another_region_and_its_attempts_say_why(regions: Regions) -> None:
    regions.refuses[EAST] = DEAD
    client = BedrockClient(regions=[EAST, WEST], endpoint_url=regions.url)
    workflow = Workflow("moves")
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="x"))
    result = await workflow.execute()
    assert result.outputs["ask"] == "from us-west-2"
    frame = result.attempts_frame()
    assert list(frame["region"]) == [EAST, WEST]
    assert frame["reason"].isna()[0]
    assert frame["reason"][1] == "us-east-1: ServiceUnavailableException"
    assert "in us-west-2 (us-east-1: ServiceUnavailableException)" in result._repr_html_()


async def test_a_dead_region_is_left_alone_and_probed_until_it_is_back(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentflow.models.failover.FIRST_REST_SECONDS", 0.5)
    regions.refuses[EAST] = DEAD
    client = BedrockClient(regions=[EAST, WEST], endpoint_url=regions.url)
    for _ in range(FAILURES):
        assert (await client.invoke("haiku", "x")).region == WEST
    dead_since = len(regions.asked)
    reply = await client.invoke("haiku", "x")
    assert regions.asked[dead_since:] == [WEST]
    assert reply.attempts[0].reason == "us-east-1 is out of service"
    regions.refuses[EAST] = None
    deadline = time.monotonic() + 10
    while (reply := await client.invoke("haiku", "x")).region != EAST:
        assert time.monotonic() < deadline
    assert reply.attempts[0].reason == ""


async def test_a_call_whose_region_has_no_room_goes_where_there_is_some(regions: Regions) -> None:
    client = BedrockClient(
        regions=[EAST, WEST], endpoint_url=regions.url, quotas={"haiku": Quota(requests_per_minute=1)}
    )
    replies = [await client.invoke("haiku", "x") for _ in range(2)]
    assert [reply.region for reply in replies] == [EAST, WEST]
    assert replies[1].attempts[0].reason == "the quota of us-east-1 has no room"


async def test_a_daily_quota_is_not_waited_for_but_other_regions_have_their_own(regions: Regions) -> None:
    regions.refuses = {EAST: USED_UP}
    client = BedrockClient(regions=[EAST, WEST], endpoint_url=regions.url)
    assert (await client.invoke("haiku", "x")).region == WEST
    regions.refuses[WEST] = USED_UP
    with pytest.raises(ThrottledError) as error:
        await client.invoke("haiku", "x")
    assert error.value.kind == "daily quota"
    assert regions.asked == [EAST, WEST, WEST]


async def test_a_daily_quota_that_is_used_up_is_left_alone_by_the_calls_after_it(regions: Regions) -> None:
    regions.refuses = {EAST: USED_UP}
    client = BedrockClient(regions=[EAST, WEST], endpoint_url=regions.url)
    replies = [await client.invoke("haiku", "x") for _ in range(3)]
    assert regions.asked == [EAST, WEST, WEST, WEST]
    assert replies[2].attempts[0].reason == "the quota of us-east-1 has no room"
    assert (await client.invoke("nova-lite", "x", max_tokens=9)).attempts[0].error_code == USED_UP[1]  # has its own


async def test_another_model_is_asked_at_once_where_the_quota_has_no_room(regions: Regions) -> None:
    quotas = {"sonnet": Quota(requests_per_minute=1)}
    client = BedrockClient(endpoint_url=regions.url, quotas=quotas, fallback_model="haiku")
    replies = [await client.invoke("sonnet", "x") for _ in range(2)]
    assert [reply.model for reply in replies] == ["sonnet-5", "haiku-4-5"]
    assert replies[1].queue_ms < 1_000
    [attempt] = replies[1].attempts
    assert attempt.reason == "sonnet-5 cannot answer: its quota has no room"


async def test_another_model_answers_only_where_it_was_asked_for_and_is_seen(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "1")
    regions.refuses["sonnet"] = DEAD
    with pytest.raises(ServiceError):
        await BedrockClient(endpoint_url=regions.url).invoke("sonnet", "x")
    client = BedrockClient(endpoint_url=regions.url, fallback_model="haiku")
    asked = await client.invoke("sonnet", "x")
    own = await client.invoke("haiku", "x")
    assert asked.model == own.model == "haiku-4-5"
    assert asked.key == own.key  # it is kept as Haiku's answer
    assert [attempt.error_code for attempt in asked.attempts] == [DEAD[1], DEAD[1], None]
    assert asked.attempts[-1].reason == "sonnet-5 cannot answer: ServiceUnavailableException"
    with pytest.raises(UnknownModelError):
        BedrockClient(fallback_model="haikuu")


async def test_throttling_is_not_waited_for_where_another_model_may_answer(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "1")
    regions.refuses["sonnet"] = THROTTLED
    reply = await BedrockClient(endpoint_url=regions.url, fallback_model="haiku").invoke("sonnet", "x")
    assert (reply.model, len(reply.attempts)) == ("haiku-4-5", 2)


async def test_another_model_that_cannot_take_the_request_is_not_asked(regions: Regions) -> None:
    regions.refuses["haiku"] = USED_UP
    client = BedrockClient(endpoint_url=regions.url, fallback_model="nova-lite")
    with pytest.raises(ThrottledError, match="daily token quota") as error:
        await client.invoke("haiku", "x", max_tokens=9_000)
    assert "nova-lite can give" in str(error.value.__cause__)
    assert len(regions.asked) == 1


async def test_a_resumed_run_finds_the_answer_of_the_other_model(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")
    regions.refuses["sonnet"] = DEAD
    client = BedrockClient(endpoint_url=regions.url, fallback_model="haiku")
    fails = True

    async def ask() -> str:
        text = (await client.invoke("sonnet", "x")).text
        if fails:
            raise OSError(text)
        return text

    workflow = Workflow("falls back")
    workflow.add_step("ask", ask)
    with pytest.raises(Exception, match="from us-east-1"):
        await workflow.execute()
    before, fails = len(regions.asked), False
    assert workflow.last_result is not None
    assert (await workflow.resume(workflow.last_result.run_id)).outputs["ask"] == "from us-east-1"
    assert len(regions.asked) == before


async def test_the_quota_is_read_from_service_quotas_in_the_background(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("BEDROCK_RUNTIME", "SERVICE_QUOTAS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", regions.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = BedrockClient("ca-central-1")
    await client.invoke("haiku", "x")
    deadline = time.monotonic() + 10
    while (row := client.quota().rows[0])["source"] != "Service Quotas":
        assert time.monotonic() < deadline
        time.sleep(0.02)  # noqa: ASYNC251 - a thread of its own reads it
    assert row["tokens_per_minute"] == 6_000
    assert row["account"].startswith("key ")
    assert "AKIA" not in row["account"]


@pytest.mark.parametrize("wrong", ["us-east-1", [], ["us-east-1", "us-east-1"]])
def test_regions_are_a_list_of_different_names(wrong: list[str]) -> None:
    with pytest.raises(DefinitionError, match="no list of different regions"):
        BedrockClient(regions=wrong)
    with pytest.raises(DefinitionError, match="is not the first"):
        BedrockClient("eu-west-1", regions=[EAST, WEST])


async def test_a_call_goes_on_through_the_global_profile_and_its_attempts_say_why(regions: Regions) -> None:
    regions.refuses["us.anthropic"] = DEAD
    client = BedrockClient(regions=[EAST, "global"], endpoint_url=regions.url)
    reply = await client.invoke("haiku", "x")
    assert reply.model_id.startswith("global.anthropic")
    assert reply.region == EAST
    assert reply.attempts[1].reason == "us-east-1: ServiceUnavailableException"
    regions.refuses.clear()
    assert (await client.invoke("haiku", "x")).model_id.startswith("us.anthropic")
    assert {row["model_id"].partition(".")[0] for row in client.quota().rows} == {"us", "global"}


async def test_a_model_without_a_global_profile_is_asked_through_its_own_alone(regions: Regions) -> None:
    regions.refuses[EAST] = USED_UP
    client = BedrockClient(regions=[EAST, "global"], endpoint_url=regions.url)
    with pytest.raises(ThrottledError):
        await client.invoke("llama-3-3-70b", "x")
    assert regions.asked == [EAST]


@pytest.mark.parametrize(
    ("model", "elsewhere"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "eu-west-1"),
        ("us.haiku", "eu-west-1"),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc", WEST),
    ],
)
async def test_a_region_that_the_named_profile_does_not_serve_is_not_asked(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, model: str, elsewhere: str
) -> None:
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "1")
    regions.refuses[EAST] = DEAD
    with pytest.raises(ServiceError):
        await BedrockClient(regions=[EAST, elsewhere], endpoint_url=regions.url).invoke(model, "x")
    assert regions.asked == [EAST, EAST]
    regions.refuses.clear()
    reply = await BedrockClient(regions=[elsewhere, EAST], endpoint_url=regions.url).invoke(model, "x")
    assert reply.region == EAST  # where it is


def test_the_global_profile_alone_is_no_region() -> None:
    with pytest.raises(DefinitionError, match="global"):
        BedrockClient(regions=["global"])
