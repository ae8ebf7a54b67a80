"""The figures of a run's headline; text, card and chart take them from here and never disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import chain

from agentflow.core.model import ABANDONED
from agentflow.core.outputs import Stored
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import count, duration, money, money_places, plural
from agentflow.views.outputs import one_line, preview

INTERRUPTED = "Stopped before its end. What was finished is kept; a request that was already sent may still be billed."
MOST_ROWS = 60  # of a card: a notebook keeps it for good
_RANKS = {StepStatus.FAILED: 0, StepStatus.RUNNING: 1, StepStatus.CANCELLED: 1}
MOST_WARNINGS = 5
_WARNING_CHARS = 500


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of a headline, such as `paid` `$0.0044`."""

    label: str
    value: str


def prices_note(result: RunResult) -> str:
    """Return of what day the prices are that the run was counted with, and how old they were then."""
    dates = {reply.price_date for row in result.rows.values() for reply in row.replies if reply.price_date}
    told = []
    for dated in sorted(dates):
        days = (result.started_at.date() - date.fromisoformat(dated)).days
        told.append(f"prices of {dated}" + (f", {plural(days, 'day')} old" if days > 0 else ""))
    return " and ".join(told)


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
    elif result.duration_ms:  # as the journal of another process has it
        facts.append(Fact("running for", duration(result.duration_ms)))
    if was_answered(result):
        facts.append(Fact("paid so far" if result.status == "running" else "paid", money(result.cost_usd)))
        facts.append(Fact("Bedrock lists", money(result.bedrock_usd)))
        if any(row.cached is not None and len(row.paid) < len(row.replies) for row in result.rows.values()):
            facts.append(Fact("saved by the cache", money(result.saved_usd)))
        if result.wasted_usd:
            facts.append(Fact("wasted", money(result.wasted_usd)))
    if (uncertain := result.uncertain_usd) != 0:
        facts.append(Fact("may be billed", "unknown" if uncertain is None else f"up to {money(uncertain)}"))
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


def shown_rows(result: RunResult) -> list[StepRow]:
    """Return the steps that a card shows, in their order: all, or of very many those to look at first.

    That are those that failed, then those that go on or were stopped, then those that took longest.
    """
    rows = list(result.rows.values())
    if len(rows) <= MOST_ROWS:
        return rows
    ranked = sorted(rows, key=lambda row: (_RANKS.get(row.status, len(_RANKS)), -(row.latency_ms or 0.0)))
    chosen = {row.step for row in ranked[:MOST_ROWS]}
    return [row for row in rows if row.step in chosen]


def so_far(result: RunResult) -> str:
    """Return what an interrupted run has cost, and how many requests may still add to that."""
    answered = sum(len(row.paid) for row in result.rows.values())
    given_up = sum(attempt.error_code == ABANDONED for row in result.rows.values() for attempt in row.attempts)
    paid = f"{money(result.cost_usd)} for {plural(answered, 'answered call')}" if answered else "nothing was answered"
    if not given_up:
        return f"So far: {paid}."
    were = "request was" if given_up == 1 else "requests were"
    return f"So far: {paid}; {given_up:,} {were} given up and may still be answered and billed."


def row_note(row: StepRow) -> str:
    """Return what is to be said of a step beside its figures: how its items fared, or why it was skipped."""
    if row.reason and row.items is None and row.inner is None:
        return row.reason
    if row.items is not None:
        return _fared("item", row.items)
    if row.inner is not None:
        return _fared("step", list(row.inner.rows.values()))
    return ""


def _fared(noun: str, parts: list[StepRow]) -> str:
    if not parts:
        return f"no {noun}s"
    counts = {status: sum(part.status is status for part in parts) for status in StepStatus}
    told = [f"{counts[StepStatus.OK]:,} of {plural(len(parts), noun)} ok"]
    others = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.RUNNING)
    told += [f"{counts[status]:,} {status.value}" for status in others if counts[status]]
    return " · ".join(told)


def warnings_of(result: RunResult) -> list[str]:
    """Return what went wrong beside the steps, each sentence once, and how many more there are."""
    told = [one_line(warning, _WARNING_CHARS) for warning in dict.fromkeys(result.warnings)]
    more = len(told) - MOST_WARNINGS
    return [*told[:MOST_WARNINGS], f"… and {more:,} more: .warnings"] if more > 0 else told


def stored_note(output: Stored, place: str) -> str:
    """Return what is shown of an output that is in the journal: nobody wants it read for a glance."""
    return f"in the journal, {output.size_bytes:,} bytes: {place} reads it"


def output_preview(row: StepRow, width: int) -> str:
    """Return a step's output as one line, of a stored one where it is."""
    kept = row.kept_output
    return stored_note(kept, f".outputs[{row.step!r}]") if isinstance(kept, Stored) else preview(kept, width)
