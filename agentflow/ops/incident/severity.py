"""How severe an incident is, by the operation runbook's table, with the figure of each of its criteria."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from agentflow.core.errors import InputError
from agentflow.ops.alarm_states import figure, is_over, limit_text, written
from agentflow.ops.diagnosis.diagnose import Diagnosis
from agentflow.ops.diagnosis.finding import Severity
from agentflow.ops.diagnosis.seen import ELEVATED, FAILED, OUTAGE_RUNS, SERIOUS, Seen
from agentflow.views.format import plural
from agentflow.views.verdicts import Verdict, Verdicts

# The runbook's levels, with its response times.
LEVELS: Mapping[Severity, tuple[str, str]] = {
    "P0": ("Critical", "immediate"),
    "P1": ("High", "within 15 minutes"),
    "P2": ("Medium", "within 1 hour"),
    "P3": ("Low", "next business day"),
}
_DURATION = "agentflow-workflow-duration"


@dataclass(frozen=True)
class Classified:
    """A severity and what it rests on.

    Attributes
    ----------
    why : in a sentence.
    criteria : those of the runbook's table, each with its figure; `not checked` are those that only people can judge.
    """

    severity: Severity
    why: str
    criteria: Verdicts

    @property
    def name(self) -> str:
        """The level with its name, such as `P1 High`."""
        return f"{self.severity} {LEVELS[self.severity][0]}"

    @property
    def respond(self) -> str:
        """How soon somebody has to respond."""
        return LEVELS[self.severity][1]


def classified(found: Diagnosis, by_hand: str = "") -> Classified:
    """Return how severe it is: the worst that a criterion or a finding says, or what somebody has decided.

    Raises
    ------
    InputError
        `by_hand` is no severity.
    """
    if by_hand and by_hand not in get_args(Severity):
        raise InputError(f"severity={by_hand!r} is none.", fix="Give P0, P1, P2 or P3, or nothing.")
    rated = [] if found.seen is None else sorted(_criteria(found, found.seen), key=lambda pair: pair[0])
    met = [(level, verdict) for level, verdict in rated if verdict.verdict == "found"]
    by_table: tuple[Severity, str] = ("P3", "no criterion of a higher level is met")
    reasons = [(level, f"{verdict.check.partition(' · ')[2]}: {verdict.figure}") for level, verdict in met]
    level, why = min(reasons, default=by_table, key=lambda pair: pair[0])
    for decided in get_args(Severity):
        if by_hand == decided:
            why, level = f"set by hand; by the table it is {level} ({why})", decided
    return Classified(level, why, Verdicts(verdict for _, verdict in rated))


def _criteria(found: Diagnosis, seen: Seen) -> Iterator[tuple[Severity, Verdict]]:
    ended = seen.new(seen.ended)
    is_bad = ended["status"].isin(FAILED)
    share = 100 * float(is_bad.mean()) if len(ended) else 0.0
    told = f"{int(is_bad.sum()):,} of {plural(len(ended), 'run')} failed ({share:.1f}%)"
    in_a_row = len(ended) - 1 - max((at for at, bad in enumerate(is_bad) if not bad), default=-1)
    streak = f"; the last {in_a_row:,} in a row" if 1 < in_a_row < len(ended) else ""
    yield _met("P0", "Complete service outage", len(ended) >= OUTAGE_RUNS and share == 100, told + streak)
    yield _unknown("P0", "Data loss or corruption")
    yield _unknown("P0", "Security breach")
    yield _met("P1", f"High error rate (> {SERIOUS:g}%)", share > SERIOUS, told)
    lost = [str(name) for name, bad in is_bad.groupby(ended["workflow_name"]) if bad.all() and len(bad) >= OUTAGE_RUNS]
    names = f": {', '.join(lost)}" if lost else ""
    workflows = plural(ended["workflow_name"].nunique(), "workflow")
    partly = f"{len(lost):,} of {workflows} failed altogether{names}"
    yield _met("P1", "Partial service degradation", bool(lost), partly)
    took = figure(_DURATION, seen)
    slow = f"{written(_DURATION, took)}, limit {limit_text(_DURATION, seen.limits)}"
    yield _met("P1", "Performance severely impacted", is_over(_DURATION, took, seen.limits), slow)
    yield _met("P2", f"Elevated error rate ({ELEVATED:g}-{SERIOUS:g}%)", ELEVATED <= share <= SERIOUS, told)
    for level in LEVELS:
        causes = dict.fromkeys(each.cause for each in found.findings if each.severity == level)
        if causes:
            yield _met(level, "Causes found", True, ", ".join(causes))
    yield _met("P3", f"Low error rate (< {ELEVATED:g}%)", 0 < share < ELEVATED, told)


def _met(level: Severity, name: str, is_met: bool, told: str) -> tuple[Severity, Verdict]:
    return level, Verdict(f"{level} · {name}", "found" if is_met else "not found", told)


def _unknown(level: Severity, name: str) -> tuple[Severity, Verdict]:
    return level, Verdict(f"{level} · {name}", "not checked", 'no record says: set severity = "P0" where it is so')
