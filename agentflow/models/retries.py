"""Whether a failed call is tried again, and after what pause.

- A refusal for a quota (`throttle`) is no failure: the call goes on to its deadline, and every pause counts. One within
  a stream may be billed, and is a failure.
- Other failures that may pass are tried again `AGENTFLOW_MAX_RETRIES` times: twice almost at once, since most pass at
  once; then after pauses that grow fourfold, for those that take a while.
- All pauses have full jitter: anything from 0 to the longest.
- The retries of the whole process come out of one budget, so that they never become a storm: one for each ten answers,
  ten a second, and a hundred saved up. A retry for which the budget has no room waits for it.

The first two pauses are those of botocore's own retries of what is no throttling (`botocore.retries.standard`,
`non_throttling_base_scale`); the other numbers are AgentFlow's choice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from tenacity import RetryCallState, wait_chain, wait_random, wait_random_exponential

from agentflow.core.errors import ModelCallError
from agentflow.core.model import Attempt

LONGEST_WAIT_SECONDS = 20.0
LONGEST_THROTTLE_WAIT_SECONDS = 5.0  # the limiter does the rest
_PAUSE = wait_chain(
    wait_random(0, 0.05),
    wait_random(0, 0.1),
    wait_random_exponential(multiplier=0.1, exp_base=4, max=LONGEST_WAIT_SECONDS),  # 1.6 s, and so on
)
_THROTTLE_PAUSE = wait_random_exponential(multiplier=0.25, max=LONGEST_THROTTLE_WAIT_SECONDS)

BUDGET_SAVED = 100.0
BUDGET_PER_SECOND = 10.0
BUDGET_PER_ANSWER = 0.1


class AttemptFailed(Exception):  # noqa: N818 - carries an attempt to the retry, and is never seen outside
    """An attempt failed; `explained` is what the caller will see if it is not tried again."""

    def __init__(self, attempt: Attempt, explained: ModelCallError, *, can_pass: bool) -> None:
        super().__init__(str(explained))
        self.attempt = attempt
        self.explained = explained
        self.can_pass = can_pass


class RetryBudget:
    """The retries that the process may still make. Any thread may use it.

    Parameters
    ----------
    clock : seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Fill the budget."""
        self._lock = threading.Lock()
        self._saved = BUDGET_SAVED
        self._filled_at = self._clock()

    def take(self) -> float:
        """Take a retry, and return how many seconds it has to wait for the budget to have it."""
        with self._lock:
            self._fill()
            self._saved -= 1
            return max(0.0, -self._saved / BUDGET_PER_SECOND)

    def answered(self) -> None:
        """Take an answer in, which lets others be tried again."""
        with self._lock:
            self._saved = min(BUDGET_SAVED, self._saved + BUDGET_PER_ANSWER)

    def _fill(self) -> None:
        now = self._clock()
        self._saved = min(BUDGET_SAVED, self._saved + (now - self._filled_at) * BUDGET_PER_SECOND)
        self._filled_at = now


retry_budget = RetryBudget()


class Patience:
    """How long one call goes on; tenacity asks it.

    Parameters
    ----------
    max_retries : of failures that are no throttling.
    deadline : by `time.monotonic`; None where the run that the call belongs to ends it.
    bears_throttling : whether refusals for a quota count as nothing.
    """

    def __init__(self, max_retries: int, deadline: float | None, *, bears_throttling: bool = True) -> None:
        self._max_retries = max_retries
        self._deadline = deadline
        self._bears_throttling = bears_throttling
        self._failures = 0
        self._throttles = 0

    @staticmethod
    def retry(state: RetryCallState) -> bool:
        """Return whether the failure may pass."""
        failed = _failed(state)
        return failed is not None and failed.can_pass

    def wait(self, state: RetryCallState) -> float:
        """Return the pause before the next attempt, in seconds."""
        failed = _failed(state)
        is_throttle = failed is not None and failed.explained.kind == "throttle" and failed.attempt.may_cost_usd == 0
        if is_throttle:
            self._throttles += 1
        if not is_throttle or not self._bears_throttling:
            self._failures += 1
        if self._failures > self._max_retries:
            return 0.0  # it is the end, and takes nothing out of the budget
        turn = RetryCallState(state.retry_object, None, (), {})
        turn.attempt_number = self._throttles if is_throttle else self._failures
        if is_throttle:
            return _THROTTLE_PAUSE(turn)
        return max(_PAUSE(turn), retry_budget.take())

    def stop(self, state: RetryCallState) -> bool:
        """Return whether the call is given up."""
        if self._failures > self._max_retries:
            return True
        return self._deadline is not None and time.monotonic() + state.upcoming_sleep >= self._deadline


def _failed(state: RetryCallState) -> AttemptFailed | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, AttemptFailed) else None
