"""What is assumed of a step before it runs: how long its answer is, what its request takes, and how long it works.

A `Spread` has each figure in four cases. Where the step has run before, they are quantiles of what it took then.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from agentflow.core.agent import SimpleAgent
from agentflow.core.journal import PastCall, PastStep, PastWork
from agentflow.core.model import Estimate
from agentflow.core.output_types import fields_of
from agentflow.core.template import StandIn


class Spread(NamedTuple):
    """A figure in the four cases of a quote. Of the past, a tenth is below `low`, and a tenth above `high`."""

    low: float
    likely: float
    high: float
    worst: float


CASES = range(4)
LOW, LIKELY = 0, 1

# An estimate of tokens from characters is off by up to a quarter: AgentFlow's own margin around the 3.5 characters a
# token of public estimators for Claude, whose stated error of a tenth holds for mixed English, code and JSON only.
ESTIMATE_ERROR = 0.25
CHARS_PER_TOKEN = 3.5
# Of a step that has never run only the limit of its answer is known. That people set it to twice what they expect, and
# that a short answer takes a tenth of it, is AgentFlow's own guess.
UNSEEN_OUTPUT = Spread(0.1, 0.5, 1.0, 1.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Assumption:
    """What is assumed of a step.

    Attributes
    ----------
    seconds : from its start to its end; None where nothing is known of it.
    outputs : what stands for its output in the prompts of other steps, in each case.
    basis : what that rests on.
    """

    seconds: Spread | None
    outputs: Sequence[Any]
    basis: str


@dataclass(frozen=True, slots=True)
class PromptAssumption(Assumption):
    """What is assumed of a prompt: `output_tokens` of its answer, and actual tokens over estimated ones of its request.

    Both are of one call.
    """

    output_tokens: Spread
    input_factor: Spread


class Evidence:
    """What is known of the past of a workflow's steps, by their paths.

    Parameters
    ----------
    unseen : why there is nothing of a step of which there is nothing, such as ``the step has never run``.
    outputs : what steps will return, as far as that is known.
    """

    def __init__(self, past: PastWork, unseen: str, outputs: Mapping[str, Any] | None = None) -> None:
        self.outputs = outputs or {}
        self._calls: defaultdict[str, list[PastCall]] = defaultdict(list)
        self._steps: defaultdict[str, list[PastStep]] = defaultdict(list)
        for call in past.calls:
            self._calls[call.step].append(call)
        for step in past.steps:
            self._steps[step.step].append(step)
        self._unseen = unseen
        self._known: dict[str, Any] = {}

    def prompt(self, path: str, agent: SimpleAgent, estimate: Estimate) -> PromptAssumption:
        """Return what is assumed of a prompt.

        Parameters
        ----------
        estimate : of one of its requests.
        """
        return self._once(path, lambda: self._prompt(path, agent, estimate))

    def function(self, path: str, *, is_used: bool) -> Assumption:
        """Return what is assumed of any other step.

        Parameters
        ----------
        is_used : whether other steps have a use for its output.
        """
        return self._once(path, lambda: self._function(path, is_used=is_used))

    def asks_models(self, path: str) -> bool:
        """Return whether a step has called models in the past."""
        return bool(self._calls[path])

    def items(self, path: str) -> tuple[int, str]:
        """Return how many items a mapped step is likely to have, and what that rests on."""
        counts = [step.items for step in self._steps[path] if step.items is not None]
        if not counts:
            return 1, "one item assumed, since its list is not known"
        count = round(statistics.median(counts))
        return count, f"{_plural(count, 'item')} a run, the median of {_plural(len(counts), 'past run')}"

    def _once(self, path: str, make: Callable[[], T]) -> T:
        if path not in self._known:
            self._known[path] = make()
        found: T = self._known[path]
        return found

    def _prompt(self, path: str, agent: SimpleAgent, estimate: Estimate) -> PromptAssumption:
        same = [call for call in self._calls[path] if call.model == estimate.model]
        calls = same or self._calls[path]
        output_tokens, chars_per_token, output_basis = self._output(estimate, calls, is_same=bool(same))
        factor, factor_basis = _input_factor(agent, same)
        seconds = _spread([call.latency_ms / 1000 for call in calls])
        basis = [output_basis, factor_basis] + ([] if seconds else ["time unknown until the first run"])
        chars = [round(tokens * chars_per_token) for tokens in output_tokens]
        outputs = [_stand_in(agent.config.output_class, count) for count in chars]
        return PromptAssumption(seconds, outputs, "; ".join(basis), output_tokens, factor)

    def _output(self, estimate: Estimate, calls: Sequence[PastCall], *, is_same: bool) -> tuple[Spread, float, str]:
        """Return the tokens of an answer, its characters a token, and what that rests on."""
        most = estimate.most_output_tokens
        seen = _spread([call.usage.output_tokens for call in calls])
        if seen is None:
            spread = Spread(*[most * share for share in UNSEEN_OUTPUT])
            return spread, CHARS_PER_TOKEN, f"output tokens: half of max_tokens, since {self._unseen}"
        spread = Spread(min(seen.low, most), min(seen.likely, most), min(seen.high, most), most)
        tokens = sum(call.usage.output_tokens for call in calls)
        chars_per_token = sum(call.output_chars for call in calls) / tokens if tokens else CHARS_PER_TOKEN
        whose = "" if is_same else f" of {', '.join(dict.fromkeys(call.model for call in calls))}"
        return spread, chars_per_token, f"output tokens from {_plural(len(calls), 'past answer')}{whose}"

    def _function(self, path: str, *, is_used: bool) -> Assumption:
        steps = [step for step in self._steps[path] if step.items is None]
        took = [step.latency_ms / 1000 for step in steps if step.latency_ms is not None]
        chars = _spread([step.output_chars for step in steps if step.output_chars is not None])
        basis = ["Python"]
        if took:
            basis.append(f"time from {_plural(len(took), 'past run')}")
        if chars is None and is_used:
            basis.append("the length of its output is not known, and counted as none")
        outputs = [StandIn("x" * round(count)) for count in chars or (0,) * len(CASES)]
        return Assumption(_spread(took), outputs, "; ".join(basis))


def _input_factor(agent: SimpleAgent, calls: Sequence[PastCall]) -> tuple[Spread, str]:
    """Return by what to multiply an estimate of input tokens, and what that rests on."""
    pairs = []
    for call in calls:
        if call.request is not None:
            estimated = agent.client.estimate(agent.config.model_type, call.request).input_tokens
            usage = call.usage
            pairs.append((usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens, estimated))
    ratios = _spread([actual / estimated for actual, estimated in pairs if estimated])
    if ratios is None:
        low, high = 1 - ESTIMATE_ERROR, 1 + ESTIMATE_ERROR
        return Spread(low, 1.0, high, high), f"input tokens estimated, {ESTIMATE_ERROR:.0%} up or down"
    factor = sum(actual for actual, _ in pairs) / sum(estimated for _, estimated in pairs)
    # The error of a mean falls with the root of how many it is of; what was seen to scatter more, may do so again.
    margin = factor * ESTIMATE_ERROR / math.sqrt(len(pairs) + 1)
    low, high = min(ratios.low, factor - margin), max(ratios.high, factor + margin)
    return Spread(low, factor, high, high), f"input tokens calibrated by {_plural(len(pairs), 'past request')}"


def _spread(values: Sequence[float]) -> Spread | None:
    """Return the quantiles of what was seen; None where nothing was."""
    if not values:
        return None
    if len(values) == 1:
        return Spread(*([values[0]] * len(CASES)))
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return Spread(tenths[0], tenths[4], tenths[8], max(values))


def _stand_in(output_type: type[Any] | None, chars: int) -> Any:
    """Return what stands for an answer: text of its length, shared out among the fields where it has some."""
    if output_type is None:
        return StandIn("x" * chars)
    names = fields_of(output_type)
    return {name: StandIn("x" * (chars // len(names))) for name in names}


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
