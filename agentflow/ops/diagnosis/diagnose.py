"""`diagnose`: run every rule over the records of a window, and say what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import InputError, JournalError, RunNotFoundError, nearest
from agentflow.core.explaining.changes import part_changes
from agentflow.core.history import LAST, known_run
from agentflow.core.journal import opened_journal
from agentflow.core.run_filter import moment
from agentflow.ops.deployment.config import Thresholds
from agentflow.ops.diagnosis.alarms import ALARMS, alarm_sentence
from agentflow.ops.diagnosis.changes import Differ, cost_anomaly, regression
from agentflow.ops.diagnosis.finding import Finding
from agentflow.ops.diagnosis.limits import output_cut, quota_wasted, throttling
from agentflow.ops.diagnosis.refusals import (
    access_denied,
    bad_region,
    expired_credentials,
    retired_model,
    wrong_profile,
)
from agentflow.ops.diagnosis.seen import Seen, seen_of
from agentflow.ops.diagnosis.times import hang, high_latency, memory
from agentflow.ops.records import BEFORE, read_records

if TYPE_CHECKING:
    import pandas as pd

Rule = Callable[[Seen], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    access_denied,
    expired_credentials,
    wrong_profile,
    retired_model,
    bad_region,
    throttling,
    quota_wasted,
    output_cut,
    high_latency,
    hang,
    memory,
    cost_anomaly,
)
WINDOW = timedelta(hours=1)  # that is looked at where nobody says
_LONGEST_DIFF = 160  # characters of a change in a sentence


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What was found in the records of runs.

    Attributes
    ----------
    findings : the causes, the worst first; empty where all is well.
    window : which records were looked at, in words.
    source : where they come from, in words.
    runs, failed : how many runs ended in the window, and how many of them failed; the rows of jobs count as runs.
    unexplained : errors of failed steps that no finding is about, each with how often it came.
    notes : what could not be read, and how the alarm stands.
    seen : the records that were looked at.
    """

    findings: tuple[Finding, ...]
    window: str
    source: str
    runs: int
    failed: int
    unexplained: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seen: Seen | None = field(default=None, compare=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a finding: `severity, cause, confidence, first_bad_minute, runs, summary, fix`."""
        import pandas as pd

        columns = ["severity", "cause", "confidence", "first_bad_minute", "runs", "summary", "fix"]
        rows = [
            (f.severity, f.cause, f.confidence, f.first_bad_minute, len(f.affected_runs), f.summary, f.fix)
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=columns)

    def to_json(self) -> str:
        """Return the diagnosis as JSON: `findings`, each with its `cause`, and what was looked at."""
        data: dict[str, Any] = {
            "findings": [finding.as_json() for finding in self.findings],
            "window": self.window,
            "source": self.source,
            "runs": self.runs,
            "failed": self.failed,
            "unexplained": dict(self.unexplained),
            "notes": list(self.notes),
        }
        return json.dumps(data, indent=2, default=str)

    def __repr__(self) -> str:
        from agentflow.ops.diagnosis.shown import diagnosis_text

        return diagnosis_text(self)

    def _repr_html_(self) -> str:
        from agentflow.ops.diagnosis.shown import diagnosis_html

        return diagnosis_html(self)


def diagnose(
    run_id: str | None = None,
    *,
    since: datetime | date | timedelta | str | None = None,
    source: str | Path = "store",
    alarm: str | None = None,
    limits: Thresholds | None = None,
) -> Diagnosis:
    """Find out why runs fail, are slow or cost too much: by rules, from their records, with no model.

    Parameters
    ----------
    run_id : one run, or `last`; also one that still runs, hangs or was killed. Without it all runs of a time.
    since : the beginning of that time, as for `agentflow.runs`; default: the last hour.
    source : `store`, `cloudwatch` (the log group of `AGENTFLOW_LOG_GROUP`, default `/aws/agentflow/production`), or a
        file of the log's JSON lines.
    alarm : the alarm that went off, such as `agentflow-high-error-rate`: its figure in these records is told.
    limits : the thresholds; default those of the runbook.

    Raises
    ------
    InputError
        An argument is none, or the source cannot be read.
    RunNotFoundError, JournalError
        There is no such run, or the store cannot be read.
    """
    limits = limits or Thresholds()
    name = _known_alarm(alarm)
    now = datetime.now(UTC)
    begin = moment(since) or now - WINDOW
    if run_id is not None and source == "store":
        run_id = str(known_run(run_id)["run_id"])
    read = read_records(source, begin if source == "store" else now - BEFORE, run_id)
    notes = list(read.notes)
    if run_id == LAST:
        run_id = _last_of(read.frame)
    seen = seen_of(read, begin, run_id, now, limits)
    if run_id is not None and not seen.records["is_new"].any():
        raise RunNotFoundError(f"There is no run {run_id!r} in {read.source}.", fix="Leave it out, or look elsewhere.")
    if not seen.records["is_new"].any():
        notes.append("no run has left a record in this time")
    if name:
        notes.append(alarm_sentence(name, seen))
    window = f"run {run_id}" if run_id else f"since {begin:%Y-%m-%d %H:%M} UTC"
    return examined(seen, window, read.source, notes, _difference if source == "store" else None)


def examined(
    seen: Seen, window: str, source: str, notes: Iterable[str] = (), differ: Differ | None = None
) -> Diagnosis:
    """Return what the rules find in records.

    Parameters
    ----------
    window, source, notes : as the diagnosis has them.
    differ : as for `regression`.
    """
    rules: tuple[Rule, ...] = (*RULES, partial(regression, differ=differ))
    findings = _without_effects([finding for rule in rules for finding in rule(seen)])
    findings.sort(key=lambda finding: (finding.severity, -finding.confidence))
    ended = seen.new(seen.ended)
    return Diagnosis(
        tuple(findings),
        window,
        source,
        len(ended),
        int((ended["status"] == "failed").sum()),
        _unexplained(seen, findings),
        tuple(notes),
        seen,
    )


def _without_effects(findings: list[Finding]) -> list[Finding]:
    """Leave out what a change of a step explains: that its runs cost more, or take longer."""
    changed = {run_id for finding in findings if finding.cause == "regression" for run_id in finding.affected_runs}
    effects = {"cost_anomaly", "high_latency"}
    return [each for each in findings if each.cause not in effects or not changed.issuperset(each.affected_runs)]


def _known_alarm(alarm: str | None) -> str:
    """Return an alarm's full name; empty where there is none."""
    if alarm is None:
        return ""
    name = alarm if alarm.startswith("agentflow-") else f"agentflow-{alarm}"
    if name not in ALARMS:
        known = ", ".join(ALARMS)
        raise InputError(f"There is no alarm {alarm!r}{nearest(name, ALARMS)}.", fix=f"Give one of {known}.")
    return name


def _last_of(frame: pd.DataFrame) -> str | None:
    """Return the run that was started last."""
    return None if frame.empty else str(frame.iloc[-1]["run_id"])


def _unexplained(seen: Seen, findings: Iterable[Finding]) -> dict[str, int]:
    """Return the errors of failed steps in runs that no finding is about."""
    explained = {run_id for finding in findings for run_id in finding.affected_runs}
    steps = seen.new(seen.steps)
    left = steps[steps["error"].notna() & ~steps["run_id"].isin(explained)]
    return {str(error): int(times) for error, times in left["error"].value_counts().head(5).items()}


def _difference(step: str, before: str, after: str) -> str:
    """Return what differs in what a step is made of in two runs of the store, in a line."""
    journal = opened_journal()
    try:
        old, new = (journal.past_run(run_id).parts.get(step) for run_id in (before, after))
    except (RunNotFoundError, JournalError):
        return ""
    return "; ".join(_changes(old, new)) if old and new else ""


def _changes(old: Any, new: Any) -> Iterator[str]:
    for reason in part_changes(old, new):
        if reason.diff:
            lines = [line for line in reason.diff.splitlines()[2:] if line[:1] in "+-"]
            yield f"{reason.text}: {' / '.join(lines)}"[:_LONGEST_DIFF]
        else:
            yield reason.text
