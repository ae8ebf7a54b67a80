"""What runs did, from the store: trends, slow steps, peaks, and the operation runbook's benchmarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentflow.views.verdicts import Verdict, Verdicts, Word, graded

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.core.result import RunResult

ENDED = ("ok", "failed", "budget_exceeded")  # an interrupted run is neither a success nor a failure


def success_percent(runs: pd.DataFrame) -> float:
    """Return how many of the runs that have ended did so well, in percent; NaN where none has ended."""
    ended = runs[runs["status"].isin(ENDED)]
    return _number((ended["status"] == "ok").mean() * 100)


def retry_percent(steps: pd.DataFrame) -> float:
    """Return how many of the steps that asked a model asked more than once, in percent; NaN where none asked."""
    asked = steps["attempts"].dropna()
    return _number((asked > 1).mean() * 100)


def _number(value: Any) -> float:
    """Return a number of pandas's, NaN where it knows none."""
    import pandas as pd

    return math.nan if pd.isna(value) else float(value)


_TRENDS: Mapping[str, Callable[[pd.DataFrame], float]] = {
    "runs": lambda runs: float(len(runs)),
    "success, %": success_percent,
    "duration, s (mean)": lambda runs: _number(runs["duration_ms"].mean() / 1000),
    "duration, s (p95)": lambda runs: _number(runs["duration_ms"].quantile(0.95) / 1000),
    "attempts a run": lambda runs: _number(runs["attempts"].mean()),
    "tokens a run": lambda runs: _number((runs["input_tokens"] + runs["output_tokens"]).mean()),
    "list price a run, $": lambda runs: _number(runs["bedrock_usd"].mean()),
}


def trends(runs: pd.DataFrame, days: float = 7) -> pd.DataFrame:
    """Compare the last days with as many before them.

    Parameters
    ----------
    runs : as `agentflow.runs()` returns them, of twice as many days at least.
    days : of each of the two periods.

    Returns
    -------
    DataFrame, one row a figure
        `before, now, change_percent`, the index names the figure and its unit. Where there were no runs before,
        `before` and `change_percent` are NaN.
    """
    import pandas as pd

    age_days = (pd.Timestamp.now(tz="UTC") - runs["started_at"]).dt.total_seconds() / 86_400
    now, before = runs[age_days <= days], runs[(age_days > days) & (age_days <= 2 * days)]
    table = pd.DataFrame(
        {"before": [_figure(each, before) for each in _TRENDS], "now": [_figure(each, now) for each in _TRENDS]},
        index=list(_TRENDS),
        dtype="float64",
    )
    table["change_percent"] = (table["now"] / table["before"] - 1) * 100
    return table


_WORSE, _MUCH_WORSE = 10.0, 25.0  # percent; a week's figures differ by some percent by chance


def worse(table: pd.DataFrame) -> Verdicts:
    """Return the verdicts on what `trends` found: whether runs take longer or cost more than before."""
    limits = f"at most {_WORSE:g}% more"
    verdicts = []
    for figure in ("duration, s (p95)", "list price a run, $"):
        before, now, change = (float(table[column][figure]) for column in ("before", "now", "change_percent"))
        if math.isnan(change):
            verdicts.append(Verdict(f"Trend: {figure}", "not checked", "no runs to compare with", limits=limits))
            continue
        word: Word = "ok" if change <= _WORSE else "acceptable" if change <= _MUCH_WORSE else "poor"
        fix = "" if word == "ok" else "result.diff(other) of a run before and one now says what was changed"
        verdicts.append(Verdict(f"Trend: {figure}", word, f"{before:.4g} → {now:.4g} ({change:+.0f}%)", fix, limits))
    return Verdicts(verdicts)


def _figure(name: str, runs: pd.DataFrame) -> float:
    return _TRENDS[name](runs) if len(runs) else float("nan")


def slowest_steps(steps: pd.DataFrame) -> pd.DataFrame:
    """Return a row a step of a workflow, the one that takes longest first.

    Parameters
    ----------
    steps : as `agentflow.runs().steps_frame()` returns them.

    Returns
    -------
    DataFrame
        `workflow, step, runs, median_ms, p95_ms, queue_ms` (mean)`, retried` (how many)`, share_percent` (of the time
        of all steps).
    """
    import pandas as pd

    ended = steps[steps["latency_ms"].notna() & ~steps["cached"].fillna(value=False)]
    ended = ended.assign(retried=(ended["attempts"].fillna(1) > 1).astype("int64"))
    groups = ended.groupby(["workflow", "step"], sort=False)
    total = groups["latency_ms"].sum()
    table = pd.DataFrame(
        {
            "runs": groups.size(),
            "median_ms": groups["latency_ms"].median(),
            "p95_ms": groups["latency_ms"].quantile(0.95),
            "queue_ms": groups["queue_ms"].mean(),
            "retried": groups["retried"].sum(),
            "share_percent": 100 * total / total.sum(),
        }
    )
    return table.sort_values("share_percent", ascending=False).reset_index()


def peak_in_flight(attempts: pd.DataFrame) -> int:
    """Return the most requests that were in flight at the same time.

    Parameters
    ----------
    attempts : as `agentflow.runs().attempts_frame()` returns them.
    """
    import pandas as pd

    begins = attempts["started_at"]
    ends = begins + pd.to_timedelta(attempts["latency_ms"].astype("float64"), unit="ms")
    changes = pd.DataFrame({"at": pd.concat([begins, ends]), "change": [1] * len(begins) + [-1] * len(ends)})
    # An end and a beginning at the same moment are not at the same time: -1 comes first.
    in_flight = changes.sort_values(["at", "change"])["change"].cumsum()
    return int(in_flight.max()) if len(in_flight) else 0


def compared(before: RunResult, after: RunResult) -> pd.DataFrame:
    """Compare what two runs took.

    Returns
    -------
    DataFrame, rows `before, after, change_percent`
        `duration_s, input_tokens, output_tokens, bedrock_usd` (list price of what was asked; what came from the cache
        is 0).
    """
    import pandas as pd

    table = pd.DataFrame({"before": _took(before), "after": _took(after)}).T
    table.loc["change_percent"] = ((table.loc["after"] / table.loc["before"] - 1) * 100).round(1)
    return table


def _took(run: RunResult) -> Mapping[str, float]:
    price = run.bedrock_usd
    return {
        "duration_s": round(run.duration_ms / 1000, 3),
        "input_tokens": run.usage.input_tokens,
        "output_tokens": run.usage.output_tokens,
        "bedrock_usd": math.nan if price is None else float(price),
    }


def benchmarks(runs: pd.DataFrame, steps: pd.DataFrame) -> Verdicts:
    """Hold runs against the operation runbook's table of performance benchmarks.

    A workflow of one step counts as simple, one of more as complex. Cost is Bedrock's list price.

    Parameters
    ----------
    runs, steps : as `agentflow.runs()` and its `steps_frame()` return them.
    """
    ended = runs[runs["status"] == "ok"]
    seconds = ended["duration_ms"] / 1000
    simple, complex_ = seconds[ended["steps"] == 1], seconds[ended["steps"] > 1]
    cost = _number(ended["bedrock_usd"].mean() * 1000)
    return Verdicts(
        [
            _benchmark("Workflow Success Rate", success_percent(runs), (99, 95), "{:.1f}%", more_is_better=True),
            _benchmark("Average Latency (Simple)", _number(simple.mean()), (2, 5), "{:.2f} s"),
            _benchmark("Average Latency (Complex)", _number(complex_.mean()), (10, 20), "{:.2f} s"),
            _benchmark("Retry Rate", retry_percent(steps), (1, 5), "{:.1f}%"),
            _benchmark("Cost per 1K workflows", cost, (5, 10), "${:.2f}"),
        ]
    )


def _benchmark(
    name: str, value: float, limits: tuple[float, float], written: str, *, more_is_better: bool = False
) -> Verdict:
    sign = ">" if more_is_better else "<"
    whole = written.replace(".1f", "g").replace(".2f", "g")
    told = f"target {sign} {whole.format(limits[0])}, acceptable {sign} {whole.format(limits[1])}"
    if math.isnan(value):
        return Verdict(name, "not checked", "no such run", limits=told)
    word = graded(value, *limits, more_is_better=more_is_better)
    return Verdict(name, word, written.format(value), limits=told)
