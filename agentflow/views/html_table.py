"""The card's table: a row a step, with its bar on the run's timeline and its figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from agentflow.core.model import ABANDONED
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import NOT_APPLICABLE, count, duration, in_out, money, plural
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    MUTED,
    NUMBER,
    ROW,
    TABLE,
    badge,
    caption,
    element,
    head_row,
    safe,
    small,
)
from agentflow.views.outputs import one_line
from agentflow.views.summary import column_places, prices_note, row_note, shown_rows, was_answered
from agentflow.views.timeline import COLOURS, Phase, Span, extent_ms, first_tokens, spans

_MOST_SHOWN = 24  # rows; a longer table scrolls inside of the card
_MOST_MARKS = 20  # of first tokens in a bar
_MARK = "width:2px;min-width:2px;height:10px;background-color:#ffffff"
_FIRST = f"display:inline-block;width:10px;height:10px;background-color:{COLOURS[Phase.ANSWERING]}"
_HEADS = {"step": HEAD, "timeline": HEAD, "time": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER, "cost": HEAD_NUMBER}


def steps_table(result: RunResult) -> str:
    """Return the table of a run's steps, with the legend of its bars."""
    if not result.rows:
        return small("This run has no steps.")
    places, extent = column_places(result), extent_ms(result)
    rows = shown_rows(result)
    bars = {row.step: spans(result, row, extent) for row in rows}
    firsts = {row.step: first_tokens(result, row) for row in rows}
    body = "".join(_row(row, bars[row.step], firsts[row.step], (extent, places)) for row in rows)
    said = f"Steps of {one_line(result.workflow, 60) or 'the workflow'}; cost in US dollars"
    table = element(
        "table",
        caption(said) + head_row(_HEADS) + element("tbody", body) + element("tfoot", _total(result, places)),
        style=TABLE,
    )
    left = len(result.rows) - len(rows)
    more = f"… {plural(left, 'more step')}, which took less time: .to_frame() has all" if left else ""
    tall = ";max-height:720px;overflow-y:auto" if len(result.rows) > _MOST_SHOWN else ""
    return (
        element("div", table, style=f"overflow-x:auto{tall}")
        + small(more)
        + _legend(bars.values(), has_firsts=any(firsts.values()))
    )


def _row(row: StepRow, bar: list[Span], firsts: Sequence[float], scale: tuple[float, int]) -> str:
    extent, places = scale
    name = element("strong", safe(row.step), style="overflow-wrap:break-word")
    status = element("div", badge(row.status.value) + _why(row), style="margin:2px 0 0 0")
    cells = [
        element("td", name + status + small(safe(row_note(row))), style=f"{CELL};min-width:90px;max-width:260px"),
        element("td", _bar(bar, firsts, extent) + _who(row), style=f"{CELL};width:52%;min-width:150px"),
        element("td", duration(row.latency_ms) + _from(row), style=NUMBER),
        element("td", _tokens(row), style=NUMBER),
        element("td", _cost(row, places, answered=bool(row.replies)), style=NUMBER),
    ]
    return element("tr", "".join(cells), style=ROW)


def _why(row: StepRow) -> str:
    """Return why a step ran, in a word; of one that did not, its status says it."""
    if not row.why or row.why == row.status.value:
        return ""
    told = f".explain({row.step!r}) says more"
    return " " + element("span", f"· {safe(row.why)}", style=f"{MUTED};white-space:nowrap", title=told)


def _bar(bar: list[Span], firsts: Sequence[float], extent: float) -> str:
    track = "height:10px;margin:5px 0 4px 0;border-radius:5px;overflow:hidden;background-color:rgba(128,128,128,0.18)"
    if not bar:
        return element("div", "", style=track)
    start, end = bar[0].start_ms, bar[-1].end_ms
    pieces = "".join(_piece(span, firsts, end - start) for span in bar)
    # A bar that starts at the very end of the run stays visible.
    offset, width = min(start / extent * 100, 99.5), (end - start) / extent * 100
    frame = f"display:flex;height:10px;min-width:4px;margin-left:{offset:.2f}%;width:{min(width, 100 - offset):.2f}%"
    told = f"from {duration(start)} to {duration(end)}"
    drawn = element("div", pieces, style=f"{frame};border-radius:5px;overflow:hidden")
    return element("div", drawn, style=track, title=told)


def _piece(span: Span, firsts: Sequence[float], whole_ms: float) -> str:
    """Return a span, with a line where a first token came."""
    marks = sorted(first for first in firsts if span.start_ms < first < span.end_ms)[:_MOST_MARKS]
    marks = marks if span.phase is Phase.ANSWERING else []
    drawn = ""
    for left, right in pairwise([span.start_ms, *marks, span.end_ms]):
        width = (right - left) / whole_ms * 100
        drawn += element("div", "", style=f"width:{width:.2f}%;height:10px;background-color:{COLOURS[span.phase]}")
        drawn += element("div", "", style=_MARK) if right != span.end_ms else ""
    return drawn


def _who(row: StepRow) -> str:
    """Return who answered, and what went wrong before: the words to the bar."""
    if not row.attempts and not row.replies:
        # Of a step that did not end nobody knows: a request is known once it is answered.
        ended = row.status in {StepStatus.OK, StepStatus.FAILED}
        return small("no model called" if ended else "")
    told = [safe(row.model or row.model_id or "")]
    failed = [attempt for attempt in row.attempts if attempt.error_code not in {None, ABANDONED}]
    given_up = sum(attempt.error_code == ABANDONED for attempt in row.attempts)
    if given_up:
        told.append("request given up" if given_up == 1 else f"{count(given_up)} requests given up")
    if failed:
        codes = ", ".join(dict.fromkeys(attempt.error_code or "" for attempt in failed))
        told.append(f"{plural(len(row.attempts), 'attempt')}, {count(len(failed))} failed: {safe(codes)}")
    elif len(row.attempts) - given_up > 1:
        told.append(plural(len(row.attempts) - given_up, "call"))
    if waited := sum(attempt.wait_ms for attempt in row.attempts):
        told.append(f"waited {duration(waited)}")
    streamed = [reply.ttft_ms for reply in row.paid if reply.ttft_ms is not None]
    if streamed:
        told.append(f"first token {duration(streamed[0])}")
    if any(reply.stop_reason == "max_tokens" for reply in row.replies):
        told.append("cut at max_tokens")
    return small(" · ".join(part for part in told if part))


def _from(row: StepRow) -> str:
    return small("" if row.started_ms is None else f"from {duration(row.started_ms)}")


def _tokens(row: StepRow) -> str:
    usage = row.usage
    if usage is None:
        return NOT_APPLICABLE
    cached = usage.cache_read_tokens
    return in_out(usage) + (small(f"+ {count(cached)} from cache") if cached else "")


def _cost(of: StepRow | RunResult, places: int, *, answered: bool) -> str:
    if not answered:
        return NOT_APPLICABLE
    lines = [money(of.cost_usd, places)]
    if of.cost_usd != of.bedrock_usd:  # where something else was paid than the list price, as on the local endpoint
        lines.append(small(f"Bedrock {money(of.bedrock_usd, places)}"))
    if of.saved_usd != 0:
        lines.append(small(f"saved {money(of.saved_usd, places)}"))
    if of.wasted_usd:
        lines.append(small(f"wasted {money(of.wasted_usd, places)}"))
    return "".join(lines)


def _total(result: RunResult, places: int) -> str:
    answered = was_answered(result)
    figures = [
        duration(None if result.status == "running" else result.duration_ms),
        in_out(result.usage) if answered else NOT_APPLICABLE,
        _cost(result, places, answered=answered),
    ]
    counted = f"{plural(len(result.rows), 'step')}, {plural(result.attempts, 'attempt')}"
    told = " · ".join(part for part in (counted, safe(prices_note(result))) if part)
    cells = [
        element("td", element("strong", "total"), style=CELL),
        element("td", element("span", told, style=MUTED), style=CELL),
        *(element("td", figure, style=f"{NUMBER};font-weight:bold") for figure in figures),
    ]
    return element("tr", "".join(cells), style=ROW)


def _legend(bars: Iterable[list[Span]], *, has_firsts: bool) -> str:
    shown = {span.phase for bar in bars for span in bar}
    if not shown:
        return ""
    swatch = "display:inline-block;width:10px;height:10px;border-radius:3px;background-color:"
    entries = [
        element("span", "", style=swatch + COLOURS[phase]) + " " + element("span", phase.value, style=MUTED)
        for phase in Phase
        if phase in shown
    ]
    if has_firsts:
        line = element("span", element("span", "", style=f"{_MARK};display:inline-block;margin:0 4px"), style=_FIRST)
        entries.append(f"{line} {element('span', 'first token', style=MUTED)}")
    keys = " ".join(element("span", entry, style="white-space:nowrap") for entry in entries)
    return element("div", keys, style="display:flex;flex-wrap:wrap;gap:2px 16px;margin:8px 0 0 0;font-size:12px")
