"""What runs cost by day or by workflow, as a matplotlib chart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes

from agentflow.views.chart_parts import INK, PLAIN, ShownAxes, height, new_figure, ruled
from agentflow.views.format import money, plural
from agentflow.views.outputs import clip, one_line
from agentflow.views.timeline import COLOURS, Phase

_MOST_BARS = 31
_LABEL_ROOM = 1.3  # of the longest bar: the axis goes on for the labels at the bars' ends


def cost_chart(costs: pd.DataFrame, by: str, ax: Axes | None = None) -> Axes:
    """Draw costs as `Runs.cost_by` returns them; where nothing was paid, Bedrock's list price."""
    if ax is not None:
        _draw(ax, costs, by)
        return ax
    with matplotlib.style.context("default"):
        own = new_figure(height(min(len(costs), _MOST_BARS))).add_subplot(axes_class=ShownAxes)
        _draw(own, costs, by)
    return own


def _draw(ax: Axes, costs: pd.DataFrame, by: str) -> None:
    is_listed = not costs["cost_usd"].sum() and bool(costs["bedrock_usd"].sum())
    shown = costs.head(_MOST_BARS)
    amounts = [float(amount) for amount in shown["bedrock_usd" if is_listed else "cost_usd"]]
    ax.set_facecolor("white")
    ax.set_title(f"{'Bedrock list price' if is_listed else 'cost'} by {by}", loc="left", fontsize=11, **PLAIN)
    ax.barh(range(len(amounts)), amounts, height=0.62, color=COLOURS[Phase.ANSWERING])
    for place, (amount, runs) in enumerate(zip(amounts, shown["runs"], strict=True)):
        label: dict[str, Any] = {"xy": (amount, place), "xytext": (5, 0), "textcoords": "offset points"}
        told = f"{money(Decimal(repr(amount)))} · {plural(int(runs), 'run')}"
        ax.annotate(told, **label, va="center", fontsize=9, color=INK, **PLAIN)
    ruled(
        ax,
        [clip(one_line(str(name), 60), 32) for name in shown[by]],
        max(amounts, default=0.0) * _LABEL_ROOM,
        "US dollars",
    )
    if not amounts:
        ax.text(0.5, 0.5, "no runs", transform=ax.transAxes, ha="center", va="center", color=INK)
