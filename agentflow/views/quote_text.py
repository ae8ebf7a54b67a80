"""A quote as plain text, for a terminal and for `repr`."""

from __future__ import annotations

import textwrap
from decimal import Decimal

from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.views import quote_words as words
from agentflow.views.format import NOT_APPLICABLE, count, money
from agentflow.views.outputs import one_line
from agentflow.views.text_table import GAP, WIDTH, aligned

_HEADER = ("step", "model", "calls", "tokens in/out", "low_usd", "likely_usd", "high_usd", "worst_usd", "time")
_STEP, _MODEL = _HEADER.index("step"), _HEADER.index("model")
_MOST_BASES = 25


def quote_text(quote: Quote) -> str:
    """Return a quote as text: the total, the table of steps, and what the figures rest on, in 110 columns."""
    parts = [_headline(quote), _table(quote), _bases(quote)]
    return "\n\n".join(part for part in parts if part)


def _headline(quote: Quote) -> str:
    cost, time = words.cost(quote), words.whole_time(quote)
    cost += f" ({words.cost_range(quote)})" if words.cost_range(quote) else ""
    time = f"time {time}" if quote.likely_s is None else time
    time += f" ({words.time_range(quote)})" if words.time_range(quote) else ""
    worst = f"; worst case {money(quote.worst_usd)}" if quote.worst_usd else ""
    lines = [f"{one_line(quote.workflow, 60)} · {words.title(quote)}", f"{cost}, {time}{worst}"]
    return "\n".join(lines + [f"warning: {one_line(warning, 500)}" for warning in quote.warnings])


def _table(quote: Quote) -> str:
    places = words.column_places(quote)
    amounts = [quote.low_usd, quote.likely_usd, quote.high_usd, quote.worst_usd]
    total = [
        *("total", "", words.total_calls(quote), words.total_tokens(quote)),
        *(money(amount, places) for amount in amounts),
        words.time(quote),
    ]
    rows = [list(_HEADER), *(_cells(step, places) for step in quote.steps), total]
    return "\n".join(aligned(rows, words={_STEP, _MODEL}, cut_first=(_MODEL, _STEP)))


def _cells(step: StepQuote, places: int) -> list[str]:
    amounts: list[Decimal | None] = [step.low_usd, step.likely_usd, step.high_usd, step.worst_usd]
    return [
        one_line(step.step, WIDTH),
        one_line(step.model or NOT_APPLICABLE, WIDTH),
        count(step.calls),
        words.tokens(step),
        *(NOT_APPLICABLE if step.model is None and step.calls == 0 else money(amount, places) for amount in amounts),
        words.time(step),
    ]


def _bases(quote: Quote) -> str:
    """Return what the figures rest on, once for all steps of which it is the same."""
    steps: dict[str, list[str]] = {}
    for step in quote.steps:
        steps.setdefault(step.basis, []).append(one_line(step.step, 40))
    lines: list[str] = []
    for basis, names in list(steps.items())[:_MOST_BASES]:
        told = f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}: {one_line(basis, 1000)}"
        lines += textwrap.wrap(told, WIDTH, initial_indent=GAP, subsequent_indent=GAP * 2)
    return "\n".join(["rests on", *lines, *([f"{GAP}..."] if len(steps) > _MOST_BASES else [])])
