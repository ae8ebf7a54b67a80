"""A quote as a card for a notebook, in the style of the run's card."""

from __future__ import annotations

from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.views import quote_words as words
from agentflow.views.format import NOT_APPLICABLE, UNKNOWN, count, money
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    MUTED,
    NUMBER,
    ROW,
    TABLE,
    card,
    element,
    fact_blocks,
    safe,
    small,
    warnings_note,
)
from agentflow.views.summary import Fact

# What a narrow page has no room for comes last.
_HEADS = {"step": HEAD, "cost": HEAD_NUMBER, "time": HEAD_NUMBER, "calls": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER}
_MOST_SHOWN = 24  # rows; a longer table scrolls inside of the card


def quote_html(quote: Quote) -> str:
    """Return a quote as an HTML card; all text that comes from workflows and models is escaped."""
    name = element("strong", safe(quote.workflow), style="font-size:16px;overflow-wrap:break-word")
    title = element("div", f"{name} {element('span', words.title(quote), style=MUTED)}")
    notes = warnings_note([*([words.cost(quote)] if quote.likely_usd is None else []), *quote.warnings])
    return card([title, fact_blocks(_facts(quote)), notes, _table(quote)])


def _facts(quote: Quote) -> list[Fact]:
    shown = [
        Fact("likely cost", UNKNOWN if quote.likely_usd is None else words.cost(quote)),
        Fact("cost, low to high", words.cost_range(quote)),
        Fact("worst case", money(quote.worst_usd) if quote.worst_usd else ""),
        Fact("likely time", words.whole_time(quote)),
        Fact("time, low to high", words.time_range(quote)),
    ]
    return [fact for fact in shown if fact.value]


def _table(quote: Quote) -> str:
    places = words.column_places(quote)
    head = element("tr", "".join(element("th", name, style=style) for name, style in _HEADS.items()), style=ROW)
    body = "".join(_row(step, places) for step in quote.steps)
    parts = element("thead", head) + element("tbody", body) + element("tfoot", _total(quote, places))
    tall = ";max-height:720px;overflow-y:auto" if len(quote.steps) > _MOST_SHOWN else ""
    return element("div", element("table", parts, style=TABLE), style=f"overflow-x:auto{tall}")


def _row(step: StepQuote, places: int) -> str:
    name = element("strong", safe(step.step), style="overflow-wrap:break-word")
    asks_nothing = step.model is None and step.calls == 0
    cost = NOT_APPLICABLE if asks_nothing else money(step.likely_usd, places) + small(words.cost_range(step))
    cells = [
        element("td", name + small(safe(step.model or "")) + small(safe(step.basis)), style=f"{CELL};min-width:200px"),
        element("td", cost, style=NUMBER),
        element("td", words.time(step) + small(words.time_range(step)), style=NUMBER),
        element("td", count(step.calls), style=NUMBER),
        element("td", words.tokens(step), style=NUMBER),
    ]
    return element("tr", "".join(cells), style=ROW)


def _total(quote: Quote, places: int) -> str:
    cost = money(quote.likely_usd, places)
    figures = [cost, words.time(quote), words.total_calls(quote), words.total_tokens(quote)]
    cells = [element("td", figure, style=f"{NUMBER};font-weight:bold") for figure in figures]
    return element("tr", element("td", element("strong", "total"), style=CELL) + "".join(cells), style=ROW)
