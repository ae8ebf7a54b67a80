"""What runs did, from the store: trends, slow steps, peaks and the runbook's benchmarks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

import agentflow
from agentflow import BedrockClient, SimpleAgent, Workflow, WorkflowError
from agentflow.core.config import AgentConfig
from agentflow.ops import usage
from agentflow.views.history import runs_view
from tests.endpoint import Endpoint

NOW = datetime.now(UTC)


def run(days_ago: float, **values: Any) -> dict[str, Any]:
    usual = {
        "run_id": "r", "workflow": "w", "status": "ok", "duration_ms": 1000.0, "steps": 1, "finished_steps": 1,
        "attempts": 1, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001, "bedrock_usd": 0.001, "error": None,
        "memory_mb": 1.0, "pid": 1, "host": "h",
    }  # fmt: skip
    started = NOW - timedelta(days=days_ago)
    return usual | {"started_at": started, "heartbeat_at": started} | values


def frame(*runs: dict[str, Any]) -> Any:
    return runs_view(runs)


def test_a_week_is_compared_with_the_one_before() -> None:
    table = usage.trends(
        frame(
            *[run(1, duration_ms=3000.0), run(6, duration_ms=1000.0, status="failed")],
            *[run(8), run(13.9), run(15, duration_ms=99_000.0)],
        )
    )
    assert list(table.loc["runs"]) == [2, 2, 0]
    assert list(table.loc["success, %"]) == [100, 50, -50]
    assert table.loc["duration, s (mean)", "change_percent"] == pytest.approx(100)


def test_where_nothing_ran_before_there_is_no_trend() -> None:
    table = usage.trends(frame(run(1)))
    assert table["before"].isna().all()
    assert table["now"].notna().all()
    assert {verdict.verdict for verdict in usage.worse(table)} == {"not checked"}
    assert usage.trends(frame())["now"].isna().all()


@pytest.mark.parametrize(("seconds", "word"), [(0.5, "ok"), (1.09, "ok"), (1.2, "acceptable"), (1.3, "poor")])
def test_a_week_that_is_slower_is_worse(seconds: float, word: str) -> None:
    table = usage.trends(frame(run(1, duration_ms=seconds * 1000), run(8)))
    duration, price = usage.worse(table)
    assert (duration.verdict, price.verdict) == (word, "ok")
    assert bool(duration.fix) == (word != "ok")


def attempts(*begins_and_ends: tuple[float, float]) -> pd.DataFrame:
    begins = [NOW + timedelta(milliseconds=begin) for begin, _ in begins_and_ends]
    return pd.DataFrame(
        {
            "started_at": pd.Series(begins, dtype="datetime64[us, UTC]"),
            "latency_ms": [end - begin for begin, end in begins_and_ends],
        }
    )


def test_the_most_requests_at_once_are_counted() -> None:
    assert usage.peak_in_flight(attempts()) == 0
    assert usage.peak_in_flight(attempts((0, 10), (5, 15), (9, 12), (20, 30))) == 3
    assert usage.peak_in_flight(attempts((0, 10), (10, 20))) == 1  # one after the other


def test_runs_are_held_against_the_runbooks_benchmarks() -> None:
    runs = frame(
        *[run(1, duration_ms=2500.0, bedrock_usd=0.012)] * 97,
        *[run(1, duration_ms=25_000.0, steps=3, bedrock_usd=0.012), run(1, status="failed"), run(1, status="failed")],
        run(1, status="interrupted"),
    )
    asked = pd.DataFrame({"attempts": [2, *[1] * 99, None]})
    found = {verdict.check: (verdict.figure, verdict.verdict) for verdict in usage.benchmarks(runs, asked)}
    assert found == {
        "Workflow Success Rate": ("98.0%", "acceptable"),
        "Average Latency (Simple)": ("2.50 s", "acceptable"),
        "Average Latency (Complex)": ("25.00 s", "poor"),
        "Retry Rate": ("1.0%", "acceptable"),
        "Cost per 1K workflows": ("$12.00", "poor"),
    }
    nothing = usage.benchmarks(frame(), asked.head(0))
    assert {verdict.verdict for verdict in nothing} == {"not checked"}


def test_steps_are_read_from_the_store_and_the_slowest_comes_first(scripted: Endpoint) -> None:
    scripted.follow(rules=[{"prompt": "slow", "replies": [{"text": "a", "latency_ms": 60}]}], text="b")
    workflow = Workflow("w")
    client = BedrockClient("us-east-1", endpoint_url=scripted.url)
    for step in ("quick", "slow"):
        workflow.add_step(step, SimpleAgent(AgentConfig(name=step), client, prompt_template=f"{step} {{topic}}"))
    workflow.run(topic="rain")
    scripted.faults({"fault": "iam_denied", "prompt": "slow"})
    with pytest.raises(WorkflowError):
        workflow.run(topic="sun")
    runs: Any = agentflow.runs()
    found = runs.steps_frame()
    assert found["workflow"].tolist() == ["w"] * 4
    assert found["run_id"].nunique() == 2
    slowest = usage.slowest_steps(found)
    assert slowest["step"].tolist() == ["slow", "quick"]
    assert slowest["runs"].tolist() == [2, 2]
    assert slowest["share_percent"].sum() == pytest.approx(100)
    assert usage.success_percent(runs) == 50
    assert len(sent := runs.attempts_frame()) == 4
    assert usage.peak_in_flight(sent) in (1, 2)  # of a run; the runs came one after the other
    assert len(runs.steps_frame(limit=1)) == 2
    assert usage.slowest_steps(runs[runs["workflow"] == "none"].steps_frame()).empty


def test_two_runs_are_compared(scripted: Endpoint) -> None:
    scripted.follow(replies=["one two three four", "one"])
    workflow = Workflow("w")
    client = BedrockClient("us-east-1", endpoint_url=scripted.url)
    workflow.add_step("a", SimpleAgent(AgentConfig(name="a"), client, prompt_template="Hi"))
    table = usage.compared(workflow.run(), workflow.run())
    assert table["output_tokens"].tolist() == [4, 1, -75]
    assert table["input_tokens"]["change_percent"] == 0
    assert table["bedrock_usd"]["after"] < table["bedrock_usd"]["before"]
