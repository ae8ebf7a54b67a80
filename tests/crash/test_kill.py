"""A process is killed at any moment of a run: nothing that was answered is asked again, and nothing is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import agentflow
from tests.crash.program import CALLS, EXPECTED
from tests.endpoint import Endpoint

LATENCY_MS = 30
LONGEST_SECONDS = 0.6  # that a run takes with these latencies


def start(endpoint: Endpoint, folder: Path, run_id: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.program", endpoint.url, str(folder), *([run_id] if run_id else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AGENTFLOW_HOME": str(folder / "store")},
    )


def killed_at(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process some time after its run has begun; return whether it was still running."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    process.communicate()
    return False


def answered(run_id: str) -> int:
    return sum(len(row.replies) for row in agentflow.get_run(run_id).rows.values())


def kill_and_resume(endpoint: Endpoint, folder: Path, moments: list[float]) -> None:
    """Run, and kill the process at each of some moments, in seconds; then let it end."""
    effects = folder / "effects"
    run_id, kept, finished_effects = "", 0, Counter[str]()
    for moment in moments:
        before = endpoint.stats()["requests"]
        was_killed = killed_at(start(endpoint, folder, run_id), moment)
        runs = agentflow.runs()
        if runs.empty:  # it came not so far as to ask anything
            assert endpoint.stats()["requests"] == before
            continue
        [run_id] = runs["run_id"]
        assert runs.iloc[0]["status"] in ({"interrupted", "ok"} if was_killed else {"ok"})
        sent = endpoint.stats()["requests"] - before
        assert answered(run_id) - kept <= sent <= CALLS - kept  # nothing answered before was asked again
        kept = answered(run_id)
        done = {row.step for row in agentflow.get_run(run_id).rows.values() if row.status == "ok"}
        lines = Counter(effects.read_text().split()) if effects.exists() else Counter()
        for effect, count in finished_effects.items():
            assert lines[effect] == count  # a finished Python step did not run again
        finished_effects = Counter({effect: lines[effect] for effect in lines if effect in done})
    before = endpoint.stats()["requests"]
    process = start(endpoint, folder, run_id)
    output, errors = process.communicate(timeout=60)
    assert (output, process.returncode) == ("ready\nTrue\n", 0), errors
    assert endpoint.stats()["requests"] - before == CALLS - kept
    result = agentflow.get_run(run_id or agentflow.runs().iloc[0]["run_id"])
    assert result.status == "ok"
    assert result.outputs["end"] == EXPECTED
    assert sum(len(row.replies) for row in result.rows.values()) == CALLS
    assert agentflow.runs().iloc[0]["status"] == "ok"


def rounds(endpoint: Endpoint, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.follow(latency_ms=LATENCY_MS)
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201 - shown where a round fails
    chance = random.Random(seed)
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("AGENTFLOW_HOME", str(folder / "store"))
        kill_and_resume(endpoint, folder, [chance.uniform(0.0, LONGEST_SECONDS) for _ in range(chance.randint(1, 3))])


def test_killed_runs_go_on_where_they_were(scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(scripted, tmp_path, 5, monkeypatch)


@pytest.mark.soak
def test_killed_runs_go_on_where_they_were_fifty_times(
    scripted: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds(scripted, tmp_path, 50, monkeypatch)
