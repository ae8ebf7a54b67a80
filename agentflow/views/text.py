"""A run as plain text, for a terminal and for `repr`."""

from __future__ import annotations

from decimal import Decimal

from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.format import NOT_APPLICABLE, count, explain, in_out, milliseconds, money, spoken
from agentflow.views.outputs import clip, columns, encodable, one_line
from agentflow.views.reproduce import failed_places, is_kept, kept_words, open_command, then_words
from agentflow.views.summary import (
    INTERRUPTED,
    column_places,
    headline,
    output_preview,
    prices_note,
    row_note,
    so_far,
    warnings_of,
    was_answered,
)
from agentflow.views.text_table import GAP, WIDTH, aligned

_HEADER = (
    "step", "status", "why", "model", "attempts", "latency_ms", "tokens in/out", "cost_usd", "bedrock_usd",
)  # fmt: skip
_STEP, _MODEL = _HEADER.index("step"), _HEADER.index("model")
_WORDS = {_HEADER.index(name) for name in ("step", "status", "why", "model")}  # the rest are numbers, aligned right
_MOST_ROWS = 25  # in what an interrupt shows, and of notes
_MOST_OUTPUTS = 12  # previews of more outputs than these would push the table off the screen


def run_text(result: RunResult) -> str:
    """Return a run as text: headline, table of steps, the error with its fix, one line an output.

    The table and the outputs keep to 110 columns. Status is a word without a mark, which many a terminal cannot print.
    """
    result.tell_why()
    parts = [_headline(result), _table(result), _notes(result), _error(result), _outputs(result)]
    return "\n\n".join(part for part in parts if part)


def interrupted_text(result: RunResult) -> str:
    """Return what is shown where an interrupt has ended a run: a sentence, the bill so far, the table."""
    said = "\n".join(
        [
            f"The run was {result.how_interrupted}; .result has what was finished.\n{so_far(result)}",
            f"Kept: {kept_words(result, with_bill=False)}",
            f"Then: {then_words(result)}",
        ]
    )
    return "\n\n".join(part for part in (said, _table(result, most=_MOST_ROWS), _notes(result)) if part)


def _headline(result: RunResult) -> str:
    title = [one_line(result.workflow, 60) or "workflow", spoken(result.status)]
    if result.run_id:
        title.append(f"run {one_line(result.run_id, 60)}")
    facts = [f"{fact.label} {fact.value}" for fact in headline(result)]
    facts += [prices_note(result)] if prices_note(result) else []
    return "\n".join(" · ".join(line) for line in (title, facts))


def _table(result: RunResult, *, most: int | None = None) -> str:
    if not result.rows:
        return "no steps"
    places = column_places(result)
    body = [_cells(row, places) for row in list(result.rows.values())[:most]]
    total = ["total", "", "", "", *_total(result, places)]
    lines = aligned([list(_HEADER), *body, total], words=_WORDS, cut_first=(_MODEL, _STEP))
    if left := len(result.rows) - len(body):
        lines.insert(-1, f"... {left:,} more steps")
    return "\n".join(lines)


def _notes(result: RunResult) -> str:
    """Return what is to be said of some steps, and what went wrong beside them."""
    noted = [(row.step, note) for row in result.rows.values() if (note := row_note(row))]
    lines = [f"{GAP}{one_line(step, 40)}: {one_line(note, WIDTH)}" for step, note in noted[:_MOST_ROWS]]
    if len(noted) > _MOST_ROWS:
        lines.append(f"{GAP}... {len(noted) - _MOST_ROWS:,} more")
    lines += [f"warning: {warning}" for warning in warnings_of(result)]
    return "\n".join(lines)


def _cells(row: StepRow, places: int) -> list[str]:
    usage = row.usage
    return [
        one_line(row.step, WIDTH),
        row.status.value,
        _why(row),
        one_line(row.model or row.model_id or NOT_APPLICABLE, WIDTH),
        count(len(row.attempts) or None),
        milliseconds(row.latency_ms),
        in_out(usage) if usage else NOT_APPLICABLE,
        _amount(row.cost_usd, places, answered=usage is not None),
        _amount(row.bedrock_usd, places, answered=usage is not None),
    ]


def _why(row: StepRow) -> str:
    """Return why a step ran; of one that did not, its status says it."""
    return "" if row.why == row.status.value else row.why


def _total(result: RunResult, places: int) -> list[str]:
    answered = was_answered(result)
    return [
        count(result.attempts),
        milliseconds(None if result.status == "running" else result.duration_ms),
        in_out(result.usage) if answered else NOT_APPLICABLE,
        _amount(result.cost_usd, places, answered=answered),
        _amount(result.bedrock_usd, places, answered=answered),
    ]


def _amount(amount: Decimal | None, places: int, *, answered: bool) -> str:
    return money(amount, places) if answered else NOT_APPLICABLE


def _error(result: RunResult) -> str:
    if result.error is None:
        return f"{INTERRUPTED}\n{so_far(result)}" if result.status == "interrupted" else ""
    what, fix = explain(result.error)
    lines = [f"error: {_block(what)}"]
    if fix:
        lines.append(f"fix:   {_block(fix)}")
    if is_kept(result) and (failed := failed_places(result)):
        lines.append(f"open:  {open_command(result.run_id, *failed[0])}")
    return "\n".join(lines)


def _block(text: str) -> str:
    """Keep the lines of a message, aligned under its label, and nothing that steers a terminal."""
    lines = encodable(text).splitlines() or [""]
    return "\n       ".join("".join(char if char.isprintable() else " " for char in line) for line in lines)


def _outputs(result: RunResult) -> str:
    if not 0 < len(result.outputs) <= _MOST_OUTPUTS:
        return ""
    width = min(max(columns(step) for step in result.outputs), 30)
    lines = []
    for step in result.outputs:
        name = clip(one_line(step, WIDTH), width)
        pad = " " * (width - columns(name))
        lines.append(f"{GAP}{name}{pad}{GAP}{output_preview(result.rows[step], WIDTH - width - 2 * len(GAP))}")
    return "\n".join(["outputs", *lines])
