"""What the endpoint counts: requests, answers, bills, duplicates, clients that hang up."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint, user

INVOKE = json.dumps(
    {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "a b"}]}
)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_each_operation_is_counted_by_name_and_model(scripted: Endpoint) -> None:
    scripted.say("a b")
    list(scripted.stream("a b"))
    scripted.client.invoke_model(modelId=HAIKU, body=INVOKE)["body"].read()
    list(scripted.client.invoke_model_with_response_stream(modelId=HAIKU, body=INVOKE)["body"])
    stats = scripted.stats()
    assert stats["by_operation"] == {
        "Converse": 1, "ConverseStream": 1, "InvokeModel": 1, "InvokeModelWithResponseStream": 1
    }  # fmt: skip
    assert (stats["by_model"], stats["requests"], stats["answers"]) == ({HAIKU_BARE: 4}, 4, 4)
    assert stats["billed"] == {
        "calls": 4, "input_tokens": 20, "output_tokens": 8, "cache_read_tokens": 0, "cache_write_tokens": 0
    }  # fmt: skip
    assert (stats["region"], stats["model"]) == ("us-east-1", "scripted")


@pytest.mark.parametrize(
    ("second", "duplicates"),
    [
        ({}, 1),
        ({"requestMetadata": {"row": "1"}}, 1),
        ({"requestMetadata": {"row": "2"}}, 0),
        ({"messages": user("another")}, 0),
        ({"modelId": "amazon.nova-lite-v1:0"}, 0),
    ],
)
def test_a_duplicate_is_the_same_request_billed_again(
    scripted: Endpoint, second: dict[str, Any], duplicates: int
) -> None:
    first = {"requestMetadata": {"row": "1"}} if "requestMetadata" in second else {}
    scripted.say("one", **first)
    scripted.say("one", **{**first, **second})
    assert scripted.stats()["duplicates"] == duplicates


def test_invoke_model_has_its_metadata_in_a_header(scripted: Endpoint) -> None:
    for row in ("1", "2", "2"):
        metadata = json.dumps({"row": row})
        scripted.client.invoke_model(modelId=HAIKU, body=INVOKE, requestMetadata=metadata)["body"].read()
    assert scripted.stats()["duplicates"] == 1


def test_a_refused_request_that_is_sent_again_is_no_duplicate(scripted: Endpoint) -> None:
    scripted.faults({"fault": "unavailable", "first": 1})
    for _ in range(2):
        try:
            scripted.say("one")
        except scripted.client.exceptions.ServiceUnavailableException:
            continue
    assert scripted.stats()["duplicates"] == 0


def test_a_client_that_hangs_up_pays_for_the_prompt_and_again_for_the_next_try(scripted: Endpoint) -> None:
    scripted.faults({"fault": "latency", "delay_ms": 60_000, "first": 1})
    with HangingUp(scripted, "/converse"):
        assert eventually(lambda: scripted.stats()["in_flight"] == 1)
    assert eventually(lambda: scripted.stats()["abandoned"] == 1)
    stats = scripted.stats()
    assert (stats["answers"], stats["in_flight"]) == (0, 0)
    assert (stats["billed"]["input_tokens"], stats["billed"]["output_tokens"]) == (4, 0)
    with HangingUp(scripted, "/converse"):
        assert eventually(lambda: scripted.stats()["answers"] == 1)
    assert scripted.stats()["duplicates"] == 1


def test_a_client_that_leaves_a_stream_pays_for_what_it_got(scripted: Endpoint) -> None:
    scripted.faults({"fault": "stalled_stream", "after_pieces": 2, "delay_ms": 60_000})
    with HangingUp(scripted, "/converse-stream", text="one two three"):
        assert eventually(lambda: scripted.stats()["in_flight"] == 1)
        time.sleep(0.2)
    assert eventually(lambda: scripted.stats()["abandoned"] == 1)
    assert scripted.stats()["billed"]["output_tokens"] == 2


def test_a_reset_begins_anew_also_under_a_request_in_work(scripted: Endpoint) -> None:
    scripted.faults({"fault": "latency", "delay_ms": 300})
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(scripted.say, "one")
        assert eventually(lambda: scripted.stats()["in_flight"] == 1)
        scripted.get("/_reset", {})
        assert call.result(5)
    stats = scripted.stats()
    assert (stats["requests"], stats["answers"], stats["in_flight"], stats["billed"]["calls"]) == (0, 0, 0, 0)
    assert stats["clock_seconds"] < 60


class HangingUp:
    """A client that sends one request and hangs up at the end of the block."""

    def __init__(self, endpoint: Endpoint, operation: str, text: str = "a") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
        path = f"/model/{HAIKU.replace(':', '%3A')}{operation}"
        self._connection.request("POST", path, json.dumps({"messages": user(text)}))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._connection.close()
