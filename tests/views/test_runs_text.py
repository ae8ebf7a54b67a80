"""Runs as a table for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agentflow.views.outputs import columns
from agentflow.views.runs_text import runs_text

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def record(**more: Any) -> dict[str, Any]:
    begun = {
        "run_id": "r-012", "workflow": "triage", "status": "ok", "started_at": NOW - timedelta(hours=1),
        "duration_ms": 62_000.0, "steps": 12, "finished_steps": 12, "attempts": 1_234, "input_tokens": 5,
        "cost_usd": Decimal("0.0123"), "memory_mb": 211.6, "pid": 4711, "heartbeat_at": NOW - timedelta(seconds=3),
    }  # fmt: skip
    return begun | more


RUNNING = record(status="running", finished_steps=3, started_at=NOW - timedelta(seconds=90), duration_ms=87_000.0)


def test_a_wide_terminal_has_one_line_a_run() -> None:
    assert runs_text([RUNNING, record()], width=120, now=NOW).splitlines() == [
        "run    workflow  status   started (UTC)        time  steps  attempts     cost  memory   pid  heartbeat",
        "r-012  triage    running       11:58:30  1 min 30 s   3/12     1,234  $0.0123  212 MB  4711    3 s ago",
        "r-012  triage    ok            11:00:00  1 min 02 s  12/12     1,234  $0.0123  212 MB",
    ]


def test_a_narrow_one_has_two() -> None:
    waiting = record(attempts=0, input_tokens=None, cost_usd=None, started_at=NOW - timedelta(days=2))
    assert runs_text([RUNNING, waiting], width=80, now=NOW).splitlines() == [
        "run    workflow  status      started (UTC)        time  steps",
        "r-012  triage    running          11:58:30  1 min 30 s   3/12",
        "  1,234 attempts · $0.0123 · 212 MB · pid 4711 · heartbeat 3 s ago",
        "r-012  triage    ok       2026-11-22 12:00  1 min 02 s  12/12",
        "  no attempt · 212 MB",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_a_name_neither_widens_the_table_nor_steers_the_terminal(width: int) -> None:
    text = runs_text(
        [record(workflow="a name \x1b[31m that\ngoes on " * 9, status="budget_exceeded")], width=width, now=NOW
    )
    assert "\x1b" not in text
    assert len(text.splitlines()) <= 3
    assert all(columns(line) <= width for line in text.splitlines())


def test_no_process_is_named_where_nothing_goes_on() -> None:
    assert "pid" not in runs_text([record()], width=None, now=NOW)
    assert "4711" not in runs_text([record()], width=None, now=NOW)


def test_an_unknown_price_is_unknown_and_an_old_heartbeat_is_told_in_minutes() -> None:
    old = RUNNING | {"cost_usd": None, "heartbeat_at": NOW - timedelta(minutes=5)}
    text = runs_text([old], width=None, now=NOW)
    assert "unknown" in text
    assert "5 min 00 s ago" in text
