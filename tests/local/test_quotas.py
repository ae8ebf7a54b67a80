"""Token and request quotas against tables made by hand, and as a client meets them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from agentflow.local.clock import Clock, ClockChange
from agentflow.local.errors import Refusal
from agentflow.local.quotas import Quota, Quotas
from tests.endpoint import HAIKU, Endpoint, text_of

GLOBAL = HAIKU.replace("us.", "global.")


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.change(ClockChange(stopped=True))
    return clock


def refused(quotas: Quotas, tokens: int, called_as: str = HAIKU) -> str:
    with pytest.raises(Refusal) as caught:
        quotas.reserve(called_as, tokens)
    assert (caught.value.code, caught.value.status) == ("ThrottlingException", 429)
    return caught.value.message


def test_the_user_guides_worked_example(clock: Clock) -> None:
    # quotas-token-burndown: 3,000 in, 1,000 written, 32,000 max; then 1,000 out at 5x: 9,000 are used.
    quotas = Quotas({HAIKU: Quota(tokens_per_minute=40_000)}, clock)
    reservation = quotas.reserve(HAIKU, 3_000 + 1_000 + 32_000)
    assert refused(quotas, 4_001) == "Too many tokens, please wait before trying again."
    reservation.settle(3_000 + 1_000 + 1_000 * 5)
    assert refused(quotas, 31_001)
    quotas.reserve(HAIKU, 31_000)


def test_an_answer_that_burns_more_than_it_reserved_leaves_a_debt(clock: Clock) -> None:
    quotas = Quotas({HAIKU: Quota(tokens_per_minute=6_000)}, clock)
    quotas.reserve(HAIKU, 6_000).settle(9_000)
    clock.change(ClockChange(advance_seconds=30))  # the debt of 3,000 is paid
    assert refused(quotas, 1)
    clock.change(ClockChange(advance_seconds=10))
    assert refused(quotas, 1_001)
    quotas.reserve(HAIKU, 1_000)


@pytest.mark.parametrize(
    ("waited", "fits", "too_many"),
    [(0, 0, 1), (1, 100, 101), (30, 3_000, 3_001), (60, 6_000, 6_001), (999, 6_000, 6_001)],
)
def test_tokens_come_back_evenly_and_never_over_the_quota(
    clock: Clock, waited: float, fits: int, too_many: int
) -> None:
    quotas = Quotas({HAIKU: Quota(tokens_per_minute=6_000)}, clock)
    quotas.reserve(HAIKU, 6_000)
    clock.change(ClockChange(advance_seconds=waited))
    assert refused(quotas, fits + 1)
    quotas.reserve(HAIKU, fits)


def test_a_refused_request_takes_nothing(clock: Clock) -> None:
    quotas = Quotas({HAIKU: Quota(tokens_per_minute=100, requests_per_minute=2)}, clock)
    for _ in range(5):
        refused(quotas, 101)
    quotas.reserve(HAIKU, 50)
    quotas.reserve(HAIKU, 50)


def test_each_quota_refuses_in_its_own_words(clock: Clock) -> None:
    quotas = Quotas(
        {
            "a*": Quota(tokens_per_minute=10),
            "b*": Quota(requests_per_minute=1),
            "c*": Quota(tokens_per_minute=10, tokens_per_day=0),
        },
        clock,
    )
    assert refused(quotas, 11, "a.x") == "Too many tokens, please wait before trying again."
    quotas.reserve("b.x", 10**9)
    assert refused(quotas, 1, "b.x") == "Too many requests, please wait before trying again."
    assert refused(quotas, 1, "c.x") == "Too many tokens per day, please wait before trying again."
    quotas.reserve("d.x", 10**9)


def test_profiles_of_one_model_have_quotas_of_their_own(clock: Clock) -> None:
    quotas = Quotas({"*": Quota(tokens_per_minute=10)}, clock)
    quotas.reserve(HAIKU, 10)
    refused(quotas, 1)
    quotas.reserve(GLOBAL, 10)


def test_max_tokens_are_reserved_and_burnt_tokens_paid(scripted: Endpoint) -> None:
    scripted.clock.stop()
    scripted.quotas({"us.*": {"tokens_per_minute": 1_000}})
    scripted.script(text="one two three four")
    # 4 of input and 996 reserved: all of the quota. What is used in the end is 4 + 4 * 5 (Haiku 4.5 burns 5x).
    scripted.say("one", inferenceConfig={"maxTokens": 996})
    with pytest.raises(ClientError, match="Too many tokens, please"):
        scripted.say("one", inferenceConfig={"maxTokens": 973})
    scripted.say("one", inferenceConfig={"maxTokens": 972})


def test_without_max_tokens_all_that_the_model_can_give_is_reserved(scripted: Endpoint) -> None:
    scripted.quotas({HAIKU: {"tokens_per_minute": 64_003}})
    with pytest.raises(ClientError, match="Too many tokens, please"):
        scripted.say("one")
    assert text_of(scripted.say("one", inferenceConfig={"maxTokens": 100})) == "one"


def test_requests_are_counted_by_the_movable_clock(scripted: Endpoint) -> None:
    scripted.clock.stop()
    scripted.quotas({HAIKU: {"requests_per_minute": 2}})
    scripted.say("a")
    scripted.say("a", modelId=f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU}")
    with pytest.raises(ClientError, match="Too many requests"):
        scripted.say("a")
    scripted.say("a", modelId=GLOBAL)
    scripted.clock.advance(30)
    scripted.say("a")
    stats = scripted.stats()
    assert (stats["requests"], stats["answers"], stats["refused"]) == (5, 4, 1)
    assert stats["errors"] == {"ThrottlingException": 1}


def test_an_error_gives_its_reservation_back(scripted: Endpoint) -> None:
    scripted.clock.stop()
    scripted.quotas({HAIKU: {"tokens_per_minute": 1_000}})
    scripted.faults({"fault": "stream_error", "code": "ThrottlingException", "first": 1})
    with pytest.raises(ClientError):
        list(scripted.stream("one", inferenceConfig={"maxTokens": 900}))
    scripted.say("one", inferenceConfig={"maxTokens": 900})
