"""The figures of a run's headline; text, card and chart take them from here and never disagree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from agentflow.core.result import RunResult
from agentflow.views.format import count, duration, money, money_places

INTERRUPTED = "Stopped before its end. What was finished is kept; a request that was already sent may still be billed."


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of a headline, such as `paid` `$0.0044`."""

    label: str
    value: str


def was_answered(result: RunResult) -> bool:
    """Tell whether any model call of the run was answered; without one, money and tokens do not apply."""
    return any(row.replies for row in result.rows.values())


def column_places(result: RunResult) -> int:
    """Return the decimals for every amount in a table of the run's steps."""
    rows = result.rows.values()
    return money_places(chain.from_iterable((row.cost_usd, row.bedrock_usd) for row in rows))


def headline(result: RunResult) -> list[Fact]:
    """Return the figures to show above a run, those that apply."""
    facts = []
    if result.status != "running":
        facts.append(Fact("duration", duration(result.duration_ms)))
    if was_answered(result):
        facts.append(Fact("paid so far" if result.status == "running" else "paid", money(result.cost_usd)))
        facts.append(Fact("Bedrock lists", money(result.bedrock_usd)))
    facts.append(Fact("attempts", count(result.attempts)))
    if was_answered(result):
        usage = result.usage
        facts.append(Fact("tokens in", count(usage.input_tokens)))
        facts.append(Fact("tokens out", count(usage.output_tokens)))
        if usage.cache_read_tokens:
            facts.append(Fact("tokens from cache", count(usage.cache_read_tokens)))
        if usage.cache_write_tokens:
            facts.append(Fact("tokens to cache", count(usage.cache_write_tokens)))
    return facts
