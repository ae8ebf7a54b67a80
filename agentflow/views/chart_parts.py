"""What all charts share: an opaque figure that a notebook shows once, inks, titles, axes and the legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from agentflow.core.result import RunResult
from agentflow.views.format import duration, money
from agentflow.views.outputs import clip, one_line
from agentflow.views.summary import was_answered

INK = "#222222"  # said where the ground is ours: a dark style of the user's would write white on our white
PALE = "#666666"
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}  # `$` and `_` in a label are no mathematics
_SHARPNESS = 2  # pixels of the PNG per pixel on the page
_TALLEST = 40.0  # inches


class ShownFigure(Figure):
    """A figure that a notebook shows by itself: pyplot has no list with it, so nothing leaks or is shown twice."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Keep the figure, on its own ground."""
        # A user's dark style asks for a black ground in saved files, whatever the figure's own is.
        super().savefig(fname, **{"facecolor": self.get_facecolor(), **options})

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=self.dpi * _SHARPNESS)
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return png.getvalue(), {"width": width, "height": height}


class ShownAxes(Axes):
    """The Axes of a chart; as a cell's last expression it shows its figure."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, ShownFigure) else None


def new_figure(tall: float) -> ShownFigure:
    """Return a white figure with room for its labels, so many inches tall."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches: a white card needs an edge on a dark page
    return ShownFigure(figsize=(9, tall), layout=layout, facecolor="white")


def height(bars: int) -> float:
    """Return the inches that a chart of so many bars takes."""
    return min(1.7 + 0.34 * max(bars, 1), _TALLEST)


def title(result: RunResult, kind: str = "") -> str:
    """Return what stands above a chart of a run."""
    parts = [clip(one_line(result.workflow, 200) or "workflow", 28), result.status]
    if kind:
        parts.insert(1, kind)
    if result.status != "running":
        parts.append(duration(result.duration_ms))
    if was_answered(result):
        parts.append(f"paid {money(result.cost_usd)}")
    return " · ".join(parts)


def ruled(ax: Axes, names: Sequence[str], extent: float, unit: str) -> None:
    """Give an Axes with a horizontal bar a name, the first on top, its scale and a quiet grid."""
    ax.set_yticks(range(len(names)), names, **PLAIN)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)
    ax.set_xlim(0, extent or 1.0)
    ax.set_xlabel(unit, color=INK)
    ax.tick_params(axis="both", colors=INK)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(visible=True, axis="x", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)


def legend(ax: Axes, keys: Sequence[tuple[str, str, str | None]], *, has_marks: bool = False) -> None:
    """Say what colours and hatches mean, each as (label, colour, hatch); nothing where there are none."""
    if not keys:
        return
    patches: list[Artist] = [
        Patch(facecolor=colour, label=label, hatch=hatch, edgecolor="white", linewidth=0)
        for label, colour, hatch in keys
    ]
    if has_marks:  # the line in a bar of the timeline, drawn dark, since the ground is white
        patches.append(Line2D([], [], color=INK, marker="|", markersize=9, linestyle="none", label="first token"))
    figure = ax.get_figure(root=True)
    look: dict[str, Any] = {"handles": patches, "fontsize": 8.5, "labelcolor": INK}
    if isinstance(figure, ShownFigure):
        figure.legend(loc="outside lower left", ncols=len(patches), frameon=False, handlelength=1.4, **look)
    else:
        ax.legend(loc="lower right", facecolor="white", **look)
