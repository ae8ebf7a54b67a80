"""A backtest as text, as a card and as a frame."""

from __future__ import annotations

from agentflow.core.explaining.backtest import Backtest, Case
from agentflow.core.quoting.quote import Quote
from agentflow.core.result import RunResult
from agentflow.views.backtest import backtest_html, backtest_text
from agentflow.views.frames import backtest_frame
from tests.views import runs
from tests.views.looks import Page
from tests.views.runs import HOSTILE, Play
from tests.views.test_html import KEPT_ATTRIBUTES, KEPT_TAGS


def answered(text: str, *, paid: str | None = "0.002", took: float = 1.0) -> RunResult:
    play = Play("reply")
    play.start("reply", 0.0)
    play.answer("reply", 0.0, took, text, paid=paid, listed=paid)
    return play.end("ok", took)


def failed(text: str) -> RunResult:
    play = Play("reply")
    play.start("reply", 0.0)
    play.fail("reply", 0.5, ValueError(text))
    return play.end("failed", 0.5, ValueError(text))


def backtest(*cases: Case) -> Backtest:
    return Backtest("triage", cases, RunResult(), Quote("triage", len(cases), (), 1.0, 2.0, 3.0))


ALL = backtest(
    Case("r-1", None, answered("yes"), {}, answered("no", took=3.0)),
    Case("r-2", 0, failed("it broke"), {}, answered("yes")),
    Case("r-2", 1, answered("yes"), {}, failed("it breaks")),
    Case("r-3", None, answered("same"), {}, answered("same", took=3.0)),
    Case("r-4", None, answered("yes"), {}, skipped="input 'key' of run r-4 was not kept: it holds a secret"),
)


FIGURES = (
    "cases 4 and 1 skipped · with other answers 1 · failures fixed 1 · broken 1 · cost before $0.0060 · "
    "cost now $0.0060 · quoted $0 · median time before 1.00 s · median time now 2.00 s"
)


def test_text_says_the_figures_and_then_the_worst_first() -> None:
    assert backtest_text(ALL) == repr(ALL)
    assert repr(ALL).splitlines() == [
        "backtest of triage",
        FIGURES,
        "",
        "broken: run r-2, row 1",
        "  before  ended well",
        "  now     it breaks",
        "fixed: run r-2, row 0",
        "  before  it broke",
        "  now     ended well",
        "changed: run r-1, reply",
        "  before  yes",
        "  now     no",
        "skipped: input 'key' of run r-4 was not kept: it holds a secret",
    ]


def test_the_card_says_the_same() -> None:
    page = Page(backtest_html(ALL))
    assert backtest_html(ALL) == ALL._repr_html_()
    for told in ("4 and 1 skipped", "failures fixed", "$0.0060cost now", "2.00 smedian time now", "it breaks", "r-4"):
        assert told in page.text
    assert page.text.index("broken run r-2") < page.text.index("fixed run r-2") < page.text.index("changed run r-1")


def test_an_unknown_price_stays_unknown() -> None:
    test = backtest(Case("r-1", None, answered("yes"), {}, answered("no", paid=None)))
    assert "cost before $0.0020 · cost now unknown" in repr(test)
    assert backtest_frame(test)["cost_usd"].isna().to_list() == [True]


def test_many_differences_are_cut_and_counted() -> None:
    test = backtest(*(Case(f"r-{number}", None, answered("a"), {}, answered("b")) for number in range(25)))
    assert repr(test).count("changed: ") == 20
    assert "... 5 more: .to_frame()" in repr(test)
    assert "… 5 more: .to_frame()" in Page(backtest_html(test)).text


def test_text_from_outside_is_never_html() -> None:
    test = backtest(Case(HOSTILE, 1, runs.hostile(), {}, answered(HOSTILE * 2 + "\x1b[2J\ud800")))
    html = backtest_html(test)
    page = Page(html)
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES
    assert "\x1b" not in repr(test)
    html.encode("utf-8")
