"""Events, requests and replies as JSON, and back."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from agentflow.core.content import Attachment
from agentflow.core.errors import AgentFlowError, StepError
from agentflow.core.events import (
    AttemptFinished,
    Event,
    NestedEvent,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepMapped,
    StepSkipped,
    StepStarted,
)
from agentflow.core.model import Attempt, Reply, Request, Turn
from agentflow.store.records import body_of, error_record, event_of, located, past_error, plain, read
from tests.store.runs import attempt, reply

EVENTS: list[Event] = [
    RunStarted("r-1", "w", ("a", "b"), datetime(2026, 1, 1, tzinfo=UTC), 0.0),
    RunStarted("r-1", "w", (), datetime(2026, 1, 1, tzinfo=UTC), 0.25, resumed=True),
    StepMapped("a", 3, 0.5),
    StepStarted("a", 1.0),
    StepStarted("a", 1.0, 0),
    AttemptFinished("a", attempt(error="ThrottlingException"), "m", 2),
    StepSkipped("a", "why", 2.0),
    StepCancelled("a", 2.0, 1),
    RunFinished("ok", None, 3.0),
    NestedEvent("sub", 1, NestedEvent("deeper", None, StepStarted("x", 1.5))),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back(event: Event) -> None:
    assert event_of(json.loads(json.dumps(body_of(event, 0.0)))) == event


def test_times_count_from_the_given_zero() -> None:
    assert body_of(StepStarted("a", 101.5), 100.0)["at"] == 1500.0


def test_an_error_keeps_its_words() -> None:
    cause = AgentFlowError("It broke.", fix="Mend it.")
    for error in (cause, StepError("a", cause), ValueError("plain"), KeyError("k"), AgentFlowError("No fix.")):
        event = event_of(json.loads(json.dumps(body_of(StepFailed("a", error, 0.0), 0.0))))
        assert isinstance(event, StepFailed)
        assert str(event.error) == str(error)
        assert error_record(event.error) == error_record(error)
    assert past_error(None) is None


def test_an_event_of_a_newer_version_is_none() -> None:
    assert event_of({"type": "StepPaused", "step_id": "a"}) is None


def test_a_nested_event_has_a_path() -> None:
    inner = StepStarted("x", 0.0)
    assert located(NestedEvent("sub", None, inner)) == ("sub.", inner)
    assert located(NestedEvent("sub", 3, NestedEvent("b", None, inner))) == ("sub[3].b.", inner)
    assert located(inner) == ("", inner)


def test_a_reply_comes_back() -> None:
    answered = reply(attempt(1, error="x"), attempt(2), usd="0.000000000000000000123")
    back = read(Reply, json.loads(json.dumps(plain(answered))))
    assert back == answered
    assert str(back.cost_usd) == str(answered.cost_usd)
    assert back.attempts[0].started_at.tzinfo is UTC
    assert read(Reply, plain(reply(usd=None))).cost_usd is None


def test_a_reply_of_another_version_is_read_as_far_as_it_goes() -> None:
    data = plain(reply())
    del data["price_date"], data["usage"]["input_tokens"], data["attempts"], data["cost_usd"]
    back = read(Reply, {**data, "invented_later": {"x": 1}, "usage": {**data["usage"], "new_tokens": 3}})
    assert (back.price_date, back.usage.input_tokens, back.attempts, back.cost_usd) == ("", 0, (), None)
    assert back.text == "yes"
    assert read(Attempt, {}).started_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert read(Reply, {}).usage.output_tokens == 0


def test_bytes_are_kept_by_their_hash_only() -> None:
    picture = b"\x89PNG" * 1000
    request = Request(("look:", Attachment("image", "png", picture)), turns=(Turn("user", "hello"),))
    data = plain(request)
    assert data["prompt"][1]["data"] == {"sha256": hashlib.sha256(picture).hexdigest(), "bytes": 4000}
    assert data["turns"] == [{"role": "user", "content": "hello"}]
    assert "PNG" not in json.dumps(data)
