"""The graphs of the CloudWatch dashboard, drawn from records of runs: eight panels on one figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from agentflow.views.chart_parts import INK, PALE, PLAIN, new_figure
from agentflow.views.outputs import one_line

if TYPE_CHECKING:
    import pandas as pd

# Okabe and Ito's colours, which people who see colours otherwise can tell apart.
_GOOD, _BAD, _THIRD = "#0072B2", "#D55E00", "#E69F00"
_MODELS = (_GOOD, _THIRD, "#009E73", "#CC79A7", "#56B4E9")  # and round again
_LIMIT: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": "--"}
_BINS = 30
_MOST_STEPS = 8
_LABEL = 26  # characters
_LEAST_DAYS = 4 / 86_400  # of the axes of time: what happened within a second is one column
_MINUTES, _DAYS = 20 / 1440, 2.0  # days of records from which on seconds, and then hours, say nothing


def dashboard_figure(records: pd.DataFrame, limits: Mapping[str, float]) -> Figure:
    """Draw success and failure, durations, latency, tokens, cost, throttles, queue time and slow steps.

    Parameters
    ----------
    records : those of a window, with the fields of the log.
    limits : lines to hold values against, in milliseconds: `duration`, `latency` and `step`.
    """
    with matplotlib.style.context("default"):
        figure = new_figure(10.5)
        grid: Any = figure.subplots(4, 2)
        attempts = records[records["event"] == "attempt"]
        runs, steps = records[records["event"] == "run"], records[records["event"] == "step"]
        answered = attempts[attempts["error"].isna()]
        begin, end = _extent(records)
        panels: list[tuple[str, pd.DataFrame, Callable[..., None], tuple[float, ...]]] = [
            ("Workflow Success/Failure", runs, _outcomes, ()),
            ("Workflow Duration", runs, _durations, (limits["duration"],)),
            ("Bedrock Latency, by model", answered, _by_model("execution_time"), (limits["latency"],)),
            ("Tokens, by model", answered, _tokens, ()),
            ("Cost at list price, added up", answered, _cost, ()),
            ("Throttles and Errors", attempts, _errors, ()),
            ("Queue Time, by model", answered, _by_model("queue_ms"), ()),
            ("Slow Steps", steps, _slowest, (limits["step"],)),
        ]
        for ax, (title, rows, draw, lines) in zip(grid.flat, panels, strict=True):
            ax.set_title(title, loc="left", fontsize=10, color=INK)
            if rows.empty:
                ax.text(0.5, 0.5, "no records", transform=ax.transAxes, ha="center", va="center", color=PALE)
                ax.set(xticks=[], yticks=[])
            else:
                if draw not in (_tokens, _slowest):
                    _dates(ax, begin, end)
                draw(ax, rows, *lines)
            _quiet(ax)
    return figure


def _extent(records: pd.DataFrame) -> tuple[float, float]:
    """Return the beginning and the end of all axes of time, in matplotlib's days."""
    if records.empty:
        return 0.0, 1.0
    moments = [records["timestamp"].min(), records["timestamp"].max()]
    begin, end = map(float, date2num(moments))  # type: ignore[no-untyped-call]
    room = max((_LEAST_DAYS - (end - begin)) / 2, 0.03 * (end - begin))
    return begin - room, end + room


def _outcomes(ax: Axes, runs: pd.DataFrame) -> None:
    is_bad = runs["status"].isin(["failed", "budget_exceeded"])
    _stacked(ax, {"succeeded": (runs[~is_bad], _GOOD), "failed": (runs[is_bad], _BAD)}, "runs")


def _errors(ax: Axes, attempts: pd.DataFrame) -> None:
    codes = attempts["error"]
    throttled = codes.str.contains("(?i)throttl", na=False)
    parts = {
        "answered": (attempts[codes.isna()], "#c8c8c8"),
        "throttled": (attempts[throttled], _THIRD),
        "failed": (attempts[codes.notna() & ~throttled], _BAD),
    }
    _stacked(ax, parts, "requests")


def _stacked(ax: Axes, parts: Mapping[str, tuple[pd.DataFrame, str]], unit: str) -> None:
    there = {name: part for name, part in parts.items() if len(part[0])}
    times: Any = [date2num(rows["timestamp"]) for rows, _ in there.values()]  # type: ignore[no-untyped-call]
    labels = [f"{name} ({len(rows):,})" for name, (rows, _) in there.items()]
    colours = [colour for _, colour in there.values()]
    ax.hist(times, bins=_BINS, range=ax.get_xlim(), stacked=True, color=colours, label=labels)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(unit, color=INK)
    _legend(ax)


def _durations(ax: Axes, runs: pd.DataFrame, limit: float) -> None:
    is_bad = runs["status"].isin(["failed", "budget_exceeded"])
    for rows, colour in ((runs[~is_bad], _GOOD), (runs[is_bad], _BAD)):
        ax.plot(rows["timestamp"], rows["execution_time"], "o", color=colour, markersize=4, alpha=0.8)
    _held_against(ax, runs["execution_time"], limit)


def _by_model(column: str) -> Callable[..., None]:
    def draw(ax: Axes, calls: pd.DataFrame, *lines: float) -> None:
        models = calls.groupby("model", sort=False)
        for (model, rows), colour in zip(models, _repeated(models.ngroups), strict=True):
            label = one_line(str(model), _LABEL)
            ax.plot(rows["timestamp"], rows[column], "o", color=colour, markersize=4, alpha=0.8, label=label)
        _held_against(ax, calls[column], *lines)
        _legend(ax)

    return draw


def _held_against(ax: Axes, values: pd.Series[Any], *lines: float) -> None:
    """Draw limits that the values come near; far ones are said, since they would press the values flat."""
    ax.set_ylim(bottom=0)
    ax.set_ylabel("ms", color=INK)
    for limit in lines:
        if values.max() > limit / 4:
            ax.axhline(limit, **_LIMIT)
        else:
            _corner(ax, f"limit {limit:,.0f} ms")


def _tokens(ax: Axes, calls: pd.DataFrame) -> None:
    summed = calls.groupby("model", sort=False)[["input_tokens", "output_tokens"]].sum().iloc[::-1]
    names = [one_line(str(model), _LABEL) for model in summed.index]
    left = summed["input_tokens"].to_numpy()
    ax.barh(names, left, color=_GOOD, height=0.5, label=f"in ({left.sum():,.0f})")
    output = summed["output_tokens"].to_numpy()
    ax.barh(names, output, left=left, color=_THIRD, height=0.5, label=f"out ({output.sum():,.0f})")
    ax.set_yticks(range(len(names)), names, **PLAIN)
    ax.set_ylim(-1, len(names))
    _legend(ax)


def _cost(ax: Axes, calls: pd.DataFrame) -> None:
    calls = calls.sort_values("timestamp")
    usd = calls["bedrock_usd"].fillna(calls["cost_usd"]).fillna(0.0).cumsum()
    ax.step(calls["timestamp"], usd, where="post", color=_GOOD)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("US dollars", color=INK)
    ax.ticklabel_format(axis="y", style="plain", useOffset=False)


def _slowest(ax: Axes, steps: pd.DataFrame, limit: float) -> None:
    slowest = steps.groupby("step_id")["execution_time"].agg(["median", "max"]).dropna()
    slowest = slowest.sort_values("max", ascending=False).head(_MOST_STEPS).iloc[::-1]
    names = [one_line(str(step), _LABEL) for step in slowest.index]
    ax.barh(range(len(names)), slowest["max"], color="#c8c8c8", height=0.5, label="longest")
    ax.barh(range(len(names)), slowest["median"], color=_GOOD, height=0.5, label="median")
    ax.set_yticks(range(len(names)), names, **PLAIN)
    ax.set_ylim(-1, len(names))
    ax.set_xlabel("ms", color=INK)
    if slowest["max"].max() > limit / 4:
        ax.axvline(limit, **_LIMIT)
    else:
        _corner(ax, f"limit {limit:,.0f} ms", top=0.04)
    _legend(ax)


def _corner(ax: Axes, text: str, top: float = 0.9) -> None:
    ax.text(0.99, top, text, transform=ax.transAxes, ha="right", color=PALE, fontsize=8)


def _legend(ax: Axes) -> None:
    legend = ax.legend(fontsize=8, labelcolor=INK, frameon=False, loc="upper left", ncols=3, handlelength=1.0)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _repeated(number: int) -> Sequence[str]:
    return [_MODELS[position % len(_MODELS)] for position in range(number)]


def _dates(ax: Axes, begin: float, end: float) -> None:
    span = end - begin
    written = "%H:%M:%S" if span < _MINUTES else "%H:%M" if span < _DAYS else "%b %d"
    ax.set_xlim(begin, end)
    locator: Any = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(DateFormatter(written))  # type: ignore[no-untyped-call]
    ax.margins(y=0.25)


def _quiet(ax: Axes) -> None:
    ax.set_facecolor("white")
    ax.tick_params(colors=INK, labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
