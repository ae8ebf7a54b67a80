"""What a rule finds: a cause with its evidence, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Cause = Literal[
    "access_denied",
    "throttling",
    "high_latency",
    "memory",
    "hang",
    "wrong_profile",
    "retired_model",
    "expired_credentials",
    "output_cut",
    "quota_wasted",
    "bad_region",
    "regression",
    "cost_anomaly",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

Severity = Literal["P0", "P1", "P2", "P3"]

_EVIDENCE = 200  # rows that a finding keeps
_SHOWN = 5  # rows that JSON has


@dataclass(frozen=True)
class Finding:
    """One cause of trouble.

    Attributes
    ----------
    cause : one of `CAUSES`.
    confidence : 0 to 1; 1 where AWS itself said so.
    severity : P0 to P3, by the runbook's table.
    summary : what was found, in a sentence.
    fix : what to do, with the command, the policy or the parameter.
    first_bad_minute : the minute (UTC) of the first record that shows it; None where there is none.
    affected_runs : the ids of the runs that it was found in.
    evidence : the records that show it, the first 200.
    series : what the chart draws: `timestamp`, `value`, `is_bad`; see `plot`.
    unit : of `value`; empty where records are counted by the minute.
    limit : that `value` is held against.
    """

    cause: Cause
    confidence: float
    severity: Severity
    summary: str
    fix: str
    first_bad_minute: datetime | None
    affected_runs: tuple[str, ...]
    evidence: pd.DataFrame = field(repr=False, compare=False)
    series: pd.DataFrame = field(repr=False, compare=False)
    unit: str = ""
    limit: float | None = None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the evidence over time: what is bad, beside what is not.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; without it the chart gets a figure of its own, which a notebook shows.
        """
        from agentflow.views.finding_chart import finding_chart

        return finding_chart(f"{self.cause} · {self.severity}", self.series, self.unit, self.limit, ax)

    def as_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON, with the first rows of its evidence."""
        import json

        rows = self.evidence.head(_SHOWN).to_json(orient="records", date_format="iso")
        return {
            "cause": self.cause,
            "confidence": self.confidence,
            "severity": self.severity,
            "summary": self.summary,
            "fix": self.fix,
            "first_bad_minute": self.first_bad_minute.isoformat() if self.first_bad_minute else None,
            "affected_runs": list(self.affected_runs),
            "evidence": [{name: value for name, value in row.items() if value is not None} for row in json.loads(rows)],
        }


def as_evidence(records: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the columns of records that have values, the first 200 of them."""
    shown = records[[name for name in columns if name in records.columns]].head(_EVIDENCE)
    return shown.dropna(axis="columns", how="all").reset_index(drop=True)
