"""The runbook's queries: what Insights makes of them and what pandas answers are the same rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentflow.core.errors import InputError
from agentflow.ops import queries
from agentflow.ops.drills import rehearse
from agentflow.ops.query_texts import QUERIES
from agentflow.utils.logging import FIELDS, MORE_FIELDS
from tests.endpoint import Endpoint
from tests.ops import insights
from tests.ops.conftest import Aws, Log

ASKED: dict[str, Callable[..., pd.DataFrame]] = {
    "Failed Workflows": queries.failed_workflows,
    "Slow Executions": queries.slow_executions,
    "Retry Analysis": queries.retry_analysis,
    "Token Usage": queries.token_usage,
    "Throttling Errors": queries.throttling_errors,
    "Slow Steps": queries.slow_steps,
}


@pytest.fixture
def records(scripted: Endpoint, log: Log) -> list[dict[str, Any]]:
    """What real runs have logged: failed ones, throttled ones, slow ones."""
    rehearse("access_denied", scripted)
    rehearse("throttling", scripted)
    logged = log.records()
    for place, record in enumerate(logged):  # nobody waits for half a minute here
        if place % 3 == 0 and "execution_time" in record:
            record["execution_time"] += 9_000 + 2_000 * place
    return logged


@pytest.fixture
def lines(records: list[dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.mark.parametrize("name", QUERIES)
def test_both_forms_of_a_query_give_the_same_rows(name: str, records: list[dict[str, Any]], lines: Path) -> None:
    theirs: list[Any]
    expected = insights.run(QUERIES[name], records)
    answered = ASKED[name](lines)
    assert len(answered) == len(expected) > 0
    renamed = [{"timestamp" if key in {"@timestamp", "bin(5m)"} else key: row[key] for key in row} for row in expected]
    for name_of_column in answered.columns:
        theirs = [row.get(name_of_column) for row in renamed]
        ours = list(answered[name_of_column])
        if name_of_column == "timestamp":
            assert sorted(ours) == sorted(pd.to_datetime(theirs, utc=True, format="ISO8601"))
        else:
            assert sorted(map(_comparable, ours)) == sorted(map(_comparable, theirs))


def _comparable(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    return f"{float(value):.3f}" if isinstance(value, int | float) else str(value)


@pytest.mark.parametrize("name", QUERIES)
def test_every_field_that_a_query_names_is_one_that_records_have(name: str) -> None:
    assert insights.fields_of(QUERIES[name]) <= {*FIELDS, *MORE_FIELDS, "level"}


def test_the_store_answers_what_the_log_does(scripted: Endpoint, log: Log, tmp_path: Path) -> None:
    rehearse("access_denied", scripted)
    rehearse("throttling", scripted)
    rehearse("high_latency", scripted)
    path = tmp_path / "log.jsonl"
    path.write_text(log.text)
    for ask in (queries.failed_workflows, queries.retry_analysis, queries.token_usage, queries.throttling_errors):
        ours, theirs = ask(), ask(path)
        assert list(ours.columns) == list(theirs.columns)
        assert len(ours) == len(theirs) > 0
        columns = [name for name in ours.columns if name != "timestamp"]
        left, right = (frame.sort_values(columns)[columns].reset_index(drop=True) for frame in (ours, theirs))
        pd.testing.assert_frame_equal(left, right)


def test_insights_is_asked_the_runbooks_words(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto gives only times back, so what comes of a query is looked at with an answer in Insights' own form."""
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/queries")
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="/aws/agentflow/queries")
    for ask in ASKED.values():
        assert len(ask("cloudwatch")) == 0
    asked = logs.describe_queries(logGroupName="/aws/agentflow/queries")["queries"]
    assert {query["queryString"] for query in asked} == set(QUERIES.values())
    row = [
        {"field": "model", "value": "haiku-4-5"},
        {"field": "total_input", "value": "12"},
        {"field": "total_output", "value": "3"},
        {"field": "@ptr", "value": "abc"},
    ]
    frame = queries._as_frame([row], QUERIES["Token Usage"])
    assert frame.to_dict("records") == [{"model": "haiku-4-5", "total_input": 12, "total_output": 3}]
    row = [{"field": "bin(5m)", "value": "2026-11-25 10:05:00.000"}, {"field": "count()", "value": "7"}]
    frame = queries._as_frame([row], QUERIES["Throttling Errors"])
    assert list(frame["count"]) == [7]
    assert frame["timestamp"][0] == pd.Timestamp("2026-11-25 10:05", tz="UTC")


def test_an_empty_answer_has_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    for name, ask in ASKED.items():
        assert list(ask(path).columns) == list(queries._as_frame([], QUERIES[name]).columns)


def test_bad_input_is_said() -> None:
    with pytest.raises(InputError, match="There is no file"):
        queries.token_usage("nowhere.jsonl")
    with pytest.raises(InputError, match="is no moment"):
        queries.token_usage(since="whenever")
    with pytest.raises(InputError, match="CloudWatch Logs cannot be asked"):
        queries.token_usage("cloudwatch", since=timedelta(hours=1))
    assert len(queries.token_usage(since=datetime(2026, 1, 1))) == 0  # noqa: DTZ001 - of this machine's zone
