"""The retry budget of the process, with a clock of its own."""

from __future__ import annotations

import pytest

from agentflow.models.retries import RetryBudget


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
