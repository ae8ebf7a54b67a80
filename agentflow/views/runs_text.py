"""The runs of the journal as a table for a terminal: what goes on, since when, how far it is, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agentflow.views.format import NOT_APPLICABLE, count, duration, money, plural, spoken
from agentflow.views.outputs import columns, one_line
from agentflow.views.text_table import GAP, aligned

_HEADER = ("run", "workflow", "status", "started (UTC)", "time", "steps", "attempts", "cost", "memory")
_LIVE_HEADER = ("pid", "heartbeat")
_WORKFLOW = _HEADER.index("workflow")
_NARROW = _HEADER.index("attempts")  # where the rest goes below, in a narrow terminal
_WORDS = {_HEADER.index(name) for name in ("run", "workflow", "status")}
_NO_LIMIT = 100_000


def runs_text(records: Sequence[Mapping[str, Any]], *, width: int | None, now: datetime) -> str:
    """Return runs as a table; where it is too wide, each run takes two lines.

    Parameters
    ----------
    records : of one run or more, as the journal lists them.
    width : of the terminal, in columns; None is no limit.
    now : the time in UTC, from which ages are counted.
    """
    is_live = any(record["status"] == "running" for record in records)
    rows = [_cells(record, now) for record in records]
    header = list(_HEADER + _LIVE_HEADER if is_live else _HEADER)
    table = [header, *(row if is_live else row[: len(_HEADER)] for row in rows)]
    lines = aligned(table, words=_WORDS, cut_first=(_WORKFLOW,), width=width or _NO_LIMIT)
    if width is not None and max(map(columns, lines)) > width:
        head, *firsts = aligned(
            [row[:_NARROW] for row in table], words=_WORDS, cut_first=(_WORKFLOW,), width=width or _NO_LIMIT
        )
        lines = [head]
        for first, record, row in zip(firsts, records, rows, strict=True):
            lines += [first, _below(record, row)]
    return "\n".join(lines)


def _cells(record: Mapping[str, Any], now: datetime) -> list[str]:
    goes_on = record["status"] == "running"
    started_at: datetime = record["started_at"]
    taken_ms = (now - started_at).total_seconds() * 1000 if goes_on else record["duration_ms"]
    answered = record["input_tokens"] is not None
    return [
        one_line(record["run_id"], 40),
        one_line(record["workflow"], 40),
        spoken(record["status"]),
        _moment(started_at, now),
        duration(max(taken_ms, 0.0)),
        f"{record['finished_steps']:,}/{record['steps']:,}",
        count(record["attempts"] or None),
        money(record["cost_usd"]) if answered else NOT_APPLICABLE,
        f"{record['memory_mb']:,.0f} MB",
        str(record["pid"]) if goes_on else "",
        _age(record["heartbeat_at"], now) if goes_on else "",
    ]


def _below(record: Mapping[str, Any], row: Sequence[str]) -> str:
    """Return what else is to be said of a run, for a line of its own."""
    cost, memory, pid, heartbeat = row[_NARROW + 1 :]
    facts = [plural(record["attempts"], "attempt"), cost, memory] if record["attempts"] else ["no attempt", memory]
    facts += [f"pid {pid}", f"heartbeat {heartbeat}"] if pid else []
    return GAP + " · ".join(facts)


def _moment(at: datetime, now: datetime) -> str:
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M")


def _age(at: datetime, now: datetime) -> str:
    seconds = max((now - at).total_seconds(), 0.0)
    return f"{seconds:.0f} s ago" if seconds < 100 else f"{duration(seconds * 1000)} ago"
