"""What each step of a run cost, in dollars, tokens, time and tries, as a matplotlib chart of stacked bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from agentflow.core.errors import InputError, nearest
from agentflow.core.model import ABANDONED
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.chart_parts import INK, PALE, PLAIN, ShownAxes, height, legend, new_figure, ruled, title
from agentflow.views.charts import timeline_chart
from agentflow.views.format import count, duration, money, plural
from agentflow.views.outputs import clip, one_line
from agentflow.views.summary import was_answered
from agentflow.views.timeline import COLOURS, Phase, extent_ms, spans

_MOST_BARS = 40  # of a run with more steps, those with the longest
_COUNTED = {"tokens", "requests sent"}  # axes of whole numbers
_CHARS_OF_AXIS = 90  # of a label that fit into the axis' length
_LABEL_ROOM = 1.05  # of the longest bar: the axis goes on for the labels at the bars' ends
# Okabe and Ito's, as the timeline's: each has 3:1 against white, and against its neighbours a hatch or an edge as well.
_BLUE, _RED, _GREY, _GREEN = (COLOURS[phase] for phase in (Phase.ANSWERING, Phase.FAILED, Phase.PAUSE, Phase.OTHER))


@dataclass(frozen=True, slots=True)
class _Part:
    """One kind of piece that the bars are stacked of."""

    label: str
    colour: str
    hatch: str | None = None


@dataclass(frozen=True, slots=True)
class _Bars:
    """A chart as plain figures.

    Attributes
    ----------
    values : a row a step, a figure for each of the parts.
    labels : what stands at the bars' ends.
    """

    axis: str
    parts: Sequence[_Part]
    values: Sequence[Sequence[float]]
    labels: Sequence[str]


def run_chart(result: RunResult, kind: str = "timeline", ax: Axes | None = None) -> Axes:
    """Draw one of the charts of a run.

    Parameters
    ----------
    kind : `timeline`, `cost` (dollars), `tokens`, `latency` (where the time of each step went) or `retries`.
    ax : Axes, optional
        Where to draw, as for `timeline_chart`.

    Raises
    ------
    InputError
        There is no such chart.
    """
    if kind == "timeline":
        return timeline_chart(result, ax)
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ["timeline", *_KINDS]
        close = nearest(kind, known) if isinstance(kind, str) else ""
        raise InputError(f"There is no chart {kind!r}{close}.", fix=f"Give one of {', '.join(known)}.")
    rows = list(result.rows.values())
    bars = _KINDS[kind](result, rows)
    if ax is not None:
        _draw(ax, result, kind, rows, bars)
        return ax
    with matplotlib.style.context("default"):
        own = new_figure(height(min(len(rows), _MOST_BARS))).add_subplot(axes_class=ShownAxes)
        _draw(own, result, kind, rows, bars)
    return own


def _cost(result: RunResult, rows: Sequence[StepRow]) -> _Bars:
    """Return dollars: what was paid, or where nothing was, as on the local endpoint, what Bedrock lists."""
    is_listed = not result.cost_usd and bool(result.bedrock_usd)
    axis = "US dollars, Bedrock's list price of what the local model answered" if is_listed else "US dollars"
    parts = [_Part("used", _BLUE), _Part("wasted on answers that were not used", _RED, "////")]
    if any(row.saved_usd for row in rows):
        parts.append(_Part("saved by the cache", _GREEN, "...."))
    values, labels = [], []
    for row in rows:
        cost = row.bedrock_usd if is_listed else row.cost_usd
        wasted = (row.wasted_usd or Decimal(0)) if not is_listed else Decimal(0)
        values.append([float((cost or Decimal(0)) - wasted), float(wasted), float(row.saved_usd or 0)][: len(parts)])
        labels.append("no model called" if not row.replies else "price unknown" if cost is None else money(cost))
    return _Bars(axis, parts, values, labels)


def _tokens(_result: RunResult, rows: Sequence[StepRow]) -> _Bars:
    parts = [_Part("in", _BLUE), _Part("in, from the prompt cache", _GREEN, "...."), _Part("out", _RED, "////")]
    values, labels = [], []
    for row in rows:
        usage = row.usage
        values.append([usage.input_tokens, usage.cache_read_tokens, usage.output_tokens] if usage else [0, 0, 0])
        labels.append(f"{count(usage.input_tokens)} / {count(usage.output_tokens)}" if usage else "no model called")
    return _Bars("tokens", parts, values, labels)


def _latency(result: RunResult, rows: Sequence[StepRow]) -> _Bars:
    """Return where the time of each step went; its calls at the same time count once."""
    extent = extent_ms(result)
    longest = max((row.latency_ms or 0.0 for row in rows), default=0.0)
    scale, axis = (1.0, "milliseconds") if longest < 1000 else (1000.0, "seconds")
    hatches = {Phase.FAILED: "////", Phase.PAUSE: "...."}
    parts = [_Part(phase.value, COLOURS[phase], hatches.get(phase)) for phase in Phase]
    values = []
    for row in rows:
        taken = spans(result, row, extent)
        values.append([sum(s.end_ms - s.start_ms for s in taken if s.phase is phase) / scale for phase in Phase])
    labels = ["not run" if row.started_ms is None else duration(row.latency_ms) for row in rows]
    return _Bars(axis, parts, values, labels)


def _retries(_result: RunResult, rows: Sequence[StepRow]) -> _Bars:
    parts = [_Part("answered", _BLUE), _Part("failed, then tried again or given up", _RED, "////")]
    values, labels = [], []
    for row in rows:
        failed = [attempt for attempt in row.attempts if attempt.error_code]
        values.append([len(row.attempts) - len(failed), len(failed)])
        codes = ["given up" if code == ABANDONED else str(code) for code in dict.fromkeys(a.error_code for a in failed)]
        waited = sum(attempt.wait_ms for attempt in row.attempts)
        told = [plural(len(row.attempts), "attempt") if row.attempts else "no model called", *codes[:2]]
        labels.append(" · ".join([*told, f"waited {duration(waited)}"] if waited else told))
    return _Bars("requests sent", parts, values, labels)


_KINDS: Mapping[str, Callable[[RunResult, Sequence[StepRow]], _Bars]] = {
    "cost": _cost,
    "tokens": _tokens,
    "latency": _latency,
    "retries": _retries,
}


def _draw(ax: Axes, result: RunResult, kind: str, rows: Sequence[StepRow], bars: _Bars) -> None:
    order = sorted(range(len(rows)), key=lambda place: -sum(bars.values[place]))[:_MOST_BARS]
    order.sort()
    left_out = len(rows) - len(order)
    shown = title(result, kind) + (f" · the longest {len(order)} of {plural(len(rows), 'step')}" if left_out else "")
    ax.set_facecolor("white")
    ax.set_title(shown, loc="left", fontsize=11, **PLAIN)
    used: list[_Part] = []
    starts = [0.0] * len(order)
    for index, part in enumerate(bars.parts):
        lengths = [bars.values[place][index] for place in order]
        if not any(lengths):
            continue
        used.append(part)
        look: dict[str, Any] = {"color": part.colour, "hatch": part.hatch, "edgecolor": "white", "linewidth": 0}
        ax.barh(range(len(order)), lengths, left=starts, height=0.62, **look)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for spot, (place, end) in enumerate(zip(order, starts, strict=True)):
        label: dict[str, Any] = {"xy": (end, spot), "xytext": (5, 0), "textcoords": "offset points"}
        colour = INK if any(bars.values[place]) else PALE
        ax.annotate(one_line(bars.labels[place], 60), **label, va="center", fontsize=9, color=colour, **PLAIN)
    names = [clip(one_line(rows[place].step, 200), 32) for place in order]
    widest = max((len(bars.labels[place]) for place in order), default=0)
    ruled(ax, names, max(starts, default=0.0) * (_LABEL_ROOM + widest / _CHARS_OF_AXIS), bars.axis)
    if bars.axis in _COUNTED:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if not names:
        ax.text(0.5, 0.5, "no steps", transform=ax.transAxes, ha="center", va="center", color=INK)
    elif not used and not was_answered(result) and kind != "latency":
        ax.text(0.5, 0.92, "no model was called", transform=ax.transAxes, ha="center", va="top", color=INK)
    legend(ax, [(part.label, part.colour, part.hatch) for part in used])
