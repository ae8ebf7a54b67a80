"""A run's timeline as a matplotlib chart."""

from __future__ import annotations

from typing import Any

import matplotlib.style
from matplotlib.axes import Axes

from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.chart_parts import INK, PALE, PLAIN, ShownAxes, height, legend, new_figure, ruled, title
from agentflow.views.format import duration, money
from agentflow.views.outputs import clip, one_line
from agentflow.views.timeline import COLOURS, Phase, Span, extent_ms, first_tokens, spans

_HATCHES = {StepStatus.FAILED: "xxxx", StepStatus.CANCELLED: "////", StepStatus.RUNNING: "...."}
_LABEL_ROOM = 1.3  # of the run's duration: the axis goes on to the right for the labels at the bars' ends


def timeline_chart(result: RunResult, ax: Axes | None = None) -> Axes:
    """Draw when each step ran, one bar a step, the first on top.

    Parameters
    ----------
    ax : Axes, optional
        Where to draw. Without it the chart gets a figure of its own, which a notebook shows once, where the returned
        Axes is a cell's last expression, and which opens no window in a script. For `plt.show()`, pass an Axes
        of pyplot's.

    Returns
    -------
    Axes
        x in milliseconds or seconds, as fits. Colours say what a step was doing, hatches and words how it ended.
        `.figure.savefig("run.png")` keeps the chart.
    """
    if ax is not None:
        _draw(result, ax)
        return ax
    with matplotlib.style.context("default"):
        own = new_figure(height(len(result.rows))).add_subplot(axes_class=ShownAxes)
        _draw(result, own)
    return own


def _draw(result: RunResult, ax: Axes) -> None:
    extent = extent_ms(result)
    scale, unit = (1.0, "milliseconds") if extent < 1000 else (1000.0, "seconds")
    ax.set_facecolor("white")
    ax.set_title(title(result), loc="left", fontsize=11, **PLAIN)
    shown: set[Phase] = set()
    for place, row in enumerate(result.rows.values()):
        bar = spans(result, row, extent)
        shown.update(span.phase for span in bar)
        _draw_bar(ax, place, row, bar, scale)
        # A bar that has no length is drawn as well, as its label alone.
        end = bar[-1].end_ms if bar else row.started_ms or 0.0
        label: dict[str, Any] = {"xy": (end / scale, place), "xytext": (5, 0), "textcoords": "offset points"}
        colour = PALE if row.status is StepStatus.NOT_RUN else INK
        ax.annotate(_label(row), **label, va="center", fontsize=9, color=colour, **PLAIN)
        firsts = [first / scale for first in first_tokens(result, row)]
        ax.vlines(firsts, place - 0.31, place + 0.31, color="white", linewidth=1.6)
    names = [clip(one_line(step, 200), 32) for step in result.rows]
    ruled(ax, names, (extent or 1.0) / scale * _LABEL_ROOM, unit)
    if not names:
        ax.text(0.5, 0.5, "no steps", transform=ax.transAxes, ha="center", va="center", color=INK)
    has_marks = any(first_tokens(result, row) for row in result.rows.values())
    legend(ax, [(phase.value, COLOURS[phase], None) for phase in Phase if phase in shown], has_marks=has_marks)


def _draw_bar(ax: Axes, place: int, row: StepRow, bar: list[Span], scale: float) -> None:
    for span in bar:
        ax.barh(
            place,
            (span.end_ms - span.start_ms) / scale,
            left=span.start_ms / scale,
            height=0.62,
            color=COLOURS[span.phase],
            hatch=_HATCHES.get(row.status),
            edgecolor="white",
            linewidth=0,
        )


def _label(row: StepRow) -> str:
    if row.status is StepStatus.NOT_RUN:
        return row.status.value
    parts = [] if row.status is StepStatus.OK else [row.status.value]
    if row.latency_ms is not None:
        parts.append(duration(row.latency_ms))
    if row.replies:
        parts.append(money(row.cost_usd) if row.cost_usd is not None else "price unknown")
    return " · ".join(parts)
