"""The pace: a known one is kept to, an unknown one is learned; against a bucket like Bedrock's, with its own clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.models.limiting.pace import Pace


class Bucket:
    """A quota as a server keeps it: `rate` units a second, and one second saved up."""

    def __init__(self, rate: float) -> None:
        self.rate = self.level = rate
        self.filled_at = 0.0

    def lets_in(self, now: float) -> bool:
        self.level = min(self.rate, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


def drive(pace: Pace, rate: float, seconds: float, *, in_flight: int = 64, latency: float = 0.05) -> tuple[int, int]:
    """Send as fast as the pace lets; return how many were answered, and how many refused."""
    bucket, now, answered, refused = Bucket(rate), 0.0, 0, 0
    answers: list[tuple[float, float]] = []
    while now < seconds:
        while answers and answers[0][0] <= now:
            at, let_in_at = answers.pop(0)
            pace.answered(let_in_at, at, waited=True)
            answered += 1
        wait = pace.wait_seconds(1, now)
        if len(answers) >= in_flight:
            now = answers[0][0]
        elif wait > 0:
            now = min([now + wait, *(at for at, _ in answers[:1])])
        else:
            pace.take(1, now)
            pace.sent(1, now, now)
            if bucket.lets_in(now):
                answers.append((now + latency, now))
            else:
                refused += 1
                pace.refused(1, now, now)
    return answered, refused


def test_an_open_pace_lets_all_in() -> None:
    pace = Pace()
    assert pace.wait_seconds(1_000_000, 0.0) == 0
    assert pace.balance(0.0) is None


@pytest.mark.parametrize("rate", [3.0, 40.0, 400.0])
def test_a_known_pace_is_used_up_and_never_refused(rate: float) -> None:
    answered, refused = drive(Pace(rate, burst_seconds=0.9), rate, 20)
    assert refused == 0
    assert answered >= 0.97 * rate * 20


@pytest.mark.parametrize("rate", [3.0, 10.0, 40.0, 400.0])
def test_an_unknown_pace_is_learned_with_few_refusals(rate: float) -> None:
    answered, refused = drive(Pace(), rate, 60)
    assert answered >= 0.9 * rate * 60
    assert refused <= 64 + 30


def test_a_quota_far_below_what_was_let_in_is_found() -> None:
    pace = Pace()
    for request in range(200):  # all of this is let in, by a bucket that had saved it up
        pace.sent(1, request / 200, request / 200)
    now = 1.0
    for _ in range(400):
        now += pace.wait_seconds(1, now)
        pace.take(1, now)
        pace.refused(1, now, now)
    assert pace.rate is not None
    assert pace.rate <= 0.06  # one in twenty seconds


def test_a_refusal_of_what_was_let_in_long_ago_cuts_nothing() -> None:
    pace = Pace(10.0)
    pace.refused(1, 5.0, 5.1)
    cut = pace.rate
    pace.refused(1, 4.9, 5.2)
    assert pace.rate == cut
    assert cut is not None
    assert cut < 10


def test_a_refusal_of_a_large_request_raises_no_rate() -> None:
    pace = Pace(10.0, burst_seconds=60)
    pace.take(5_000, 0.0)
    pace.refused(5_000, 0.0, 0.1)
    assert pace.rate is not None
    assert pace.rate <= 10


def test_a_known_pace_grows_back_to_what_is_known_and_no_further() -> None:
    pace = Pace(10.0)
    pace.refused(1, 5.0, 5.0)
    for second in range(600):
        pace.answered(6.0 + second, 6.0 + second, waited=True)
    assert pace.rate == 10


def test_a_pace_that_nobody_waits_for_does_not_grow() -> None:
    pace = Pace()
    pace.sent(1, 0.0, 0.0)
    pace.refused(1, 0.0, 0.0)
    before = pace.rate
    pace.answered(1.0, 1.0, waited=False)
    assert pace.rate == before


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 50_000)), min_size=1, max_size=60))
def test_what_is_taken_stays_within_the_rate_also_where_answers_take_more_than_was_reserved(
    requests: list[tuple[int, int]],
) -> None:
    """Over any time, no more is used than the rate, what was saved up, and the last request."""
    pace, now, used = Pace(100.0, burst_seconds=60), 0.0, 0
    for reserved, really in requests:
        now += pace.wait_seconds(reserved, now)
        assert used <= 100 * now + 6_000 + 1
        pace.take(reserved, now)
        pace.give_back(reserved - really)
        used += really


def test_refusals_in_a_row_are_made_up_for_soon_after_they_end() -> None:
    """A busy moment, in which all is refused, says nothing of the quota: it must not slow down the minutes after it."""
    pace = Pace()
    for request in range(20):
        pace.sent(1, request / 20, request / 20)
    pace.refused(1, 0.9, 1.0)
    usual, now = pace.rate, 1.0
    assert usual is not None
    for _ in range(10):
        now += pace.wait_seconds(1, now) + 1.0
        pace.take(1, now)
        pace.refused(1, now, now)
    assert pace.rate is not None
    assert pace.rate < usual / 10
    ended = now
    while pace.rate < usual / 2:
        now += pace.wait_seconds(1, now)
        pace.take(1, now)
        pace.answered(now, now, waited=True)
    assert now - ended < 60
