"""A backtest as text and as a card: how many answers changed, what was fixed or broke, cost and time then and now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentflow.core.errors import message_of
from agentflow.core.explaining.backtest import Backtest, Case
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.format import MARKS, count, duration, money, plural
from agentflow.views.html_parts import CARD, MUTED, element, fact_blocks, plain, safe, small
from agentflow.views.outputs import one_line
from agentflow.views.summary import Fact, output_preview

_MOST_SHOWN = 20  # differences, and skipped cases
_ANSWER_WIDTH = 160
_NAME_WIDTH = 60


@dataclass(frozen=True, slots=True)
class _Difference:
    """One thing to look at: a case that broke or was fixed, or a step whose answer is another one."""

    word: str
    place: str
    before: str
    after: str


def backtest_text(backtest: Backtest) -> str:
    """Return a backtest as text: the headline, then what differs."""
    lines = [_title(backtest), " · ".join(f"{fact.label} {fact.value}" for fact in _facts(backtest)), ""]
    shown, left = _shown(backtest)
    for difference in shown:
        lines += [f"{difference.word}: {difference.place}", f"  before  {difference.before}"]
        lines.append(f"  now     {difference.after}")
    lines += [f"... {left:,} more: .to_frame()"] if left else []
    lines += [f"skipped: {reason}" for reason in _skipped(backtest)]
    return "\n".join(lines).rstrip()


def backtest_html(backtest: Backtest) -> str:
    """Return a backtest as an HTML card; all that comes from workflows and models is escaped."""
    shown, left = _shown(backtest)
    parts = [
        element("strong", safe(_title(backtest)), style="font-size:16px;overflow-wrap:break-word"),
        fact_blocks(_facts(backtest)),
        *map(_block, shown),
        small(f"… {count(left)} more: .to_frame()" if left else ""),
        *(small(safe(f"skipped: {reason}"), style="overflow-wrap:break-word") for reason in _skipped(backtest)),
    ]
    return element("div", "".join(parts), style=CARD)


def _title(backtest: Backtest) -> str:
    return f"backtest of {one_line(backtest.workflow, _NAME_WIDTH)}"


def _facts(backtest: Backtest) -> Iterator[Fact]:
    ran, skipped = len(backtest.ran), len(backtest.cases) - len(backtest.ran)
    yield Fact("cases", count(ran) + (f" and {count(skipped)} skipped" if skipped else ""))
    yield Fact("with other answers", count(len(backtest.changed)))
    yield Fact("failures fixed", count(len(backtest.fixed)))
    yield Fact("broken", count(len(backtest.broken)))
    yield Fact("cost before", money(backtest.before_cost_usd))
    yield Fact("cost now", money(backtest.cost_usd))
    yield Fact("quoted", money(backtest.quote.likely_usd))
    listed = backtest.before_bedrock_usd, backtest.bedrock_usd
    if listed != (backtest.before_cost_usd, backtest.cost_usd):
        yield Fact("Bedrock lists before", money(listed[0]))
        yield Fact("Bedrock lists now", money(listed[1]))
    yield Fact("median time before", duration(backtest.before_latency_ms))
    yield Fact("median time now", duration(backtest.latency_ms))


def _shown(backtest: Backtest) -> tuple[list[_Difference], int]:
    """Return what is shown, the worst first, and how much more there is."""
    found = [_whole("broken", case) for case in backtest.broken]
    found += [_whole("fixed", case) for case in backtest.fixed]
    found += [difference for case in backtest.changed for difference in _changes(case)]
    return found[:_MOST_SHOWN], max(len(found) - _MOST_SHOWN, 0)


def _whole(word: str, case: Case) -> _Difference:
    return _Difference(word, _place(case), _outcome(case.before), _outcome(case.after))


def _changes(case: Case) -> Iterator[_Difference]:
    for step, before, after in case.pairs():
        if case.changed(step) and before and after:
            yield _Difference(
                "changed", f"{_place(case)}, {one_line(step, _NAME_WIDTH)}", _answer(before), _answer(after)
            )


def _place(case: Case) -> str:
    run = f"run {one_line(case.run_id, _NAME_WIDTH)}"
    return run if case.item is None else f"{run}, row {case.item}"


def _outcome(result: RunResult | None) -> str:
    if result is None or result.error is None:
        return "ended well"
    return one_line(message_of(result.error), _ANSWER_WIDTH)


def _answer(row: StepRow) -> str:
    return output_preview(row, _ANSWER_WIDTH)


def _skipped(backtest: Backtest) -> list[str]:
    told = [one_line(case.skipped, _ANSWER_WIDTH) for case in backtest.cases if case.skipped]
    more = len(told) - _MOST_SHOWN
    return [*told[:_MOST_SHOWN], plural(more, "more case")] if more > 0 else told


_COLOURS = {"broken": MARKS["failed"].colour, "fixed": MARKS["ok"].colour, "changed": MARKS["running"].colour}


def _block(difference: _Difference) -> str:
    """Return a difference as lines below one another, which any width can hold."""
    head = f"{element('strong', difference.word)} {element('span', safe(difference.place), style=MUTED)}"
    lines = [head, *(_line(label, getattr(difference, label)) for label in ("before", "after"))]
    edge = f"border-left:4px solid {_COLOURS[difference.word]};padding:2px 0 2px 12px;margin:10px 0 0 0"
    return element("div", "".join(map(plain, lines)), style=edge)


def _line(label: str, text: str) -> str:
    return f"{element('span', 'now' if label == 'after' else label, style=MUTED)} {safe(text)}"
