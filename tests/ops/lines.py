"""Logs of JSON lines as runs leave them, written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


def run_lines(
    run_id: str, at: datetime, *, status: str = "ok", workflow: str = "triage", version: str = "v1", **failure: Any
) -> list[Line]:
    """Return the records of a run of one step.

    Parameters
    ----------
    failure : fields of the step's record and of the run's, such as `error` and `error_type`.
    """
    same = {"run_id": run_id, "workflow_id": run_id, "workflow_name": workflow, "level": "INFO"}
    moments = [(at + timedelta(seconds=seconds)).isoformat() for seconds in range(4)]
    attempt = {"attempt": 1, "execution_time": 900.0, "model": "haiku-4-5", "model_id": "us.haiku", "queue_ms": 1.0}
    answered = {"input_tokens": 100, "output_tokens": 20, "bedrock_usd": 0.0002, "cost_usd": 0.0002}
    request = {"error": "ValidationException"} if failure else answered
    ended = {"execution_time": 950.0, "version": version}
    return [
        same | {"timestamp": moments[0], "event": "run_started"},
        same | {"timestamp": moments[1], "event": "attempt", "step_id": "reply"} | attempt | request,
        same | {"timestamp": moments[2], "event": "step", "step_id": "reply"} | ended | failure,
        same | {"timestamp": moments[3], "event": "run", "status": status, "execution_time": 1000.0} | failure,
    ]  # fmt: skip


def runs(ok: int, failed: int, *, minutes: float = 30.0, **failure: Any) -> list[Line]:
    """Return the records of runs, a few seconds apart, those that end well first; it began some minutes ago."""
    failure = failure or {"error": "OutputFormatError", "error_type": "OutputFormatError"}
    begin = datetime.now(UTC) - timedelta(minutes=minutes)
    lines: list[Line] = []
    for number in range(ok + failed):
        bad: dict[str, Any] = {"status": "failed", **failure} if number >= ok else {}
        lines += run_lines(f"r-{number:012x}", begin + timedelta(seconds=5 * number), **bad)
    return lines


def written(path: Path, lines: Iterable[Line]) -> Path:
    """Write lines into a file, and return it."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
