"""The words for money, times and errors."""

from __future__ import annotations

import doctest
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.errors import CredentialsError
from agentflow.core.step_row import StepStatus
from agentflow.views import format as words
from agentflow.views.format import MARKS, duration, explain, money, money_places
from tests.views.looks import contrast


def test_the_examples_are_true() -> None:
    assert doctest.testmod(words).failed == 0


@given(st.decimals(Decimal("1e-12"), 10**6, allow_nan=False, allow_infinity=False))
def test_money_is_exact_to_two_digits_of_the_smallest_amount(amount: Decimal) -> None:
    shown = Decimal(money(amount).removeprefix("$").replace(",", ""))
    assert abs(shown - amount) <= max(amount * Decimal("0.051"), Decimal(0))


def test_a_column_of_money_lines_up() -> None:
    amounts = [Decimal("12.3"), Decimal("0.00031"), None, Decimal(0)]
    places = money_places(amounts)
    assert [money(amount, places) for amount in amounts] == ["$12.30000", "$0.00031", "unknown", "$0"]


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (9.97, "10 ms"),
        (999.6, "1.00 s"),
        (9_996, "10.0 s"),
        (59_960, "1 min 00 s"),
        (3_599_900, "1 h 00 min"),
    ],
)
def test_a_time_that_rounds_up_takes_the_next_unit(ms: float, shown: str) -> None:
    assert duration(ms) == shown


def test_an_error_and_its_fix_are_said_once_each() -> None:
    assert explain(CredentialsError("No credentials.", fix="Run aws sso login.")) == (
        "No credentials.",
        "Run aws sso login.",
    )
    assert explain(ValueError("odd")) == ("ValueError: odd", "")
    assert explain(ValueError()) == ("ValueError", "")


@pytest.mark.parametrize("status", [*(status.value for status in StepStatus), "interrupted"])
def test_every_status_has_a_sign_readable_on_its_colour(status: str) -> None:
    assert contrast("#ffffff", MARKS[status].colour) >= 4.5
