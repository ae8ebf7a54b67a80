"""What unfolds below the card's table: each step's prompts as sent, its output in full, its attempts and its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from agentflow.core.model import ABANDONED
from agentflow.core.outputs import Stored
from agentflow.core.places import Place, inner_prefix
from agentflow.core.result import RunResult
from agentflow.core.sent import Sent, sent_prompts
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import count, duration, explain, plural
from agentflow.views.html_parts import MUTED, PRE, RULE, badge, code_block, element, error_note, safe, small
from agentflow.views.html_table import steps_table
from agentflow.views.outputs import full_text, one_line
from agentflow.views.reproduce import is_kept, open_command
from agentflow.views.summary import output_preview, shown_rows

_MOST_CHARS, _FEWEST_CHARS = 20_000, 300  # of one output
_ALL_CHARS = 60_000  # of all outputs together, so that a run of many steps does not bloat its notebook
_PROMPT_CHARS, _FEWEST_PROMPT_CHARS = 4_000, 300  # of one message
_ALL_PROMPT_CHARS = 40_000
_ESCAPING = 1.25  # an escaped text may be longer by this than the plain one
_MOST_PROMPTS = 60  # places whose prompts are shown
_MOST_MESSAGES = 12  # of one request
_MOST_OPEN = 12  # the lines of more steps than these are folded into one
_PREVIEW_CHARS = 140
_MOST_ITEMS = 40  # of a mapped step
_MOST_WHOLE_ITEMS = 8  # of which all is shown
_ITEM_CHARS = 300  # of an item's error or output
_PRINTED_CHARS = 4_000
_REJECTED_CHARS = 1_000
_LINE = "cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
_LABEL = "margin:8px 0 0 0"


@dataclass(frozen=True)
class _Around:
    """Where details stand: in which run, below which steps, with which prompts, and how long they may be."""

    run: RunResult
    prefix: str = ""
    sent: Mapping[Place, Sequence[Sent]] = field(default_factory=dict)
    output_chars: int = _MOST_CHARS
    prompt_chars: int = _PROMPT_CHARS

    def below(self, row: StepRow) -> _Around:
        return replace(self, prefix=self.prefix + inner_prefix(row.step, row.item))

    def place(self, row: StepRow) -> Place:
        return self.prefix + row.step, row.item


def step_details(result: RunResult) -> str:
    """Return one line a step that has something to show; a click shows all of it."""
    places = list(islice(_places_of_prompts(result), _MOST_PROMPTS))
    sent = sent_prompts(result, places)
    chars = max(_FEWEST_PROMPT_CHARS, min(_PROMPT_CHARS, _ALL_PROMPT_CHARS // max(len(sent), 1)))
    rows = sum(map(_has_details, shown_rows(result)))
    limit = max(_FEWEST_CHARS, min(_MOST_CHARS, _ALL_CHARS // max(rows, 1)))
    return _details(result, _Around(result, sent=sent, output_chars=limit, prompt_chars=chars))


def _places_of_prompts(result: RunResult, prefix: str = "") -> Iterator[Place]:
    """Return the places that may have asked a model, in the order in which they are shown."""
    for row in shown_rows(result):
        for part in (row, *_shown_items(row)[:_MOST_WHOLE_ITEMS]):
            if part.own_replies or part.own_attempts or part.status is StepStatus.FAILED:
                yield prefix + part.step, part.item
            if part.inner:
                yield from _places_of_prompts(part.inner, prefix + inner_prefix(part.step, part.item))


def _details(result: RunResult, around: _Around) -> str:
    rows = [row for row in shown_rows(result) if _has_details(row)]
    if not rows:
        return ""
    listed = "".join(_step(row, around) for row in rows)
    if len(rows) > _MOST_OPEN:
        head = element("summary", f"outputs of {plural(len(rows), 'step')}", style=_LINE)
        listed = element("details", head + element("div", listed, style="margin:0 0 0 14px"))
    return element("div", listed, style=f"margin:10px 0 0 0;padding:8px 0 0 0;border-top:{RULE}")


def _has_details(row: StepRow) -> bool:
    return row.status is StepStatus.OK or bool(row.attempts or row.replies or row.error or row.printed)


def _shown_items(row: StepRow) -> Sequence[StepRow]:
    """Return the items of a mapped step that are shown: those that failed first, then some of the others."""
    items = row.items or ()
    failed = [item for item in items if item.error is not None]
    others = [item for item in items if item.error is None]
    return (failed + others)[:_MOST_ITEMS]


def _items(row: StepRow, around: _Around) -> str:
    shown = _shown_items(row)
    lines = [_item(item, around, is_whole=place < _MOST_WHOLE_ITEMS) for place, item in enumerate(shown)]
    if left := len(row.items or ()) - len(shown):
        lines.append(small(f"… {count(left)} more: .to_frame()", style="margin:4px 0 0 0"))
    return element("div", "".join(lines), style="margin:6px 0 0 0")


def _item(item: StepRow, around: _Around, *, is_whole: bool) -> str:
    name = f"{element('strong', f'item {item.item}')} {badge(item.status.value)}"
    told = explain(item.error)[0] if item.error else output_preview(item, _PREVIEW_CHARS)
    shown = element("span", safe(one_line(told, _ITEM_CHARS) if item.status is not StepStatus.CANCELLED else ""))
    line = f"{name} &nbsp;{shown}"
    has_more = around.sent.get(around.place(item)) or item.inner or item.printed
    inside = "".join(_inside(item, around)) if has_more and is_whole else _open(item, around)
    if not inside:
        return element("div", line, style="margin:2px 0;overflow-wrap:break-word")
    body = element("div", inside, style="margin:4px 0 8px 14px")
    return element("details", element("summary", line, style="cursor:pointer;overflow-wrap:break-word") + body)


def _step(row: StepRow, around: _Around) -> str:
    name = element("strong", safe(row.step))
    told = element("span", safe(_glance(row)), style=MUTED)
    summary = element("summary", f"{name} &nbsp;{told}", style=_LINE)
    inside = (error_note(row.error) if row.error else "") + "".join(_inside(row, around))
    return element("details", summary + element("div", inside, style="margin:6px 0 12px 14px"), style="margin:2px 0")


def _inside(row: StepRow, around: _Around) -> list[str]:
    if row.items is not None:
        return [_open(row, around), _items(row, around)]
    if row.inner is not None:
        return [_open(row, around), steps_table(row.inner), _details(row.inner, around.below(row))]
    return [
        _open(row, around),
        _prompts(row, around),
        _output(row, around.output_chars) if row.status is StepStatus.OK else "",
        _rejected(row),
        _printout(row),
        _calls(row),
        _attempts(row),
    ]


def _glance(row: StepRow) -> str:
    if row.error:
        return one_line(explain(row.error)[0], _PREVIEW_CHARS)
    return output_preview(row, _PREVIEW_CHARS) if row.status is StepStatus.OK else row.status.value


def _open(row: StepRow, around: _Around) -> str:
    """Return how to open a step that failed in a notebook of its own."""
    if row.status is not StepStatus.FAILED or not is_kept(around.run):
        return ""
    step, item = around.place(row)
    told = small("Open it in a notebook, with what it was given:")
    return told + code_block(open_command(around.run.run_id, step, item))


def _prompts(row: StepRow, around: _Around) -> str:
    requests = around.sent.get(around.place(row), ())
    return "".join(
        _request(sent, number, len(requests), around.prompt_chars) for number, sent in enumerate(requests, 1)
    )


def _request(sent: Sent, number: int, of: int, chars: int) -> str:
    label = "prompt as rendered" if sent.is_rendered else "prompt as sent"
    facts = [label + (f", request {number} of {of}" if of > 1 else "")]
    facts += [f"{name} {one_line(str(value), 60)}" for name, value in sent.settings.items()]
    parts = [small(safe(" · ".join(facts)), style=_LABEL)]
    shown = [("system", sent.system)] if sent.system else []
    left = len(sent.messages) - _MOST_MESSAGES
    for role, text in [*shown, *sent.messages[max(left, 0) :]]:
        is_alone = role == "user" and len(sent.messages) == 1 and not sent.system
        parts.append(cut_text(text or "", chars, "" if is_alone else role))
    return "".join(parts)


def cut_text(text: str, chars: int, label: str = "") -> str:
    """Return a text of others in a block; of a long one the start, with how much more there is."""
    shown = _fitting(text, chars)
    cut = f"the first {count(len(shown))} of {count(len(text))} characters" if len(text) > len(shown) else ""
    told = small(safe(" · ".join(filter(None, (label, cut)))), style="margin:6px 0 0 0")
    return told + element("pre", safe(shown), style=PRE, dir="auto")


def _fitting(text: str, chars: int) -> str:
    """Return the start of a text, shorter where much of it has to be escaped."""
    head = text[:chars]
    size = len(safe(head))
    most = chars * _ESCAPING
    return head if size <= most else head[: int(len(head) * most / size)]


def _output(row: StepRow, limit: int) -> str:
    if isinstance(row.kept_output, Stored):
        return small(safe(output_preview(row, _PREVIEW_CHARS)), style="margin:6px 0 0 0")
    text = full_text(row.kept_output)
    told = small("answer" if row.replies else "output", style=_LABEL)
    head = _fitting(text, limit)
    shown = told + element("pre", safe(head), style=PRE, dir="auto")
    if len(text) == len(head):
        return shown
    rest = f"The first {count(len(head))} of {count(len(text))} characters; all of them: .outputs[{row.step!r}]"
    return shown + small(safe(rest), style="margin:4px 0 0 0")


def _rejected(row: StepRow) -> str:
    """Return the answers that were paid for and not used."""
    return "".join(cut_text(reply.text, _REJECTED_CHARS, "answer that was not used") for reply in row.rejected[:3])


def _printout(row: StepRow) -> str:
    return cut_text(row.printed, _PRINTED_CHARS, "printed") if row.printed else ""


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
