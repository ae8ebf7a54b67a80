"""What the rules look at: the records of a window, and those of before, to know what is usual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from agentflow.models.faults import THROTTLE_CODES
from agentflow.ops.deployment.config import Thresholds
from agentflow.ops.diagnosis.finding import Cause, Finding, Severity, as_evidence
from agentflow.ops.records import Records

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["run_id", "step_id", "item"]
PEERS = 10  # as many make a median that one of them can be held against

# The runbook's table of severities, in percent of the runs: above the first P1, from the second on P2, else P3.
SERIOUS, ELEVATED = 20.0, 5.0
OUTAGE_RUNS = 3  # as many runs that have all failed are a complete outage

FAILED = frozenset({"failed", "budget_exceeded"})


def are_throttled(errors: pd.Series) -> pd.Series:
    """Return which errors of requests tell of throttling."""
    return errors.str.lower().isin(THROTTLE_CODES)


@dataclass
class Seen:
    """Records as the rules look at them.

    Attributes
    ----------
    records : those that were read, in the order of time, with a column `is_new`: whether they belong to the window.
    now : when it is looked, in UTC.
    limits : the thresholds of the alarms.
    """

    records: pd.DataFrame
    now: datetime
    limits: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        frame = self.records
        self.attempts = frame[frame["event"] == "attempt"]
        self.answered = self.attempts[self.attempts["error"].isna()]
        self.steps = frame[frame["event"].isin(["step", "step_cancelled"])]
        self.runs = frame[(frame["event"] == "run") & frame["step_id"].isna()]
        self.ended = frame[frame["event"] == "run"]  # the rows of jobs among them

    @cached_property
    def step_ends(self) -> pd.DataFrame:
        """The ends of steps with `own_ms`: the time that each took, without its waits for quota and retries."""
        waits = self.attempts.assign(waited=self.attempts[["queue_ms", "wait_ms"]].sum(axis=1))
        waited = waits.groupby(PLACE, dropna=False)["waited"].sum()
        steps = self.steps[self.steps["event"] == "step"].join(waited, on=PLACE)
        return steps.assign(own_ms=steps["execution_time"] - steps["waited"].fillna(0))

    def new(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return those of the window."""
        return records[records["is_new"]]

    def failures(self, *error_types: str) -> pd.DataFrame:
        """Return the failed steps of the window whose error is of these kinds."""
        steps = self.new(self.steps)
        return steps[steps["error_type"].isin(error_types)]

    def severity(self, run_ids: Iterable[str], mildest: Severity = "P3") -> Severity:
        """Return how bad it is, by the runbook's table: by the share of the window's runs that failed of it.

        Parameters
        ----------
        run_ids : the runs that it happened to.
        mildest : what it is where no run failed.
        """
        ended = self.new(self.ended)
        affected = ended["run_id"].isin(list(run_ids)) & ended["status"].isin(FAILED)
        if ended.empty or not affected.any():
            return mildest
        share = 100 * affected.sum() / len(ended)
        if share == 100 and len(ended) >= OUTAGE_RUNS:
            return "P0"
        worst: Severity = "P1" if share > SERIOUS else "P2" if share >= ELEVATED else "P3"
        return min(worst, mildest)

    def found(
        self,
        cause: Cause,
        bad: pd.DataFrame,
        among: pd.DataFrame,
        *,
        confidence: float,
        summary: str,
        fix: str,
        mildest: Severity = "P3",
        value: str = "",
        unit: str = "",
        limit: float | None = None,
        columns: Iterable[str] = (),
    ) -> Finding:
        """Return a finding.

        Parameters
        ----------
        bad, among : the records that show it, and all that could have.
        mildest : as for `severity`.
        value, unit, limit : of the chart: a column, its unit, what it is held against; none where records are counted.
        columns : of the evidence, beside those that say when and where.
        """
        run_ids = tuple(dict.fromkeys(bad["run_id"]))
        series = among[["timestamp"]].copy()
        series["value"] = among[value] if value else 1.0
        series["is_bad"] = among.index.isin(bad.index)
        first = bad["timestamp"].min()
        return Finding(
            cause,
            confidence,
            self.severity(run_ids, mildest),
            summary,
            fix,
            None if bad.empty else first.floor("min").to_pydatetime(),
            run_ids,
            as_evidence(bad, "timestamp", "run_id", "step_id", "item", *columns),
            series,
            unit,
            limit,
        )


def seen_of(read: Records, since: datetime, run_id: str | None, now: datetime, limits: Thresholds) -> Seen:
    """Return records as the rules look at them: new are those of a run, or of since a moment."""
    frame = read.frame.copy()
    frame["is_new"] = frame["run_id"] == run_id if run_id else frame["timestamp"] >= since
    return Seen(frame, now, limits)
