"""Each fault as a boto3 client meets it: the error, what is billed, and that the next call works."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError
from urllib3.exceptions import ProtocolError

from agentflow.local.errors import STATUS_BY_CODE
from agentflow.local.refusals import REFUSALS
from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint, text_of, user

STREAM_CODES = [
    "InternalServerException", "ModelStreamErrorException", "ValidationException", "ThrottlingException",
    "ServiceUnavailableException",
]  # fmt: skip


def answered(endpoint: Endpoint, text: str = "one two three", **more: Any) -> bool:
    try:
        endpoint.say(text, **more)
    except (ClientError, ConnectionClosedError):
        return False
    return True


def texts(events: Any) -> list[str]:
    return [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]


def arrivals(events: Any) -> list[float]:
    start = time.monotonic()
    return [time.monotonic() - start for _ in events]


def billed_calls(endpoint: Endpoint) -> int:
    calls: int = endpoint.stats()["billed"]["calls"]
    return calls


@pytest.mark.parametrize("name", REFUSALS)
def test_each_named_error_arrives_with_its_code_status_and_words(scripted: Endpoint, name: str) -> None:
    scripted.faults({"fault": name, "first": 2})
    code, wording = REFUSALS[name]
    for call in (scripted.say, scripted.stream):
        with pytest.raises(ClientError) as caught:
            call("Hello!")
        response = caught.value.response
        assert response["Error"]["Code"] == code
        assert response["Error"]["Message"].startswith(wording.partition("{")[0])
        assert "{" not in response["Error"]["Message"]
        assert response["ResponseMetadata"]["HTTPStatusCode"] == STATUS_BY_CODE[code]
    assert text_of(scripted.say("Hello!")) == "Hello!"
    stats = scripted.stats()
    assert (stats["billed"]["calls"], stats["refused"], stats["faults"]) == (1, 2, {name: 2})


@pytest.mark.parametrize(
    ("name", "wording"),
    [
        ("iam_denied", f"InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_BARE} because"),
        ("iam_profile_denied", f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU} because"),
        ("scp_denied", "with an explicit deny in a service control policy: arn:aws:organizations::"),
        ("wrong_profile", f"Invocation of model ID {HAIKU_BARE} with on-demand throughput isn\u2019t supported."),
        ("clock_skew", "Z - 5 min.)"),
    ],
)
def test_errors_name_what_was_called(scripted: Endpoint, name: str, wording: str) -> None:
    scripted.faults({"fault": name})
    with pytest.raises(ClientError) as caught:
        scripted.say("Hello!")
    assert wording in caught.value.response["Error"]["Message"]


def test_any_other_error_can_be_ordered(scripted: Endpoint) -> None:
    scripted.faults({"fault": "error", "code": "TeapotException", "message": "{short} and stout", "status": 418})
    with pytest.raises(ClientError, match=r"TeapotException.*\{short\} and stout"):
        scripted.say("Hello!")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"every": 3}, [True, True, False, True, True, False]),
        ({"first": 2}, [False, False, True, True, True, True]),
        ({"every": 2, "first": 1}, [True, False, True, True, True, True]),
        ({"first": 0}, [True] * 6),
        ({"probability": 0.0}, [True] * 6),
        ({"operation": "ConverseStream"}, [True] * 6),
        ({"operation": "Converse"}, [False] * 6),
        ({"model": "us.*haiku*"}, [False] * 6),
        ({"model": "*sonnet*"}, [True] * 6),
        ({"region": "eu-west-1"}, [True] * 6),
        ({"prompt": "(?i)TW[O]"}, [False] * 6),
        ({"prompt": "refund"}, [True] * 6),
    ],
)
def test_a_rule_chooses_its_requests(scripted: Endpoint, condition: dict[str, Any], expected: list[bool]) -> None:
    scripted.faults({"fault": "unavailable", **condition})
    assert [answered(scripted) for _ in range(6)] == expected


def test_what_is_drawn_is_the_same_for_the_same_seed(scripted: Endpoint) -> None:
    def luck(seed: int) -> list[bool]:
        scripted.faults({"fault": "unavailable", "probability": 0.5}, seed=seed)
        return [answered(scripted) for _ in range(30)]

    first, other = luck(1), luck(2)
    assert luck(1) == first != other
    assert 5 < sum(first) < 25
    scripted.get("/_reset", {})
    assert [answered(scripted) for _ in range(30)] == first


def test_the_rules_of_a_script_do_not_change_each_others_luck(scripted: Endpoint) -> None:
    lucky = {"fault": "unavailable", "probability": 0.5, "prompt": "two"}
    scripted.faults(lucky)
    alone = [answered(scripted) for _ in range(20)]
    scripted.faults(lucky, {"fault": "latency", "delay_ms": {"uniform": [0, 1]}, "probability": 0.5})
    assert [answered(scripted) for _ in range(20)] == alone


def test_a_window_opens_and_closes_by_the_movable_clock(scripted: Endpoint) -> None:
    scripted.clock.stop()
    now = scripted.clock.now()
    scripted.faults({"fault": "unavailable", "from_seconds": now + 10, "until_seconds": now + 20})
    seen = []
    for _ in range(4):
        seen.append(answered(scripted))
        scripted.clock.advance(8)
    assert seen == [True, True, False, True]


def test_latency_comes_before_the_answer_and_is_in_its_figure(scripted: Endpoint) -> None:
    scripted.faults({"fault": "latency", "delay_ms": 120}, {"fault": "latency", "delay_ms": 30})
    assert scripted.say("Hello!")["metrics"]["latencyMs"] >= 150


def test_a_slow_first_token_comes_after_the_beginning_of_the_stream(scripted: Endpoint) -> None:
    scripted.faults({"fault": "slow_first_token", "delay_ms": 200})
    beginning, first, *_ = arrivals(scripted.stream("one two three"))
    assert first - beginning > 0.1


def test_a_stalled_stream_goes_on(scripted: Endpoint) -> None:
    scripted.faults({"fault": "stalled_stream", "after_pieces": 2, "delay_ms": 200})
    _, _, second, third, *_ = arrivals(scripted.stream("one two three"))
    assert third - second > 0.1
    assert scripted.stats()["answers"] == 1


def test_a_cut_stream_ends_in_a_broken_connection_and_bills_what_left(scripted: Endpoint) -> None:
    scripted.faults({"fault": "cut_stream", "after_pieces": 2, "first": 1})
    seen: list[Any] = []
    with pytest.raises(ProtocolError):
        seen.extend(scripted.stream("one two three"))
    assert texts(seen) == ["one", " two"]
    stats = scripted.stats()
    assert (stats["answers"], stats["abandoned"]) == (0, 0)
    assert (stats["billed"]["calls"], stats["billed"]["output_tokens"]) == (1, 2)
    assert texts(scripted.stream("one two three")) == ["one", " two", " three"]


def test_a_short_stream_ends_as_if_all_were_well(scripted: Endpoint) -> None:
    scripted.faults({"fault": "short_stream", "after_pieces": 1, "first": 1})
    events = list(scripted.stream("one two three"))
    assert [next(iter(event)) for event in events] == ["messageStart", "contentBlockDelta"]
    assert scripted.stats()["answers"] == 0


def test_a_fault_in_a_stream_waits_no_longer_than_the_stream(scripted: Endpoint) -> None:
    scripted.faults({"fault": "short_stream", "after_pieces": 99})
    assert [next(iter(event)) for event in scripted.stream("one")] == ["messageStart", "contentBlockDelta"]


def test_a_bad_checksum_is_noticed(scripted: Endpoint) -> None:
    scripted.faults({"fault": "bad_checksum", "after_pieces": 1})
    with pytest.raises(ChecksumMismatch):
        list(scripted.stream("one two three"))


@pytest.mark.parametrize("code", STREAM_CODES)
def test_each_modelled_exception_ends_a_stream_and_is_not_billed(scripted: Endpoint, code: str) -> None:
    scripted.faults({"fault": "stream_error", "code": code, "after_pieces": 2})
    seen: list[Any] = []
    with pytest.raises(EventStreamError) as caught:
        seen.extend(scripted.stream("one two three"))
    assert caught.value.response["Error"]["Code"] == code[0].lower() + code[1:]
    assert texts(seen) == ["one", " two"]
    stats = scripted.stats()
    assert (stats["billed"]["calls"], stats["refused"], stats["errors"]) == (0, 1, {code: 1})


def test_an_error_at_the_very_end_of_a_stream_is_not_billed_either(scripted: Endpoint) -> None:
    scripted.faults({"fault": "stream_error", "code": "ThrottlingException", "after_pieces": 99})
    with pytest.raises(EventStreamError):
        list(scripted.stream("one two three"))
    assert billed_calls(scripted) == 0


def test_a_timeout_ends_invoke_models_stream(scripted: Endpoint) -> None:
    body = (
        b'{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}'
    )
    scripted.faults({"fault": "stream_error", "code": "ModelTimeoutException"})
    stream = scripted.client.invoke_model_with_response_stream(modelId=HAIKU, body=body)["body"]
    with pytest.raises(EventStreamError, match="modelTimeoutException"):
        list(stream)


def test_faults_of_streams_leave_whole_answers_alone(scripted: Endpoint) -> None:
    scripted.faults({"fault": "cut_stream", "every": 2}, {"fault": "bad_checksum"})
    assert all(answered(scripted) for _ in range(3))
    assert scripted.stats()["faults"] == {}


@pytest.mark.parametrize(("after_work", "calls"), [(False, 0), (True, 1)])
def test_a_reset_breaks_the_connection_before_or_after_the_work(
    scripted: Endpoint, after_work: bool, calls: int
) -> None:
    scripted.faults({"fault": "reset", "after_work": after_work, "first": 1})
    with pytest.raises(ConnectionClosedError):
        scripted.say("one two three")
    assert billed_calls(scripted) == calls
    assert text_of(scripted.say("one two three")) == "one two three"
    stats = scripted.stats()
    assert (stats["answers"], stats["duplicates"]) == (1, calls)


def test_a_region_dies_and_comes_back(scripted: Endpoint) -> None:
    scripted.clock.stop()
    now = scripted.clock.now()
    scripted.faults({"fault": "region_down", "from_seconds": now + 60, "until_seconds": now + 120})
    seen = []
    for _ in range(4):
        seen.append(answered(scripted))
        scripted.clock.advance(40)
    assert seen == [True, True, False, True]
    stats = scripted.stats()  # which is reached in any case
    assert (stats["requests"], stats["faults"]) == (3, {"region_down": 1})


def test_an_error_by_a_rule_uses_no_quota(scripted: Endpoint) -> None:
    scripted.quotas({HAIKU: {"requests_per_minute": 1}})
    scripted.faults({"fault": "unavailable", "first": 3})
    assert [answered(scripted) for _ in range(5)] == [False, False, False, True, False]


def test_faults_are_counted_once_under_many_clients(scripted: Endpoint) -> None:
    scripted.faults({"fault": "unavailable", "every": 4})
    client = scripted.new_client(connections=20)

    def call(number: int) -> bool:
        try:
            client.converse(modelId=HAIKU, messages=user(str(number)))
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(call, range(200))) == 150
