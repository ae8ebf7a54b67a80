"""The live view as HTML, for front ends without the widget: drawn anew for each change, in the same place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentflow.core.result import RunResult
from agentflow.views.format import MARKS, count, duration, plural, spoken
from agentflow.views.html_parts import CARD, MONO, MUTED, RULE, badge, element, fact_blocks, plain, safe, small
from agentflow.views.summary import Fact

HOW_TO_STOP = "to stop: the kernel's stop button ■, or I I"
_CHIP = f"display:inline-block;border:{RULE};border-radius:8px;padding:3px 10px 3px 6px;margin:0 0 4px 0"
_TRACK = "display:flex;height:8px;border-radius:4px;overflow:hidden;background-color:rgba(128,128,128,0.25)"
_PRE = (
    f"margin:6px 0 0 0;padding:2px 10px;border:0;border-left:3px solid rgba(128,128,128,0.5);background:transparent;"
    f"color:inherit;{MONO};font-size:12px;line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere"
)
_LAST_CHARS, _LAST_LINES = 800, 8  # of a text: nobody can scroll in what is drawn anew four times a second


def live_html(state: Mapping[str, Any]) -> str:
    """Return a snapshot of a run as a card."""
    parts = [_title(state), small(safe(state["beside"])), _facts(state), _levels(state), _lines(state), _problem(state)]
    return element("div", "".join(parts), style=CARD)


def going_on_html(result: RunResult) -> str:
    """Return what is shown of a run whose live view stands in the same place already."""
    run = f"Run {safe(result.run_id)}" if result.run_id else "A run"
    how = "<code>.result</code> is what is known of it, <code>.cancel()</code> stops it"
    return small(f"{run}, in the background: its view is above; {how}.")


def folded_html(result: RunResult) -> str:
    """Return one line for a run of a cell that has many."""
    name, seconds = safe(result.workflow), duration(result.duration_ms)
    where = f"<code>agentflow.get_run({safe(repr(result.run_id))})</code>"
    return small(f"{name} {badge(result.status)} {seconds} · {where}")


def _title(state: Mapping[str, Any]) -> str:
    name = element("strong", safe(state["name"]), style="font-size:16px;overflow-wrap:break-word")
    said = "cancelling… " if state["cancelling"] else ""
    took = element("span", f"{said}{duration(state['elapsed_ms'])}")
    run = element("span", f"run {safe(state['run'])}" if state["run"] else "", style=MUTED)
    how = "to stop: <code>.cancel()</code> of what start() returned" if state["can_cancel"] else safe(HOW_TO_STOP)
    stop = element("span", how, style=f"{MUTED};margin-left:auto") if state["status"] == "running" else ""
    row = "display:flex;flex-wrap:wrap;gap:2px 12px;align-items:center"
    return element("div", f"{name} {badge(state['status'])} {took} {run} {stop}", style=row)


def _facts(state: Mapping[str, Any]) -> str:
    counts = " · ".join(f"{count(number)} {status}" for status, number in state["counts"].items())
    told = f"{count(state['ended'])} of {plural(state['of'], 'step')} · {counts}"
    bar = _bar(state["ended"], state["counts"].get("failed", 0), state["of"])
    return fact_blocks(Fact(label, value) for label, value in state["facts"]) + bar + small(safe(told))


def _bar(ended: int, failed: int, of: int) -> str:
    share = [(ended - failed, "#1a7f37"), (failed, "#b3261e")]
    parts = [
        element("div", "", style=f"height:8px;width:{100 * number / of:.1f}%;background-color:{colour}")
        for number, colour in share
        if of and number
    ]
    return element("div", "".join(parts), style=_TRACK)


def _levels(state: Mapping[str, Any]) -> str:
    columns = [
        "<br>".join(element("span", _marked(step, status), style=_CHIP) for step, status in level)
        for level in state["levels"]
    ]
    parts = [element("div", column) for column in columns]
    row = "display:flex;flex-wrap:wrap;gap:4px 10px;align-items:center;margin:10px 0"
    return element("div", element("span", "→", style=MUTED).join(parts), style=row) if parts else ""


def _marked(name: str, status: str) -> str:
    """Return a step with its status as sign, colour and word."""
    mark = MARKS[status]
    disc = (
        "display:inline-block;width:16px;height:16px;line-height:16px;border-radius:8px;text-align:center;"
        f"font-size:11px;background-color:{mark.colour};color:#ffffff"
    )
    word = element("span", safe(spoken(status)), style=MUTED)
    return f"{element('span', mark.symbol, style=disc)} {element('strong', safe(name))} {word}"


def _lines(state: Mapping[str, Any]) -> str:
    return "".join(_line(line) for line in state["lines"])


def _line(line: Mapping[str, Any]) -> str:
    told = " · ".join(part for part in (duration(line["took_ms"]), safe(line["model"])) if part)
    head = f"{_marked(line['key'], line['status'])} {element('span', f'· {told}', style=MUTED)}"
    parts = [element("div", head), small(plain(safe(line["note"])) if line["note"] else "")]
    if bar := line.get("bar"):
        parts += [_bar(bar["ended"], bar["failed"], bar["of"]), small(safe(bar["told"]))]
    for text in (line["text"], line["printed"]):
        last = "\n".join(text[-_LAST_CHARS:].split("\n")[-_LAST_LINES:])
        parts += [element("pre", safe(last), style=_PRE, dir="auto")] if last else []
    return element("div", "".join(parts), style=f"margin:10px 0 0 0;padding:8px 0 0 0;border-top:{RULE}")


def _problem(state: Mapping[str, Any]) -> str:
    return element("div", safe(state["problem"]), style="margin:10px 0 0 0") if state["problem"] else ""
