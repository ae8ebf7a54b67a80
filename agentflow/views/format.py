"""How money, times, counts and errors are written; the text, the card and the chart share these words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from agentflow.core.errors import AgentFlowError, described
from agentflow.core.model import Usage

NOT_APPLICABLE = "-"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mark:
    """A status as a sign and a colour; white on `colour` has a contrast of at least 5:1 in every theme."""

    symbol: str
    colour: str


# Keys are the words of `StepStatus` and `RunStatus`, of the states of health checks, and of verdicts.
MARKS = {
    "ok": Mark("✓", "#1a7f37"),
    "failed": Mark("✗", "#b3261e"),
    "cancelled": Mark("■", "#5f6b7a"),
    "interrupted": Mark("■", "#5f6b7a"),
    "budget_exceeded": Mark("$", "#8a5300"),
    "running": Mark("…", "#0969da"),
    "skipped": Mark("»", "#5f6b7a"),
    "not run": Mark("○", "#5f6b7a"),
    "stale": Mark("~", "#8a5300"),
    "cached": Mark("=", "#0f6b74"),
    "warning": Mark("!", "#8a5300"),
    "not configured": Mark("○", "#5f6b7a"),
    "not checked": Mark("?", "#5f6b7a"),
    "target": Mark("✓", "#1a7f37"),
    "acceptable": Mark("~", "#8a5300"),
    "poor": Mark("✗", "#b3261e"),
    "found": Mark("✗", "#b3261e"),
    "not found": Mark("✓", "#1a7f37"),
}


def spoken(status: str) -> str:
    """Return a status in words.

    >>> spoken("budget_exceeded")
    'budget exceeded'
    """
    return status.replace("_", " ")


def money_places(amounts: Iterable[Decimal | None]) -> int:
    """Return how many decimals show two digits of the smallest amount, so that a column lines up.

    >>> money_places([Decimal("0.0044"), Decimal("0.000312")])
    5
    """
    return max((_places(amount) for amount in amounts if amount), default=0)


def _places(amount: Decimal) -> int:
    if abs(amount) >= 1:
        return 2
    return max(4, 1 - amount.adjusted())


def money(amount: Decimal | None, places: int | None = None) -> str:
    """Write dollars exactly enough to be useful.

    >>> money(Decimal("0.000312")), money(Decimal("1234.5")), money(Decimal(0)), money(None)
    ('$0.00031', '$1,234.50', '$0', 'unknown')
    """
    if amount is None:
        return UNKNOWN
    if not amount:
        return "$0"
    return f"${amount:,.{_places(amount) if places is None else places}f}"


def milliseconds(ms: float | None) -> str:
    """Write a time in milliseconds without its unit.

    >>> milliseconds(0.42), milliseconds(1243.4), milliseconds(None)
    ('0.4', '1,243', '-')
    """
    if ms is None:
        return NOT_APPLICABLE
    return f"{ms:.1f}" if 0 < ms < 9.95 else f"{ms:,.0f}"


def duration(ms: float | None) -> str:
    """Write a time in the unit that fits it.

    >>> duration(0.42), duration(812), duration(1243), duration(125_000), duration(3_720_000)
    ('0.4 ms', '812 ms', '1.24 s', '2 min 05 s', '1 h 02 min')
    """
    if ms is None:
        return NOT_APPLICABLE
    if ms < 999.5:
        return f"{milliseconds(ms)} ms"
    seconds = ms / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def count(number: int | None) -> str:
    """Write a count of attempts or tokens."""
    return NOT_APPLICABLE if number is None else f"{number:,}"


def in_out(usage: Usage) -> str:
    """Write tokens sent and got.

    >>> in_out(Usage(1200, 34))
    '1,200 / 34'
    """
    return f"{count(usage.input_tokens)} / {count(usage.output_tokens)}"


def plural(number: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "attempt"), plural(1200, "step")
    ('1 attempt', '1,200 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def explain(error: BaseException) -> tuple[str, str]:
    """Return what happened and what to do next; the second is empty where nobody knows."""
    if isinstance(error, AgentFlowError):
        return str(error).removesuffix(error.fix).strip(), error.fix
    return described(error), ""
