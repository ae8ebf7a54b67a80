"""What an incident did: how many runs failed, of which workflows, at which steps, for how long."""

from __future__ import annotations

from dataclasses import dataclass

from agentflow.ops.diagnosis.diagnose import Diagnosis
from agentflow.ops.diagnosis.seen import FAILED
from agentflow.views.format import plural


@dataclass(frozen=True)
class Impact:
    """What an incident did.

    Attributes
    ----------
    lasted_ms : from the first failure to the first good run after the last one, or to the last record; None where
        nothing failed.
    good_since : how many runs ended well after the last one that failed.
    """

    runs: int
    failed: int
    workflows: tuple[str, ...]
    steps: tuple[str, ...]
    lasted_ms: float | None
    good_since: int = 0

    @property
    def is_over(self) -> bool:
        """Whether a run has ended well since the last failure, or none has failed."""
        return not self.failed or self.good_since > 0

    @property
    def failed_percent(self) -> float:
        """How many of the runs failed."""
        return 100 * self.failed / self.runs if self.runs else 0.0

    @property
    def sentence(self) -> str:
        """It in words."""
        where = f" in {', '.join(self.workflows)}" if self.workflows else ""
        steps = f", at {', '.join(self.steps)}" if self.steps else ""
        return f"{self.failed:,} of {plural(self.runs, 'run')} failed ({self.failed_percent:.1f}%){where}{steps}"


def impact_of(found: Diagnosis) -> Impact:
    """Return what an incident did, by the records that a diagnosis has looked at."""
    seen = found.seen
    if seen is None:
        return Impact(0, 0, (), (), None)
    ended, steps = seen.new(seen.ended), seen.new(seen.steps)
    bad = ended[ended["status"].isin(FAILED)]
    affected = {run_id for each in found.findings for run_id in each.affected_runs} | set(bad["run_id"])
    workflows = ended.loc[ended["run_id"].isin(affected), "workflow_name"].dropna()
    failed_steps = steps.loc[steps["error"].notna(), "step_id"].dropna()
    lasted, good_since = None, 0
    if len(bad):
        after = ended[~ended["status"].isin(FAILED) & (ended["timestamp"] > bad["timestamp"].max())]
        end = after["timestamp"].min() if len(after) else seen.new(seen.records)["timestamp"].max()
        lasted, good_since = (end - bad["timestamp"].min()).total_seconds() * 1000, len(after)
    return Impact(
        len(ended),
        len(bad),
        tuple(dict.fromkeys(map(str, workflows))),
        tuple(dict.fromkeys(map(str, failed_steps))),
        lasted,
        good_since,
    )
