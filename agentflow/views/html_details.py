"""What unfolds below the card's table: each step's output in full, its attempts and its error."""

from __future__ import annotations

from agentflow.core.model import ABANDONED
from agentflow.core.outputs import Stored
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import count, duration, explain, plural
from agentflow.views.html_parts import MONO, MUTED, RULE, badge, element, error_note, safe, small
from agentflow.views.html_table import steps_table
from agentflow.views.outputs import full_text, one_line
from agentflow.views.summary import output_preview

_MOST_CHARS, _FEWEST_CHARS = 20_000, 2_000  # of one output
_ALL_CHARS = 200_000  # of all outputs together, so that a run of many steps does not bloat its notebook
_MOST_OPEN = 12  # the lines of more steps than these are folded into one
_PREVIEW_CHARS = 140
_MOST_ITEMS = 40  # of a mapped step
_ITEM_CHARS = 300  # of an item's error or output
_PRE = (
    f"margin:6px 0 0 0;padding:10px 12px;border:{RULE};border-radius:6px;background:transparent;{MONO};"
    "font-size:12px;line-height:1.5;white-space:pre-wrap;overflow-wrap:break-word;max-height:360px;overflow:auto"
)
_LINE = "cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"


def step_details(result: RunResult) -> str:
    """Return one line a step that has something to show; a click shows all of it."""
    rows = [row for row in result.rows.values() if _has_details(row)]
    if not rows:
        return ""
    limit = max(_FEWEST_CHARS, min(_MOST_CHARS, _ALL_CHARS // len(rows)))
    listed = "".join(_step(row, limit) for row in rows)
    if len(rows) > _MOST_OPEN:
        head = element("summary", f"outputs of {plural(len(rows), 'step')}", style=_LINE)
        listed = element("details", head + element("div", listed, style="margin:0 0 0 14px"))
    return element("div", listed, style=f"margin:10px 0 0 0;padding:8px 0 0 0;border-top:{RULE}")


def _has_details(row: StepRow) -> bool:
    return row.status is StepStatus.OK or bool(row.attempts or row.replies or row.error or row.printed)


def _items(row: StepRow) -> str:
    """Return the items of a mapped step: those that failed first, then some of the others."""
    items = row.items or ()
    failed = [item for item in items if item.error is not None]
    others = [item for item in items if item.error is None]
    shown = (failed + others)[:_MOST_ITEMS]
    lines = [_item(item) for item in shown]
    if left := len(items) - len(shown):
        lines.append(small(f"… {count(left)} more: .to_frame()", style="margin:4px 0 0 0"))
    return element("div", "".join(lines), style="margin:6px 0 0 0")


def _item(item: StepRow) -> str:
    name = f"{element('strong', f'item {item.item}')} {badge(item.status.value)}"
    told = explain(item.error)[0] if item.error else output_preview(item, _PREVIEW_CHARS)
    shown = element("span", safe(one_line(told, _ITEM_CHARS) if item.status is not StepStatus.CANCELLED else ""))
    return element("div", f"{name} &nbsp;{shown}", style="margin:2px 0;overflow-wrap:break-word")


def _step(row: StepRow, limit: int) -> str:
    name = element("strong", safe(row.step))
    told = element("span", safe(_glance(row)), style=MUTED)
    parts = [
        element("summary", f"{name} &nbsp;{told}", style=_LINE),
        error_note(row.error) if row.error else "",
        *_inside(row, limit),
    ]
    inside = element("div", "".join(parts[1:]), style="margin:6px 0 12px 14px")
    return element("details", parts[0] + inside, style="margin:2px 0")


def _inside(row: StepRow, limit: int) -> list[str]:
    if row.items is not None:
        return [_items(row)]
    if row.inner is not None:
        return [steps_table(row.inner), step_details(row.inner)]
    output = _output(row, limit) if row.status is StepStatus.OK else ""
    return [output, _printed(row, limit), _calls(row), _attempts(row)]


def _glance(row: StepRow) -> str:
    if row.error:
        return one_line(explain(row.error)[0], _PREVIEW_CHARS)
    return output_preview(row, _PREVIEW_CHARS) if row.status is StepStatus.OK else row.status.value


def _output(row: StepRow, limit: int) -> str:
    if isinstance(row.kept_output, Stored):
        return small(safe(output_preview(row, _PREVIEW_CHARS)), style="margin:6px 0 0 0")
    text = full_text(row.kept_output)
    shown = element("pre", safe(text[:limit]), style=_PRE, dir="auto")
    if len(text) <= limit:
        return shown
    rest = f"The first {count(limit)} of {count(len(text))} characters; all of them: .outputs[{row.step!r}]"
    return shown + small(safe(rest), style="margin:4px 0 0 0")


def _printed(row: StepRow, limit: int) -> str:
    """Return what the code of a step has printed."""
    if not row.printed:
        return ""
    rest = len(row.printed) - limit
    more = small(f"… {count(rest)} more characters: .rows[{safe(repr(row.step))}].printed") if rest > 0 else ""
    text = element("pre", safe(row.printed[:limit].rstrip("\n")), style=_PRE, dir="auto")
    return small("printed", style="margin:6px 0 0 0") + text + more


def _calls(row: StepRow) -> str:
    lines = []
    for reply in row.replies:
        facts = [reply.model_id, reply.region, f"stopped at {reply.stop_reason}"]
        if reply.ttft_ms is not None:
            facts.append(f"first token after {duration(reply.ttft_ms)}")
        if reply.origin is not None:
            facts.append(f"first given in run {reply.origin.run_id}")
        lines.append(" · ".join(fact for fact in facts if fact))
    # A step that asks in a loop says the same of each call.
    return "".join(small(safe(line), style="margin:4px 0 0 0") for line in dict.fromkeys(lines))


def _attempts(row: StepRow) -> str:
    if not any(attempt.error_code for attempt in row.attempts):
        return ""
    lines = []
    for attempt in row.attempts:
        how = f"failed with {attempt.error_code}" if attempt.error_code else "answered"
        if attempt.error_code == ABANDONED:
            how = "given up, though it may still be answered and billed,"
        wait = f", then waited {duration(attempt.wait_ms)}" if attempt.wait_ms else ""
        where = f" in {attempt.region} ({attempt.reason})" if attempt.reason else ""
        lines.append(small(safe(f"attempt {attempt.number}{where}: {how} after {duration(attempt.latency_ms)}{wait}")))
    return element("div", "".join(lines), style="margin:6px 0 0 0")
