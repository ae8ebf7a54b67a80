"""Records of runs, from wherever they are kept: the store, a file of JSON lines, or CloudWatch Logs.

All three have the same fields: those of the log (`agentflow.ops.run_log`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import InputError, RunNotFoundError
from agentflow.core.journal import opened_journal
from agentflow.ops.cloudwatch import aws_client
from agentflow.ops.past_records import records_of
from agentflow.utils.env import setting
from agentflow.utils.logging import FIELDS, MORE_FIELDS

if TYPE_CHECKING:
    import pandas as pd

LOG_GROUP = "/aws/agentflow/production"  # the runbook's, where AGENTFLOW_LOG_GROUP names none
BEFORE = timedelta(days=7)  # how far back runs are looked at to know what is usual
MOST_RUNS = 300  # of the store, the newest; older ones would take long to read and say little
MOST_RECORDS = 150_000  # likewise: a job has some for each row
MOST_RUNS_BEFORE = 50

Record = dict[str, Any]

_COLUMNS = ("timestamp", "level", "message", *FIELDS, *MORE_FIELDS)
_NUMBERS = (
    "execution_time", "attempt", "item", "input_tokens", "output_tokens", "max_tokens", "cache_read_tokens",
    "cache_write_tokens", "cost_usd", "bedrock_usd", "queue_ms", "ttft_ms", "wait_ms", "http_status", "memory_mb",
    "memory_percent",
)  # fmt: skip


@dataclass(slots=True)
class Records:
    """Records of runs, and where they come from.

    Attributes
    ----------
    frame : one row a record, in the order of time. Its columns are the fields of the log, `timestamp` in UTC among
        them; a field that a record does not have is nothing.
    source : in words.
    notes : what of the source could not be read, a sentence each.
    """

    frame: pd.DataFrame
    source: str
    notes: list[str] = field(default_factory=list)


def read_records(source: str | Path, since: datetime, run_id: str | None = None) -> Records:
    """Return the records of a source. Blocks.

    Parameters
    ----------
    source : `store`, `cloudwatch`, or the path of a file of JSON lines.
    since : those of earlier than that are left out.
    run_id : of the store, this run and those of its workflow that came before; elsewhere all are read.

    Raises
    ------
    InputError
        There is no such file, it cannot be read, or CloudWatch does not show its logs.
    JournalError
        The store cannot be read.
    """
    if source == "store":
        return _of_store(since, run_id)
    return _of_cloudwatch(since) if source == "cloudwatch" else _of_file(Path(source), since)


def as_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return records as a frame, in the order of time; a number that is none becomes nothing, all else is text."""
    import pandas as pd

    frame = pd.DataFrame.from_records(list(records)).reindex(columns=list(_COLUMNS))
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True, errors="coerce", format="ISO8601")
    for name in _NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    texts = frame.columns.difference(["timestamp", "cached", *_NUMBERS])
    frame[texts] = frame[texts].astype("string").astype(object).where(frame[texts].notna(), None)
    return frame.sort_values("timestamp", kind="stable", ignore_index=True)


def _of_store(since: datetime, run_id: str | None) -> Records:
    journal = opened_journal()
    rows = list(journal.runs())
    wanted = _wanted_of_store(rows, since, run_id)
    records: list[Record] = []
    read = 0
    for row in wanted[:MOST_RUNS]:
        if len(records) > MOST_RECORDS:
            break
        read += 1
        with suppress(RunNotFoundError):  # deleted meanwhile
            records += records_of(journal.past_run(row["run_id"]), row)
    notes = [f"only {read:,} of {len(wanted):,} runs were read, the newest"] if read < len(wanted) else []
    return Records(as_frame(records), "the store", notes)


def _wanted_of_store(rows: list[Mapping[str, Any]], since: datetime, run_id: str | None) -> list[Mapping[str, Any]]:
    """Return the runs to read, the newest first: those of the window or the one asked for, and some from before."""
    if run_id is None:
        now = [row for row in rows if _end(row) >= since]
    else:
        now = [row for row in rows if row["run_id"] == run_id]
    oldest = min((row["started_at"] for row in now), default=since)
    left = dict.fromkeys({row["workflow"] for row in now}, MOST_RUNS_BEFORE)
    before = []
    for row in rows:
        is_usual = oldest - BEFORE < row["started_at"] < oldest and row not in now
        if is_usual and left.get(row["workflow"], 0) > 0:
            left[row["workflow"]] -= 1
            before.append(row)
    return now + before


def _end(row: Mapping[str, Any]) -> datetime:
    if row["status"] == "running":
        return datetime.now(UTC)
    end: datetime = row["started_at"] + timedelta(milliseconds=row["duration_ms"] or 0.0)
    return end


def _of_file(path: Path, since: datetime) -> Records:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return _of_lines(((None, line) for line in lines), since, str(path))
    except FileNotFoundError:
        raise InputError(
            f"There is no file {str(path)!r}.", fix="Give store, cloudwatch, or the path of a log of JSON lines."
        ) from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error


def log_group() -> str:
    """Return the log group that runs are logged to."""
    return setting("AGENTFLOW_LOG_GROUP").value or LOG_GROUP


@contextmanager
def cloudwatch_errors(group: str, actions: str) -> Iterator[None]:
    """Turn what CloudWatch Logs says when it does not answer into errors that say what to do.

    Parameters
    ----------
    actions : that the caller has to be allowed, in words.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    check = "Check AWS_PROFILE and AWS_REGION; `agentflow health` says more."
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        fix = check
        if code == "ResourceNotFoundException":
            fix = "Set AGENTFLOW_LOG_GROUP to the group that the runs are logged to, and AWS_REGION to its region."
        elif "AccessDenied" in code:
            fix = f"Allow {actions} on arn:aws:logs:*:*:log-group:{group}:*."
        raise InputError(f"CloudWatch Logs refused to show {group}: {code}.", fix=fix) from error
    except BotoCoreError as error:
        raise InputError(f"CloudWatch Logs cannot be asked for {group}: {error}.", fix=check) from error


def _of_cloudwatch(since: datetime) -> Records:
    group = log_group()
    with cloudwatch_errors(group, "logs:FilterLogEvents"):
        pages = aws_client("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=group, startTime=int(since.timestamp() * 1000))
        lines = ((event["timestamp"], event["message"]) for page in found for event in page["events"])
        return _of_lines(lines, since, f"CloudWatch Logs, {group}")


def _of_lines(lines: Iterable[tuple[int | None, str]], since: datetime, source: str) -> Records:
    """Return those of some lines that are records of runs; of the others their number is told.

    Parameters
    ----------
    lines : each with its time in milliseconds since 1970, where that is known.
    """
    reader = _Lines(since)
    frame = as_frame(reader.records(lines))
    return Records(frame, source, reader.notes())


class _Lines:
    """Reads lines, and counts those that are no records of runs."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._malformed = self._others = self._backwards = 0

    def records(self, lines: Iterable[tuple[int | None, str]]) -> Iterator[Record]:
        """Yield the records."""
        latest: datetime | None = None
        for milliseconds, line in lines:
            if not line.strip():
                continue
            record = self._record(line)
            if record is None:
                continue
            at = record["timestamp"]
            if milliseconds is None:  # CloudWatch gives them in the order of time, of several processes
                self._backwards += latest is not None and at < latest - timedelta(minutes=1)
                latest = at
            if at >= self._since:
                yield record

    def _record(self, line: str) -> Record | None:
        try:
            record = json.loads(line)
        except ValueError:
            self._malformed += 1
            return None
        if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in ("run_id", "event")):
            self._others += 1
            return None
        try:
            at = datetime.fromisoformat(record["timestamp"])
        except (KeyError, TypeError, ValueError):
            self._malformed += 1
            return None
        return record | {"timestamp": at if at.tzinfo else at.replace(tzinfo=UTC)}

    def notes(self) -> list[str]:
        """Return what was left out, a sentence each."""
        told = {
            "{:,} lines are no JSON objects with a time, and were left out": self._malformed,
            "{:,} lines are of other programs, or no records of runs": self._others,
            "the clock was set back {:,} times: the order of records may be wrong": self._backwards,
        }
        return [sentence.format(count) for sentence, count in told.items() if count]
