"""What was used of a quota: in the last minute, and by each step of its `max_tokens`.

What a step reserves and does not use keeps others waiting.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil

NEWEST = 1_000  # answers of a step that count
MOST_STEPS = 1_000
ADVICE_STEP = 16  # the advised number is rounded up to a multiple


@dataclass(slots=True)
class StepUse:
    """What one step asked for and got.

    Attributes
    ----------
    step : its path; None for calls outside of runs.
    max_tokens : as it was asked last.
    """

    step: str | None
    max_tokens: int = 0
    _outputs: deque[int] = field(default_factory=lambda: deque(maxlen=NEWEST))

    @property
    def wasted_tokens(self) -> int:
        """The tokens that were reserved in vain, in the newest answers, at the step's `max_tokens` of now."""
        return sum(max(0, self.max_tokens - tokens) for tokens in self._outputs)

    @property
    def advised_max_tokens(self) -> int:
        """What would do for 99 of 100 answers: their 99th percentile, rounded up, and never more than is asked now."""
        ordered = sorted(self._outputs)
        percentile = ordered[ceil(0.99 * len(ordered)) - 1]
        return min(self.max_tokens, max(1, ceil(percentile / ADVICE_STEP)) * ADVICE_STEP)


class UsageByStep:
    """The steps that were answered. The caller holds a lock."""

    def __init__(self) -> None:
        self._steps: dict[str | None, StepUse] = {}

    def note(self, step: str | None, max_tokens: int, output_tokens: int) -> None:
        """Take an answer in."""
        use = self._steps.get(step)
        if use is None:
            if len(self._steps) >= MOST_STEPS:
                del self._steps[next(iter(self._steps))]
            use = self._steps[step] = StepUse(step)
        use.max_tokens = max_tokens
        use._outputs.append(output_tokens)

    def most_wasteful(self) -> StepUse | None:
        """Return the step that reserves most in vain; None where no smaller `max_tokens` would do."""
        uses = [use for use in list(self._steps.values()) if use.advised_max_tokens < use.max_tokens]
        return max(uses, key=lambda use: use.wasted_tokens, default=None)


class LastMinute:
    """The tokens of the last minute, by the second. The caller holds a lock."""

    def __init__(self) -> None:
        self._by_second: deque[tuple[float, int]] = deque()

    def note(self, tokens: int, now: float) -> None:
        """Take tokens in that were used now."""
        second = now // 1
        if self._by_second and self._by_second[-1][0] == second:
            tokens += self._by_second.pop()[1]
        self._by_second.append((second, tokens))
        self._forget(now)

    def total(self, now: float) -> int:
        """Return the tokens of the last minute."""
        self._forget(now)
        return sum(tokens for _, tokens in self._by_second)

    def _forget(self, now: float) -> None:
        while self._by_second and self._by_second[0][0] <= now - 60:
            self._by_second.popleft()
