"""The operation runbook's queries as functions: asked of CloudWatch Logs Insights, or answered from records here.

Each takes a source: `cloudwatch` (the log group of `AGENTFLOW_LOG_GROUP`, default `/aws/agentflow/production`) has the
runbook's own query run there; `store`, and a file of the log's JSON lines, are answered by pandas, with the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from agentflow.core.errors import InputError
from agentflow.core.run_filter import moment
from agentflow.ops.cloudwatch import aws_client
from agentflow.ops.query_texts import QUERIES
from agentflow.ops.records import cloudwatch_errors, log_group, read_records

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = str | Path
Since: TypeAlias = datetime | date | timedelta | str

DAY = "24h"  # that is looked at where nobody says
MOST_ROWS = 10_000  # that Insights gives (API StartQuery)
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2

_FIRST_ROWS = 20  # of the queries that have a limit
_SLOW_EXECUTION_MS = 30_000
_SLOW_STEP_MS = 10_000


def failed_workflows(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return the last 20 workflows that failed: `timestamp, workflow_id, workflow_name, error`, the newest first.

    Parameters
    ----------
    source : `store`, `cloudwatch`, or a file of JSON lines.
    since : the beginning, as for `agentflow.runs`; default: a day ago.

    Raises
    ------
    InputError
        An argument is none, or the source cannot be read. All queries raise these.
    """
    return _answer("Failed Workflows", source, since, _failed)


def slow_executions(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return the 20 slowest executions over 30 s: `timestamp, workflow_id, step_id, execution_time` (ms).

    Parameters and errors are those of `failed_workflows`.
    """
    return _answer("Slow Executions", source, since, lambda frame: _slow(frame, _SLOW_EXECUTION_MS).head(_FIRST_ROWS))


def retry_analysis(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return how often each step was tried again, by what came of that: `step_id, error, count`, the most first.

    Parameters and errors are those of `failed_workflows`.
    """
    return _answer("Retry Analysis", source, since, _retries)


def token_usage(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return the tokens of each model: `model, total_input, total_output`.

    Parameters and errors are those of `failed_workflows`.
    """
    return _answer("Token Usage", source, since, _tokens)


def throttling_errors(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return how many records tell of throttling in each five minutes: `timestamp` (when they begin), `count`.

    Parameters and errors are those of `failed_workflows`.
    """
    return _answer("Throttling Errors", source, since, _throttles)


def slow_steps(source: Source = "store", *, since: Since = DAY) -> pd.DataFrame:
    """Return the records of over 10 s, the slowest first: `timestamp, step_id, execution_time` (ms).

    Parameters and errors are those of `failed_workflows`.
    """
    columns = ["timestamp", "step_id", "execution_time"]
    return _answer("Slow Steps", source, since, lambda frame: _slow(frame, _SLOW_STEP_MS)[columns])


def _answer(
    name: str, source: Source, since: Since, of_records: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    begin = moment(since) or datetime.now(UTC) - timedelta(days=1)
    if source == "cloudwatch":
        return _asked(QUERIES[name], begin)
    frame = read_records(source, begin).frame
    return of_records(frame[frame["timestamp"] >= begin]).reset_index(drop=True)


def _failed(frame: pd.DataFrame) -> pd.DataFrame:
    failed = frame[(frame["level"] == "ERROR") & (frame["event"] == "run")]
    newest = failed.sort_values("timestamp", ascending=False, kind="stable")
    return newest[["timestamp", "workflow_id", "workflow_name", "error"]].head(_FIRST_ROWS)


def _slow(frame: pd.DataFrame, limit_ms: float) -> pd.DataFrame:
    slow = frame[frame["execution_time"] > limit_ms].sort_values("execution_time", ascending=False, kind="stable")
    return slow[["timestamp", "workflow_id", "step_id", "execution_time"]]


def _retries(frame: pd.DataFrame) -> pd.DataFrame:
    again = frame[frame["attempt"] > 1]
    counted = again.groupby(["step_id", "error"], dropna=False, sort=False).size().rename("count").reset_index()
    return counted.sort_values("count", ascending=False, kind="stable")


def _tokens(frame: pd.DataFrame) -> pd.DataFrame:
    summed = frame[frame["model"].notna()].groupby("model", sort=False)[["input_tokens", "output_tokens"]].sum()
    named = {"input_tokens": "total_input", "output_tokens": "total_output"}
    return summed.astype("int64").rename(columns=named).reset_index()


def _throttles(frame: pd.DataFrame) -> pd.DataFrame:
    throttled = frame[frame["error"].str.contains("ThrottlingException", na=False)]
    return throttled.groupby(throttled["timestamp"].dt.floor("5min")).size().rename("count").reset_index()


def _asked(query: str, begin: datetime) -> pd.DataFrame:
    """Have Logs Insights run a query, and return its rows. Blocks."""
    group, client = log_group(), aws_client("logs")
    with cloudwatch_errors(group, "logs:StartQuery and logs:GetQueryResults"):
        started = client.start_query(
            logGroupName=group,
            startTime=int(begin.timestamp()),
            endTime=int(time.time()) + 1,
            queryString=query,
            limit=MOST_ROWS,
        )
        until = time.monotonic() + _WAIT_SECONDS
        while (answer := client.get_query_results(queryId=started["queryId"]))["status"] in ("Scheduled", "Running"):
            if time.monotonic() > until:
                client.stop_query(queryId=started["queryId"])
                raise InputError(f"Logs Insights did not answer within {_WAIT_SECONDS:g} s.", fix="Ask for less time.")
            time.sleep(_POLL_SECONDS)
    if answer["status"] != "Complete":
        raise InputError(f"Logs Insights ended the query as {answer['status']}.", fix="Ask again, for less time.")
    return _as_frame(answer["results"], query)


_NAMES = {"@timestamp": "timestamp", "bin(5m)": "timestamp", "count()": "count", "count(*)": "count"}
_TEXTS = frozenset({"workflow_id", "workflow_name", "step_id", "error", "model"})


def _as_frame(results: list[list[dict[str, str]]], query: str) -> pd.DataFrame:
    """Return the rows that Insights gave, all of whose values are texts."""
    import pandas as pd

    rows = [
        {_NAMES.get(cell["field"], cell["field"]): cell["value"] for cell in row if cell["field"] != "@ptr"}
        for row in results
    ]
    frame = pd.DataFrame(rows, columns=None if rows else _columns(query))
    for name in frame.columns:
        if name == "timestamp":
            frame[name] = pd.to_datetime(frame[name], utc=True)
        elif name not in _TEXTS:
            frame[name] = pd.to_numeric(frame[name])
    return frame


def _columns(query: str) -> list[str]:
    """Return the columns of a query's answer: those of its `fields`, or of its `stats`."""
    stats = [line for line in query.splitlines() if line.startswith("| stats")]
    if not stats:
        return [_NAMES.get(name, name) for name in query.splitlines()[0].removeprefix("fields ").split(", ")]
    sums, _, groups = stats[0].removeprefix("| stats ").partition(" by ")
    return [_NAMES.get(name, name.rpartition(" as ")[2]) for name in (*groups.split(", "), *sums.split(", "))]
