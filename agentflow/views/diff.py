"""Two runs side by side, as text and as a card: what differs first, then cost and time of every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from agentflow.core.explaining.run_diff import RunDiff, StepDiff
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.explanation import reason_html, reason_lines
from agentflow.views.format import NOT_APPLICABLE, count, duration, in_out, money, plural, spoken
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    MUTED,
    NUMBER,
    PRE,
    ROW,
    TABLE,
    badge,
    caption,
    card,
    element,
    head_row,
    plain,
    safe,
    small,
)
from agentflow.views.outputs import full_text, one_line
from agentflow.views.summary import output_preview, was_answered
from agentflow.views.text_table import aligned

_MOST_STEPS = 20  # that differ, in full
_MOST_ROWS = 60  # of the table
_ANSWER_CHARS = 2_000
_WIDTH = 100
_NUMBERS = {"tokens in / out", "cost", "time"}
_HEADS = ("status", "model", "tokens in / out", "cost", "time")


def diff_text(diff: RunDiff) -> str:
    """Return a comparison as text: the runs, what differs, and what each step took then and now."""
    lines = [_title(diff), *_headlines(diff), *([diff.note] if diff.note else [])]
    for reason in diff.inputs:
        lines += reason_lines(reason)
    lines += [_verdict(diff), ""]
    for step in diff.different[:_MOST_STEPS]:
        lines.append(f"{_place(step)}: {', '.join(step.kinds)}")
        for reason in step.reasons:
            lines += reason_lines(reason)
        if step.has_other_output and step.before and step.after:
            lines.append(f"  before  {output_preview(step.before, _WIDTH)}")
            lines.append(f"  now     {output_preview(step.after, _WIDTH)}")
    lines += [f"... {len(diff.different) - _MOST_STEPS:,} more"] if len(diff.different) > _MOST_STEPS else []
    header = ["step", "", *_HEADS]
    rows = [
        [_place(step) if which == "before" else "", which, *cells]
        for step in diff.steps[:_MOST_ROWS]
        for which, cells in _figures(step)
    ]
    if rows:
        lines += ["", *aligned([header, *rows], words={0, 1, 2, 3}, cut_first=(3, 0))]
    return "\n".join(lines).rstrip()


def diff_html(diff: RunDiff) -> str:
    """Return a comparison as an HTML card; all that comes from workflows and models is escaped."""
    shown = diff.different[:_MOST_STEPS]
    parts = [
        element("strong", safe(_title(diff)), style="font-size:16px;overflow-wrap:anywhere"),
        _runs(diff),
        small(safe(diff.note), style="margin:6px 0"),
        *map(reason_html, diff.inputs),
        element("div", element("strong", safe(_verdict(diff))), style="margin:10px 0 4px 0"),
        *map(_block, shown),
        small(
            f"… {count(len(diff.different) - len(shown))} more: .to_frame()" if len(diff.different) > len(shown) else ""
        ),
        _table(diff),
    ]
    return card(parts)


def _title(diff: RunDiff) -> str:
    names = dict.fromkeys(one_line(run.workflow or "workflow", 60) for run in (diff.before, diff.after))
    return f"{' and '.join(names)} · {_id(diff.before)} and {_id(diff.after)}"


def _id(run: RunResult) -> str:
    return f"run {one_line(run.run_id, 40)}"


def _headlines(diff: RunDiff) -> Iterator[str]:
    for label, run in (("before", diff.before), ("now", diff.after)):
        yield f"{label:7} {' · '.join(_run_figures(run))}"


def _run_figures(run: RunResult) -> list[str]:
    told = [_id(run), spoken(run.status), duration(run.duration_ms)]
    if was_answered(run):
        told.append(f"paid {money(run.cost_usd)}")
        told += [f"Bedrock lists {money(run.bedrock_usd)}"] if run.bedrock_usd != run.cost_usd else []
    return told


def _verdict(diff: RunDiff) -> str:
    differing = len(diff.different)
    if not differing:
        return f"Nothing differs but time: all {plural(len(diff.steps), 'step')} gave the same."
    return f"{differing:,} of {plural(len(diff.steps), 'step')} {'differs' if differing == 1 else 'differ'}"


def _place(step: StepDiff) -> str:
    name = one_line(step.step, 60)
    return name if step.item is None else f"{name}, item {step.item}"


def _figures(step: StepDiff) -> Iterator[tuple[str, list[str]]]:
    for label, row in (("before", step.before), ("now", step.after)):
        yield label, _cells(row)


def _cells(row: StepRow | None) -> list[str]:
    if row is None:
        return ["no such step", *([NOT_APPLICABLE] * (len(_HEADS) - 1))]
    usage = row.usage
    return [
        spoken(row.status.value),
        one_line(row.model or NOT_APPLICABLE, 60),
        in_out(usage) if usage else NOT_APPLICABLE,
        _dollars(row) if row.replies else NOT_APPLICABLE,
        duration(row.latency_ms),
    ]


def _dollars(row: StepRow) -> str:
    is_listed = row.cost_usd == Decimal(0) and bool(row.bedrock_usd)
    return f"$0 (lists {money(row.bedrock_usd)})" if is_listed else money(row.cost_usd)


def _runs(diff: RunDiff) -> str:
    lines = [
        element("div", f"{element('span', label, style=MUTED)} {badge(run.status)} {safe(_without_status(run))}")
        for label, run in (("before", diff.before), ("now", diff.after))
    ]
    return element("div", "".join(lines), style="margin:6px 0 0 0")


def _without_status(run: RunResult) -> str:
    return " · ".join(told for told in _run_figures(run) if told != spoken(run.status))


def _block(step: StepDiff) -> str:
    head = f"{element('strong', safe(_place(step)))} {element('span', safe(', '.join(step.kinds)), style=MUTED)}"
    parts = [plain(head), *map(reason_html, step.reasons)]
    if step.has_other_output and step.before and step.after:
        parts.append(_side_by_side(step.before, step.after))
    edge = "border-left:4px solid #0969da;padding:2px 0 2px 12px;margin:10px 0 0 0"
    return element("div", "".join(parts), style=edge)


def _side_by_side(before: StepRow, after: StepRow) -> str:
    cells = [
        element("div", small(label) + _answer(row), style="flex:1 1 300px;min-width:0;max-width:100%")
        for label, row in (("answer before", before), ("answer now", after))
    ]
    return element("div", "".join(cells), style="display:flex;flex-wrap:wrap;gap:4px 16px;margin:6px 0 0 0")


def _answer(row: StepRow) -> str:
    text = full_text(row.output)
    cut = f"the first {count(_ANSWER_CHARS)} of {count(len(text))} characters" if len(text) > _ANSWER_CHARS else ""
    return element("pre", safe(text[:_ANSWER_CHARS]), style=PRE, dir="auto") + small(cut)


def _table(diff: RunDiff) -> str:
    """Return what each step took then and now, folded where there is much else to see."""
    heads = {"step": HEAD, "": HEAD, **{name: HEAD_NUMBER if name in _NUMBERS else HEAD for name in _HEADS}}
    rows = "".join(_rows(step) for step in diff.steps[:_MOST_ROWS])
    table = element("table", caption("What each step took") + head_row(heads) + element("tbody", rows), style=TABLE)
    more = small(f"… {count(len(diff.steps) - _MOST_ROWS)} more: .to_frame()" if len(diff.steps) > _MOST_ROWS else "")
    return element("div", table + more, style="overflow-x:auto;margin:14px 0 0 0")


def _rows(step: StepDiff) -> str:
    look = f"{CELL};min-width:90px;overflow-wrap:anywhere"
    name = element("td", element("strong", safe(_place(step))), style=look, rowspan="2")
    return "".join(
        _row(label, cells, name if label == "before" else "", is_first=label == "before")
        for label, cells in _figures(step)
    )


def _row(label: str, cells: Sequence[str], name: str, *, is_first: bool) -> str:
    quiet = "" if is_first else ";border-top:0;padding-top:0"
    status, model, *numbers = cells
    texts = "".join(element("td", safe(text), style=CELL + quiet) for text in (label, status, model))
    figures = "".join(element("td", safe(text), style=NUMBER + quiet) for text in numbers)
    return element("tr", name + texts + figures, style=ROW)
