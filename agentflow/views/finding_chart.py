"""The evidence of a finding as a matplotlib chart: what is bad beside what is not, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from agentflow.views.chart_parts import INK, PALE, PLAIN, ShownAxes, legend, new_figure

if TYPE_CHECKING:
    import pandas as pd

_GOOD, _BAD, _LIMIT = "#9aa5b1", "#d64545", "#222222"
_MOST_BINS = 60


def finding_chart(title: str, series: pd.DataFrame, unit: str, limit: float | None, ax: Axes | None = None) -> Axes:
    """Draw a finding's evidence.

    Parameters
    ----------
    series : `timestamp`, `value`, `is_bad`.
    unit : of the values, each of which is drawn; where it is empty, the rows are counted over time.
    limit : a line to hold the values against.
    ax : as for `timeline_chart`.
    """
    if ax is not None:
        _draw(title, series, unit, limit, ax)
        return ax
    with matplotlib.style.context("default"):
        own = new_figure(2.8).add_subplot(axes_class=ShownAxes)
        _draw(title, series, unit, limit, own)
    return own


def _draw(title: str, series: pd.DataFrame, unit: str, limit: float | None, ax: Axes) -> None:
    ax.set_facecolor("white")
    ax.set_title(title, loc="left", fontsize=11, color=INK, **PLAIN)
    series = series.dropna(subset=["timestamp", "value"])
    good, bad = series[~series["is_bad"]], series[series["is_bad"]]
    if series.empty:
        ax.text(0.5, 0.5, "no records", transform=ax.transAxes, ha="center", va="center", color=PALE)
    elif unit:
        ax.plot(good["timestamp"], good["value"], "o", color=_GOOD, markersize=4, alpha=0.8)
        ax.plot(bad["timestamp"], bad["value"], "o", color=_BAD, markersize=6)
        if limit is not None:
            ax.axhline(limit, color=_LIMIT, linewidth=1, linestyle="--")
        ax.set_ylim(bottom=0)
        ax.set_ylabel(unit, color=INK, **PLAIN)
    else:
        times: Any = [bad["timestamp"], good["timestamp"]]
        ax.hist(times, bins=min(_MOST_BINS, max(5, len(series))), stacked=True, color=[_BAD, _GOOD])
        ax.set_ylabel("records", color=INK)
    locator: Any = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.set_xlabel("UTC", color=INK)
    ax.tick_params(colors=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    keys = [("shows it", _BAD, None), ("the others", _GOOD, None)]
    legend(ax, [key for key, rows in zip(keys, (bad, good), strict=True) if len(rows)])
