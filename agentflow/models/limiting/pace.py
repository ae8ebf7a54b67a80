"""How fast requests, or tokens, may be sent: at a rate that is known, or at one that is learned from refusals.

A pace is a bucket that refills at its rate. What is sent is taken out of it, and may take it below zero; the next has
to wait until the bucket is full enough again. Nothing here waits or looks at a clock: every time comes from the caller,
in seconds.

What AWS says of its own buckets is a rate for a minute, and no more: the numbers below are AgentFlow's choice. They
keep a learned pace within some 10 % of the quota, at the price of a refused request every three seconds; those cost
nothing.
"""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 1.0  # what was sent in this time, less what of it was refused, is the first guess of an unknown rate
LEARNED_BURST_SECONDS = 1.0  # what an idle bucket saves up, in seconds of its rate
KEEP_OF_GUESS = 0.9  # of the first guess
KEEP_AT_REFUSAL = 0.85  # of the rate
CUT_SECONDS = 0.25  # what was let in so soon after a cut says nothing of the new rate: the bucket there is still empty
KEEP_AT_REFUSAL_AGAIN = 0.5  # where nothing was answered since the last cut
SLOWEST_SECONDS = 20.0  # for one request, however often it is refused
RECOVERED = 0.5  # of the rate at the first of several refusals in a row: up to there each answer doubles the rate
GROWTH_PER_SECOND = 0.05  # of the rate, while requests wait for it
MOST_GROWTH_PER_ANSWER = 0.1  # likewise, where answers are far apart
_NEVER = float("-inf")
_CLOSE_ENOUGH = 1e-9  # of a bucket, for the rounding of floats


class Pace:
    """The pace of one unit. The caller holds a lock.

    Parameters
    ----------
    known : units a second; None is open until the first refusal, and then learned.
    burst_seconds : what a known pace saves up while nothing is sent, in seconds of its rate.

    Attributes
    ----------
    rate : units a second that may be sent now; None while it is open.
    known : as given.
    """

    def __init__(self, known: float | None = None, burst_seconds: float = LEARNED_BURST_SECONDS) -> None:
        self.known = known
        self.rate = known
        self._burst_seconds = burst_seconds
        self._balance = 0.0 if known is None else known * burst_seconds
        self._filled_at: float | None = None
        self._sent: deque[tuple[float, float]] = deque()  # of the window, while the pace is open
        self._learned_at = _NEVER
        self._cut_at = _NEVER
        self._grown_at = _NEVER
        self._guess = 0.0
        self._answered_since_cut = True
        self._before = 0.0  # the rate at the first of the last refusals in a row

    def balance(self, now: float) -> float | None:
        """Return what is in the bucket; None while the pace is open."""
        if self.rate is None:
            return None
        if self._filled_at is not None:
            filled = self._balance + (now - self._filled_at) * self.rate
            self._balance = min(filled, self.rate * self._burst_seconds)
        self._filled_at = now
        return self._balance

    def filled(self, now: float) -> float | None:
        """Return how full the bucket is, 0 to 1; None while the pace is open."""
        balance = self.balance(now)
        if balance is None or not self.rate:
            return None
        return max(0.0, balance / (self.rate * self._burst_seconds))

    def wait_seconds(self, amount: float, now: float) -> float:
        """Return how long the next has to wait, 0 where it need not: until its amount, or a full bucket, is there."""
        balance = self.balance(now)
        if balance is None or self.rate is None:
            return 0.0
        full = self.rate * self._burst_seconds
        missing = min(amount, full) - balance
        return missing / self.rate if missing > full * _CLOSE_ENOUGH else 0.0

    def take(self, amount: float, now: float) -> None:
        """Let an amount in."""
        if self.balance(now) is not None:
            self._balance -= amount

    def sent(self, amount: float, let_in_at: float, now: float) -> None:
        """Take in that an amount is sent now, which may be later than it was let in."""
        if self.rate is not None:
            if let_in_at <= self._learned_at:
                self._guess += amount
            return
        self._sent.append((now, amount))
        while self._sent[0][0] < now - WINDOW_SECONDS:
            self._sent.popleft()

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount is what was used beyond it."""
        if self.rate is not None:
            self._balance = min(self._balance + amount, self.rate * self._burst_seconds)

    def answered(self, let_in_at: float, now: float, *, waited: bool) -> None:
        """Take in an answer; the rate grows a little where the pace was what its request had to wait for."""
        if let_in_at >= self._cut_at:
            self._answered_since_cut = True
        if self.rate is None or not waited or self.rate == self.known:
            return
        growth = GROWTH_PER_SECOND * (now - max(self._grown_at, self._cut_at))
        self._grown_at = now
        self.balance(now)
        if (recovered := self._before * RECOVERED) > self.rate:  # what refused in a row, such as a busy minute, is over
            self.rate = min(2 * self.rate, recovered)
            return
        self.rate = min(self.rate * (1 + min(growth, MOST_GROWTH_PER_ANSWER)), self.known or float("inf"))

    def refused(self, amount: float, let_in_at: float, now: float) -> None:
        """Take in a refusal: the bucket is empty, and the rate was too high.

        The first one ends an open pace. The others of the same burst tell how much of it was too much; after that the
        rate is cut by refusals of what was let in at the rate of the last cut only.
        """
        if self.balance(now) is None:
            self._learned_at = now
            self._guess = sum(sent for at, sent in self._sent if at >= now - WINDOW_SECONDS)
            self._sent.clear()
            self._filled_at = now
        self._balance = min(self._balance, 0.0)
        if let_in_at <= self._learned_at:
            self._guess -= amount
            seconds = WINDOW_SECONDS + now - self._learned_at
            self.rate = self._before = max(KEEP_OF_GUESS * self._guess / seconds, amount / WINDOW_SECONDS)
        elif let_in_at >= self._cut_at + CUT_SECONDS and self.rate is not None:
            if self._answered_since_cut:
                self._before = self.rate
            lower = self.rate * (KEEP_AT_REFUSAL if self._answered_since_cut else KEEP_AT_REFUSAL_AGAIN)
            self.rate = min(self.rate, max(lower, amount / SLOWEST_SECONDS))  # a large request raises no rate
        else:
            return
        self._cut_at = now
        self._answered_since_cut = False
