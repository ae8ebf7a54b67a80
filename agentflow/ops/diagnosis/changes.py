"""Causes that lie in a change: a step that does worse since it is another, and runs that cost more than usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agentflow.ops.diagnosis.finding import Finding
from agentflow.ops.diagnosis.seen import PEERS, PLACE, Seen
from agentflow.views.format import plural

if TYPE_CHECKING:
    import pandas as pd

_ENOUGH = 3  # runs of a step before a change, and after it
_MORE_FAILURES = 0.2  # of all
_TIMES = 2.0  # slower, or dearer
_LEAST_MS = 200.0
_TIMES_COST = 3.0  # of the median of at least `PEERS` peers

# What fails of these is no matter of the prompt; each has a rule of its own.
_OTHERS = frozenset(
    {
        "AccessDeniedError", "ConfigurationError", "CredentialsError", "EndpointError", "MemoryError",
        "ModelNotFoundError", "ModelTimeoutError", "ProfileNeededError", "ServiceError", "StepTimeoutError",
        "ThrottledError", "WorkflowTimeoutError",
    }
)  # fmt: skip

Differ = Callable[[str, str, str], str]


def regression(seen: Seen, differ: Differ | None = None) -> Iterator[Finding]:
    """Find steps that fail more, take longer or cost more since their prompt, code or model was changed.

    Parameters
    ----------
    differ : returns what differs in a step between two runs, given the ids of these; empty where nobody knows.
    """
    calls = seen.answered.groupby(PLACE, dropna=False).agg(
        model=("model", "last"), usd=("bedrock_usd", "sum"), output_tokens=("output_tokens", "sum")
    )
    steps = seen.step_ends.drop(columns=["model", "output_tokens"]).join(calls, on=PLACE)
    for (_, step), of_step in steps.groupby(["workflow_name", "step_id"], sort=False):
        yield from _regression(seen, str(step), of_step.sort_values("timestamp"), differ)


def _regression(seen: Seen, step: str, rows: pd.DataFrame, differ: Differ | None) -> Iterator[Finding]:
    """Compare a step before its last change with after it."""
    if rows["version"].isna().all():
        made_of = rows["model"].ffill().bfill()
    else:
        made_of = rows["version"].ffill().bfill().astype(str) + rows["model"].ffill().bfill().fillna("").astype(str)
    is_change = made_of != made_of.shift()
    changes = list(rows.index[is_change])[1:]
    if not changes:
        return
    at = rows.index.get_loc(changes[-1])
    before, after = rows.iloc[:at], rows.iloc[at:]
    if len(before) < _ENOUGH or len(after) < _ENOUGH or not after["is_new"].any():
        return
    worse = list(_worse(before, after))
    if not worse:
        return
    first, last = before.iloc[-1], after.iloc[0]
    what = differ(step, str(first["run_id"]), str(last["run_id"])) if differ else ""
    if not what:
        is_model = (
            first["model"] != last["model"] and isinstance(last["model"], str) and isinstance(first["model"], str)
        )
        what = f"model {first['model']} became {last['model']}" if is_model else "its prompt, code or settings changed"
    bad = seen.new(after)
    failed = _own_failures(bad)
    yield seen.found(
        "regression", failed if len(failed) else bad, rows, confidence=_confidence(before, after),
        summary=f"Step {step} does worse since {last['timestamp']:%Y-%m-%d %H:%M} UTC ({what}): {'; '.join(worse)}.",
        fix=f"Undo the change of {step}, or mend it; compare: agentflow.get_run({last['run_id']!r}).diff("
        f"agentflow.get_run({first['run_id']!r})), and workflow.backtest tries a change on past runs.",
        mildest="P2", value="own_ms", unit="ms", columns=("version", "model", "execution_time", "usd", "error"),
    )  # fmt: skip


def _confidence(before: pd.DataFrame, after: pd.DataFrame) -> float:
    return min(0.95, 0.6 + 0.05 * min(len(before), len(after)))


def _own_failures(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the failed ones, without those of errors that other rules know."""
    return steps[steps["error"].notna() & ~steps["error_type"].isin(_OTHERS)]


def _worse(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    failed = [len(_own_failures(frame)) / len(frame) for frame in (before, after)]
    if failed[1] - failed[0] >= _MORE_FAILURES:
        yield f"{100 * failed[1]:.0f}% fail, {100 * failed[0]:.0f}% did before"
    took = [frame[frame["error"].isna()]["own_ms"].median() for frame in (before, after)]
    if took[1] > _TIMES * took[0] and took[1] - took[0] > _LEAST_MS:
        yield f"it takes {took[1]:,.0f} ms, {took[0]:,.0f} ms before"
    cost = [frame["usd"].median() for frame in (before, after)]
    if cost[0] > 0 and cost[1] > _TIMES * cost[0]:
        yield f"it costs ${cost[1]:.6f}, ${cost[0]:.6f} before"


def cost_anomaly(seen: Seen) -> Iterator[Finding]:
    """Find runs that cost more than three times the median of at least ten runs of their workflow."""
    calls = seen.answered
    usd = calls["bedrock_usd"].fillna(calls["cost_usd"])
    per_run = calls.assign(usd=usd).groupby(["workflow_name", "run_id"], sort=False).agg(
        usd=("usd", "sum"),
        calls=("usd", "size"),
        input_tokens=("input_tokens", "sum"),
        output_tokens=("output_tokens", "sum"),
        timestamp=("timestamp", "max"),
        is_new=("is_new", "any"),
    )  # fmt: skip
    for workflow, runs in per_run.reset_index().groupby("workflow_name", sort=False):
        median = runs["usd"].median()
        dear = runs[runs["is_new"] & (runs["usd"] > _TIMES_COST * median)]
        if len(runs) <= PEERS or median <= 0 or dear.empty:
            continue
        dear = dear.sort_values("usd", ascending=False).assign(step_id=None)
        worst = dear.iloc[0]
        usual = runs.median(numeric_only=True)
        most = max(("calls", "input_tokens", "output_tokens"), key=lambda name: worst[name] / max(1.0, usual[name]))
        yield seen.found(
            "cost_anomaly", dear, runs, confidence=0.85,
            summary=f"{plural(len(dear), 'run')} of {workflow} cost up to ${worst['usd']:.6f} at list price, usually "
            f"${median:.6f}: {worst[most]:,.0f} {most.replace('_', ' ')}, usually {usual[most]:,.0f}.",
            fix=f"Look at what they were given: agentflow.get_run({worst['run_id']!r}); `budget_usd` stops a run that "
            "goes too far, and workflow.quote(...) tells before.",
            value="usd", unit="dollars a run, list price", limit=_TIMES_COST * median,
            columns=("usd", "calls", "input_tokens", "output_tokens"),
        )  # fmt: skip
