"""Each cause by itself: found, with its evidence, or not found, with the figure that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agentflow.ops.diagnosis.diagnose import Diagnosis
from agentflow.ops.diagnosis.finding import CAUSES, Cause
from agentflow.ops.diagnosis.seen import Seen, are_throttled
from agentflow.ops.diagnosis.times import HANG_SECONDS
from agentflow.views.format import plural
from agentflow.views.verdicts import Verdict, Verdicts

# The operation runbook's five common issues, in its order and by its names.
ISSUES: Mapping[Cause, str] = {
    "access_denied": "Issue 1: Model Access Denied",
    "throttling": "Issue 2: Throttling Errors",
    "high_latency": "Issue 3: High Latency",
    "memory": "Issue 4: Memory Issues",
    "hang": "Issue 5: Workflow Hangs",
}
OTHERS: tuple[Cause, ...] = tuple(cause for cause in CAUSES if cause not in ISSUES)


def cause_verdicts(found: Diagnosis, causes: Iterable[Cause] = CAUSES) -> Verdicts:
    """Return a verdict for each cause: what was found, or the figure by which it was not.

    Parameters
    ----------
    causes : which; `ISSUES` are the runbook's five, `OTHERS` the rest.
    """
    return Verdicts(_verdict(found, cause) for cause in causes)


def _verdict(found: Diagnosis, cause: Cause) -> Verdict:
    name = ISSUES.get(cause, cause.replace("_", " "))
    limits, measure = _ABSENT[cause]
    seen = found.seen
    if of_cause := [finding for finding in found.findings if finding.cause == cause]:
        told = " ".join(f"{each.severity}: {each.summary}" for each in of_cause)
        return Verdict(name, "found", told, limits=limits)
    if seen is None or not seen.records["is_new"].any():
        return Verdict(name, "not checked", "no records in this time", limits=limits)
    return Verdict(name, "not found", measure(seen), limits=limits)


def _refused(what: str) -> Callable[[Seen], str]:
    def told(seen: Seen) -> str:
        steps = seen.new(seen.steps)
        return f"0 of {plural(len(steps), 'step')} {what}"

    return told


def _throttles(seen: Seen) -> str:
    attempts = seen.new(seen.attempts)
    throttled = int(are_throttled(attempts["error"]).sum())
    return f"{throttled:,} of {plural(len(attempts), 'request')} throttled"


def _longest(seen: Seen) -> str:
    calls, steps = seen.new(seen.answered)["execution_time"], seen.new(seen.step_ends)["own_ms"]
    if calls.dropna().empty and steps.dropna().empty:
        return "nothing was measured"
    told = {"request": calls.max(), "step": steps.max()}
    return ", ".join(f"longest {what} {value:,.0f} ms" for what, value in told.items() if value == value)  # noqa: PLR0124 - NaN


def _memory(seen: Seen) -> str:
    new = seen.new(seen.records)
    percent, megabytes = new["memory_percent"].max(), new["memory_mb"].max()
    errors = "no step ran out of memory"
    return f"{errors}, peak {megabytes:,.0f} MB, {percent:.0f}% of the machine" if percent == percent else errors  # noqa: PLR0124 - NaN


def _silent(seen: Seen) -> str:
    new = seen.new(seen.records)
    open_runs = set(new[new["event"] == "run_started"]["run_id"]) - set(seen.runs["run_id"])
    return f"{plural(len(seen.new(seen.ended)), 'run')} ended, {plural(len(open_runs), 'run')} going on"


def _models(seen: Seen) -> str:
    models = seen.new(seen.answered)["model_id"].dropna().unique()
    return f"{plural(len(models), 'model')} answered, none past its end of life"


def _cut(seen: Seen) -> str:
    calls = seen.new(seen.answered)
    cut = int((calls["stop_reason"] == "max_tokens").sum())
    return f"{cut:,} of {plural(len(calls), 'answer')} cut off"


def _queued(seen: Seen) -> str:
    queued = seen.new(seen.answered)["queue_ms"].dropna()
    return "no call waited" if queued.empty else f"median wait for quota {queued.median():,.1f} ms"


def _versions(seen: Seen) -> str:
    steps = seen.steps.dropna(subset=["version"])
    changed = steps.groupby(["workflow_name", "step_id"])["version"].nunique()
    return f"{int((changed > 1).sum()):,} of {plural(len(changed), 'step')} changed"


def _dearest(seen: Seen) -> str:
    calls = seen.new(seen.answered)
    usd = calls["bedrock_usd"].fillna(calls["cost_usd"]).groupby(calls["run_id"]).sum()
    if usd.empty:
        return "nothing was paid for"
    return f"dearest run ${usd.max():,.6f}, median ${usd.median():,.6f} at list price"


# Cause -> what it is held against, and what is told where it was not found.
_ABSENT: Mapping[Cause, tuple[str, Callable[[Seen], str]]] = {
    "access_denied": ("no refusal", _refused("were denied access")),
    "throttling": ("at most 1% of requests", _throttles),
    "high_latency": ("request 10 s, step 30 s, 5 x the median", _longest),
    "memory": ("no MemoryError, below 90%", _memory),
    "hang": (f"no silence of {HANG_SECONDS:g} s or more, no timeout", _silent),
    "wrong_profile": ("no refusal", _refused("lacked an inference profile")),
    "retired_model": ("no model past its end", _models),
    "expired_credentials": ("no refusal", _refused("failed of credentials")),
    "output_cut": ("below 5% of a step's answers", _cut),
    "quota_wasted": ("no long wait beside unused max_tokens", _queued),
    "bad_region": ("no refusal", _refused("failed of the region")),
    "regression": ("no step worse since a change", _versions),
    "cost_anomaly": ("3 x the median of 10 runs or more", _dearest),
}
