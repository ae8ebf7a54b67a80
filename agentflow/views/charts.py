"""A run as a matplotlib chart."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import duration, money
from agentflow.views.outputs import clip, one_line
from agentflow.views.summary import was_answered
from agentflow.views.timeline import COLOURS, Phase, Span, extent_ms, spans

_INK = "#222222"  # said where the ground is ours: a dark style of the user's would write white on our white
_PALE = "#666666"
_HATCHES = {StepStatus.FAILED: "xxxx", StepStatus.CANCELLED: "////", StepStatus.RUNNING: "...."}
_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}  # `$` and `_` in a label are no mathematics
_SHARPNESS = 2  # pixels of the PNG per pixel on the page
_LABEL_ROOM = 1.3  # of the run's duration: the axis goes on to the right for the labels at the bars' ends


class _ShownFigure(Figure):
    """A figure that a notebook shows by itself: pyplot has no list with it, so nothing leaks or is shown twice."""

    def savefig(self, fname: Any, **options: Any) -> None:
        # A user's dark style asks for a black ground in saved files, whatever the figure's own is.
        super().savefig(fname, **{"facecolor": self.get_facecolor(), **options})

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=self.dpi * _SHARPNESS)
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return png.getvalue(), {"width": width, "height": height}


class TimelineAxes(Axes):
    """The Axes of a timeline; as a cell's last expression it shows its figure."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, _ShownFigure) else None


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
        figure = _ShownFigure(figsize=(9, _height(len(result.rows))), layout=_layout(), facecolor="white")
        own = figure.add_subplot(axes_class=TimelineAxes)
        _draw(result, own)
    return own


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches: a white card needs an edge on a dark page


def _height(steps: int) -> float:
    return min(1.7 + 0.34 * max(steps, 1), 40.0)


def _draw(result: RunResult, ax: Axes) -> None:
    extent = extent_ms(result)
    scale, unit = (1.0, "milliseconds") if extent < 1000 else (1000.0, "seconds")
    ax.set_facecolor("white")
    ax.set_title(_title(result), loc="left", fontsize=11, **_PLAIN)
    shown: set[Phase] = set()
    for place, row in enumerate(result.rows.values()):
        bar = spans(result, row, extent)
        shown.update(span.phase for span in bar)
        _draw_bar(ax, place, row, bar, scale)
        # A bar that has no length is drawn as well, as its label alone.
        end = bar[-1].end_ms if bar else row.started_ms or 0.0
        label: dict[str, Any] = {"xy": (end / scale, place), "xytext": (5, 0), "textcoords": "offset points"}
        colour = _PALE if row.status is StepStatus.NOT_RUN else _INK
        ax.annotate(_label(row), **label, va="center", fontsize=9, color=colour, **_PLAIN)
    names = [clip(one_line(step, 200), 32) for step in result.rows]
    ax.set_yticks(range(len(names)), names, **_PLAIN)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)
    ax.set_xlim(0, (extent or 1.0) / scale * _LABEL_ROOM)
    ax.set_xlabel(unit)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(visible=True, axis="x", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    if not names:
        ax.text(0.5, 0.5, "no steps", transform=ax.transAxes, ha="center", va="center", color=_INK)
    _legend(shown, ax)


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


def _title(result: RunResult) -> str:
    parts = [clip(one_line(result.workflow, 200) or "workflow", 28), result.status]
    if result.status != "running":
        parts.append(duration(result.duration_ms))
    if was_answered(result):
        parts.append(f"paid {money(result.cost_usd)}")
    return " · ".join(parts)


def _legend(shown: Collection[Phase], ax: Axes) -> None:
    keys = [Patch(facecolor=COLOURS[phase], label=phase.value) for phase in Phase if phase in shown]
    if not keys:
        return
    figure = ax.get_figure(root=True)
    look: dict[str, Any] = {"handles": keys, "fontsize": 8.5, "labelcolor": _INK}
    if isinstance(figure, _ShownFigure):
        figure.legend(loc="outside lower left", ncols=len(keys), frameon=False, handlelength=1.2, **look)
    else:
        ax.legend(loc="lower right", facecolor="white", **look)
