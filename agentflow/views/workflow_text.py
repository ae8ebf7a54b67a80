"""A workflow as plain text, for a terminal and for `repr`: the same table as on its card."""

from __future__ import annotations

import textwrap

from agentflow.core.overview import Overview
from agentflow.core.step_overview import StepOverview
from agentflow.views import workflow_words as words
from agentflow.views.outputs import one_line
from agentflow.views.text_table import WIDTH, aligned

_HEADER = ("step", "model", "uses", "tokens in/out", "estimate", "state")
_STEP, _MODEL, _USES, _STATE = 0, 1, 2, 5
_MOST_ROWS = 40


def workflow_text(overview: Overview) -> str:
    """Return a workflow as text, in 110 columns: its figures, what is wrong, and a row for each step."""
    lines = [f"{one_line(overview.workflow, 60)} · {words.title(overview)}"]
    if not overview.steps:
        return "\n".join([*lines, f"{words.EMPTY} {words.EMPTY_FIX}"])
    told = " · ".join(f"{fact.label} {fact.value}" for fact in words.facts(overview))
    lines += [told] if told else []
    lines += [words.last_words(overview)] if overview.last else []
    for label, sentences in (("problem", overview.problems[:12]), ("note", words.warnings(overview))):
        for sentence in sentences:
            lines += textwrap.wrap(f"{label}: {one_line(sentence, 600)}", WIDTH, subsequent_indent="  ")
    places = words.column_places(overview)
    rows = [_cells(step, places) for step in overview.steps[:_MOST_ROWS]]
    total = ["next run", "", "", words.tokens_words(overview), words.total_cost(overview), ""]
    table = aligned(
        [list(_HEADER), *rows, total], words={_STEP, _MODEL, _USES, _STATE}, cut_first=(_STATE, _USES, _MODEL, _STEP)
    )
    if left := len(overview.steps) - len(rows):
        table.insert(-1, f"... {left:,} more steps")
    end = [] if overview.problems else ["", f"to run it: {words.next_words(overview)}"]
    return "\n".join([*lines, "", *table, *end])


def _cells(step: StepOverview, places: int) -> list[str]:
    why = words.why_words(step)
    return [
        one_line(step.step, WIDTH),
        words.model_word(step),
        "; ".join(words.uses_words(step)),
        words.tokens_words(step),
        words.cost_words(step, places),
        words.state_word(step) + (f": {why}" if why else ""),
    ]
