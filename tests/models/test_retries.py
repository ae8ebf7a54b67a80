"""The retry budget of the process, with a clock of its own; the pauses before retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tenacity import AsyncRetrying, RetryCallState

from agentflow.core.errors import ServiceError
from agentflow.core.model import Attempt
from agentflow.models.retries import AttemptFailed, Patience, RetryBudget, retry_budget

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_hundred_retries_are_there_at_once_and_then_ten_a_second() -> None:
    budget = RetryBudget(clock=lambda: 0.0)
    waits = [budget.take() for _ in range(130)]
    assert waits[:100] == [0.0] * 100
    assert waits[-1] == 3.0


def test_time_and_answers_fill_the_budget_again_and_no_further() -> None:
    clock = [0.0]
    budget = RetryBudget(clock=lambda: clock[0])
    for _ in range(110):
        budget.take()
    clock[0] = 1.0
    assert budget.take() == pytest.approx(0.1)
    for _ in range(20):
        budget.answered()
    assert budget.take() == pytest.approx(0)
    clock[0] = 1_000.0
    assert sum(budget.take() == 0 for _ in range(150)) == 100


def test_a_failure_is_tried_again_twice_almost_at_once_and_then_after_a_pause() -> None:
    down = ServiceError("Bedrock could not answer.", fix="", code="ServiceUnavailableException", kind="capacity")
    longest = [0.0] * 3
    for _ in range(300):
        retry_budget.reset()
        patience = Patience(max_retries=3, deadline=None)
        for number in range(3):
            state = RetryCallState(AsyncRetrying(), None, (), {})
            state.set_exception((AttemptFailed, AttemptFailed(Attempt(1, NOW, 5.0), down, can_pass=True), None))
            longest[number] = max(longest[number], patience.wait(state))
    assert [round(pause, 1) for pause in longest[1:]] == [0.1, 1.6]
    assert 0.04 < longest[0] <= 0.05
