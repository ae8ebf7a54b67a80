"""Causes that lie in what is allowed: throttling, reserved quota that nobody uses, answers that were cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentflow.ops.diagnosis.finding import Finding
from agentflow.ops.diagnosis.seen import Seen
from agentflow.views.format import plural

if TYPE_CHECKING:
    import pandas as pd

_THROTTLES = "(?i)throttl|TooManyRequests|RequestLimitExceeded|QuotaExceeded"
_WASTED_SHARE = 0.75  # of the reserved output tokens
_QUEUED_SHARE = 0.5  # of the latency: a call that waits as long is held up by the quota
_QUEUED_MS = 50.0
_RESERVED_TOKENS = 2000  # a call: as many, nearly all of them unused, are worth a word before calls wait
_UNUSED_SHARE = 0.95
_ENOUGH = 5  # calls of a step, to know how long its answers are
_SPARE = 1.25  # room above the longest answer that was seen, in the `max_tokens` that is proposed
_CUT_PERCENT = 5.0  # of a step's answers: fewer are left to the one who reads them


_QUOTAS = "aws service-quotas list-service-quotas --service-code bedrock"
_DAILY = f"The daily quota is used up: wait until it is renewed, use another model, or raise it: {_QUOTAS}"
_SLOWER = (
    "Ask for less at a time: `agentflow set RUN max_concurrency=5` while it runs, a lower BEDROCK_MAX_CONNECTIONS, or "
    "lower max_tokens, by which Bedrock reserves quota; else spread the calls (BedrockClient(regions=[...])) or raise "
    f"the quota: {_QUOTAS}"
)


def throttling(seen: Seen) -> Iterator[Finding]:
    """Find more throttled requests than the runbook allows (1 %), and calls that gave up waiting."""
    attempts = seen.new(seen.attempts)
    throttled = _throttled(attempts)
    rate = 100 * len(throttled) / len(attempts) if len(attempts) else 0.0
    gave_up = seen.failures("ThrottledError")
    if rate <= seen.limits.throttling_percent and gave_up.empty:
        return
    bad = throttled if not throttled.empty else gave_up
    model = bad["model_id"].dropna()
    daily = gave_up["error"].str.contains("daily", na=False).any()
    where = f" of {model.iloc[0]}" if len(model) else ""
    lost = f"; {plural(len(gave_up), 'step')} failed of it" if len(gave_up) else ""
    yield seen.found(
        "throttling", bad, attempts if not throttled.empty else seen.new(seen.steps), confidence=1.0,
        summary=f"{rate:.1f}% of the requests{where} were throttled ({len(throttled):,} of {len(attempts):,}), "
        f"{seen.limits.throttling_percent:g}% are allowed{lost}.",
        fix=_DAILY if daily else _SLOWER,
        mildest="P2", columns=("model_id", "region", "attempt", "error", "wait_ms"),
    )  # fmt: skip


def quota_wasted(seen: Seen) -> Iterator[Finding]:
    """Find steps that reserve much more output than they use: very much, or much while calls wait for quota."""
    calls = seen.new(seen.answered)
    calls = calls[calls["max_tokens"].notna()]
    throttled = set(_throttled(seen.new(seen.attempts))["model_id"].dropna())
    for step, of_step in calls.groupby("step_id", sort=False):
        reserved, used, longest = (
            of_step["max_tokens"].sum(), of_step["output_tokens"].sum(), of_step["output_tokens"].max()
        )  # fmt: skip
        asked, unused = int(of_step["max_tokens"].max()), 1 - used / reserved
        proposed = max(50, math.ceil(longest * _SPARE / 50) * 50)
        is_much = asked >= _RESERVED_TOKENS and unused >= _UNUSED_SHARE
        waits = _waits(of_step, throttled)
        if len(of_step) < _ENOUGH or proposed >= asked or not (is_much or (waits and unused >= _WASTED_SHARE)):
            continue
        yield seen.found(
            "quota_wasted", of_step, calls, confidence=0.9 if waits or throttled else 0.6,
            summary=f"Step {step} reserves {asked:,} output tokens a call and uses {used / len(of_step):,.0f} on "
            f"average: {100 * unused:.0f}% are reserved for nothing{', while calls wait for quota' if waits else ''}.",
            fix=f"AgentConfig(max_tokens={proposed}) for {step}: the longest answer took {longest:,.0f} tokens.",
            value="queue_ms", unit="ms waited for quota",
            columns=("model", "max_tokens", "output_tokens", "queue_ms"),
        )  # fmt: skip


def output_cut(seen: Seen) -> Iterator[Finding]:
    """Find answers that ended since `max_tokens` were used up."""
    calls = seen.new(seen.answered)
    for step, of_step in calls.groupby("step_id", sort=False):
        cut = of_step[of_step["stop_reason"] == "max_tokens"]
        share = 100 * len(cut) / len(of_step)
        if share < _CUT_PERCENT:
            continue
        asked = cut["max_tokens"].max()
        proposed = f"AgentConfig(max_tokens={2 * int(asked)})" if asked == asked else "a higher max_tokens"  # noqa: PLR0124 - NaN
        yield seen.found(
            "output_cut", cut, of_step, confidence=1.0,
            summary=f"{len(cut):,} of {len(of_step):,} answers of {step} ({share:.0f}%) were cut off by max_tokens.",
            fix=f"Give {step} {proposed}, or ask for shorter answers in its prompt.",
            value="output_tokens", unit="output tokens",
            columns=("model", "output_tokens", "max_tokens", "stop_reason"),
        )  # fmt: skip


def _throttled(attempts: pd.DataFrame) -> pd.DataFrame:
    return attempts[attempts["error"].str.contains(_THROTTLES, na=False)]


def _waits(calls: pd.DataFrame, throttled: set[str]) -> bool:
    """Return whether calls queue for a quota of tokens; what was throttled may queue for one of requests."""
    queued, latency = calls["queue_ms"].median(), calls["execution_time"].median()
    is_throttled = bool(set(calls["model_id"]) & throttled)
    return not is_throttled and bool(queued > max(_QUEUED_MS, _QUEUED_SHARE * latency))
