"""The words and figures of a quote; text and card take them from here and never disagree."""

from __future__ import annotations

from itertools import chain

from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.core.step_row import total_usd
from agentflow.views.format import NOT_APPLICABLE, count, duration, money, money_places, plural
from agentflow.views.outputs import one_line

_NAME_CHARS = 60


def title(quote: Quote) -> str:
    """Return what is quoted, behind the workflow's name."""
    return f"quote of {plural(quote.runs, 'run')}"


def cost(quote: Quote) -> str:
    """Return the likely dollars, or whose price is not known."""
    if quote.likely_usd is not None:
        return f"about {money(quote.likely_usd)}" if quote.likely_usd else "$0, since no model is asked"
    unknown = ", ".join(one_line(name, _NAME_CHARS) for name in quote.unpriced)
    priced = [step.likely_usd for step in quote.steps if step.likely_usd is not None and step.calls]
    rest = f", all else about {money(total_usd(priced))}" if priced else ""
    return f"price of {unknown} unknown{rest}"


def cost_range(part: Quote | StepQuote) -> str:
    """Return the low and the high dollars; nothing where there is no range."""
    if part.low_usd is None or part.high_usd is None or part.low_usd == part.high_usd:
        return ""
    return f"{money(part.low_usd)} to {money(part.high_usd)}"


def time(part: Quote | StepQuote) -> str:
    """Return the likely time, or that it is not known."""
    return NOT_APPLICABLE if part.likely_s is None else duration(part.likely_s * 1000)


def time_range(part: Quote | StepQuote) -> str:
    """Return the low and the high time; nothing where there is no range."""
    if part.low_s is None or part.high_s is None or part.low_s == part.high_s:
        return ""
    return f"{duration(part.low_s * 1000)} to {duration(part.high_s * 1000)}"


def whole_time(quote: Quote) -> str:
    """Return the likely time of all runs, or that it is not known."""
    return "unknown until the first run" if quote.likely_s is None else time(quote)


def tokens(step: StepQuote) -> str:
    """Return the tokens of a step's requests and answers."""
    if step.input_tokens is None:
        return NOT_APPLICABLE
    return f"{count(step.input_tokens)} / {count(step.output_tokens)}"


def total_calls(quote: Quote) -> str:
    """Return how many requests are likely, as far as that is known."""
    return count(sum(step.calls or 0 for step in quote.steps))


def total_tokens(quote: Quote) -> str:
    """Return the tokens of all requests and answers."""
    asked = [step for step in quote.steps if step.input_tokens is not None]
    if not asked:
        return NOT_APPLICABLE
    got = sum(step.output_tokens or 0 for step in asked)
    return f"{count(sum(step.input_tokens or 0 for step in asked))} / {count(got)}"


def column_places(quote: Quote) -> int:
    """Return the decimals for every amount in a table of the quote's steps."""
    return money_places(chain.from_iterable((step.low_usd, step.likely_usd, step.high_usd) for step in quote.steps))
