"""A run as a card in a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.explaining.backtest import Backtest, Case
from agentflow.core.explaining.changes import Reason
from agentflow.core.explaining.explain import Explanation
from agentflow.core.quoting.quote import Quote
from agentflow.core.result import RunResult
from agentflow.views.backtest import backtest_html
from agentflow.views.explanation import explanation_html
from agentflow.views.html import run_html
from agentflow.views.html_parts import MUTED
from agentflow.views.text import run_text
from tests.views import runs
from tests.views.looks import Page, contrast
from tests.views.runs import HOSTILE, STATES, Play

# What JupyterLab's sanitizer leaves in a notebook that is not trusted (apputils, sanitizer.ts), of what we use.
KEPT_TAGS = {
    "div", "span", "strong", "br", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "details",
    "summary", "pre", "code",
}  # fmt: skip
KEPT_ATTRIBUTES = {"style", "title", "dir", "open", "scope"}


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_well_formed_and_survives_distrust(state: str) -> None:
    page = Page(run_html(STATES[state]()))
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES


@pytest.mark.parametrize("state", STATES)
def test_the_same_run_gives_the_same_html(state: str) -> None:
    result = STATES[state]()
    assert run_html(result) == run_html(result) == run_html(STATES[state]()) == result._repr_html_()


@pytest.mark.parametrize("state", STATES)
def test_card_and_text_say_the_same(state: str) -> None:
    result = STATES[state]()
    page, text = Page(run_html(result)).text, run_text(result)
    for row in result.rows.values():
        assert row.step in page
        assert row.status.value in page
    figures = re.findall(r"\$[\d.,]*\d(?![\w])", text.split("outputs")[0].replace("$x_1$", ""))
    assert all(figure in page for figure in figures)


def test_model_text_is_never_html() -> None:
    html = run_html(runs.hostile())
    assert "<script" not in html
    assert "<b>" not in html
    page = Page(html)
    assert set(page.tags) <= KEPT_TAGS
    assert page.text.count(HOSTILE) >= 6  # workflow, step twice, model, output, errors
    html.encode("utf-8")


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_from_outside_opens_an_element(workflow: str, step: str, output: str, error: str) -> None:
    play = Play(step, workflow=workflow)
    play.start(step, 0.0)
    play.answer(step, 0.0, 0.2, output, model=error, stop_reason=output)
    page = Page(run_html(play.end("failed", 0.2, ValueError(error))))
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES


def test_bars_lie_where_the_step_ran() -> None:
    html = run_html(runs.single())
    assert "margin-left:0.00%;width:66.67%" in html
    for left, width in re.findall(r"margin-left:([\d.]+)%;width:([\d.]+)%", run_html(runs.many())):
        assert float(left) + float(width) <= 100.01


def test_retries_are_told_with_their_waits() -> None:
    page = Page(run_html(runs.finished())).text
    assert "3 attempts, 2 failed: ThrottlingException · waited 1.90 s" in page
    assert "attempt 1: failed with ThrottlingException after 120 ms, then waited 800 ms" in page
    assert "attempt 3: answered after 1.24 s" in page


def test_a_failure_comes_with_what_to_do() -> None:
    page = Page(run_html(runs.failed())).text
    assert "What happened" in page
    assert "What to do" in page
    assert page.index("Run again in a minute") < page.index("timeline")


def test_an_interrupted_run_says_that_requests_may_be_billed() -> None:
    assert "may still be billed" in Page(run_html(runs.interrupted())).text
    assert "may still be billed" in run_text(runs.interrupted())


def test_a_step_that_called_no_model_has_dashes() -> None:
    page = Page(run_html(runs.single()))
    assert "no model called" in page.text
    assert "$" not in page.text


def test_an_unknown_price_is_never_free() -> None:
    page = Page(run_html(runs.price_unknown())).text
    assert "unknown" in page
    assert "$0 " not in page
    assert "+ 10,240 from cache" in page


def test_the_local_model_is_labelled_and_bedrocks_price_is_told() -> None:
    page = Page(run_html(runs.local())).text
    assert "local · SmolLM2-135M" in page
    assert "Bedrock $0.00031" in page
    assert "cut at max_tokens" in page


def test_a_long_output_is_cut_and_says_so() -> None:
    html = run_html(runs.long_output())
    assert len(html) < 30_000
    assert "The first 20,000 of 50,000 characters; all of them: .outputs['write']" in Page(html).text


def test_the_card_of_many_long_outputs_stays_small() -> None:
    play = Play(*(str(number) for number in range(60)))
    for number in range(60):
        play.start(str(number), 0.0)
        play.finish(str(number), 1.0, "x" * 30_000)
    assert len(run_html(play.end("ok", 1.0))) < 400_000


def test_a_run_of_a_thousand_steps_shows_those_to_look_at_and_stays_small() -> None:
    play = Play(*(f"s{number}" for number in range(1_000)))
    for number in range(1_000):
        play.start(f"s{number}", 0.0)
        if number == 7:
            play.fail("s7", 0.1, ValueError("no"))
        else:
            play.answer(f"s{number}", 0.0, 1.0 + number / 1_000, "<&>" * 30_000)
    html = run_html(play.end("failed", 3.0))
    assert len(html) < 300_000
    page = Page(html).text
    assert "… 940 more steps" in page
    assert "s7" in page
    assert "s999" in page
    assert "s500" not in page


def test_many_steps_scroll_and_fold() -> None:
    html = run_html(runs.many())
    assert "overflow-y:auto" in html
    assert "outputs of 60 steps" in html


@pytest.mark.parametrize(
    ("ink", "share", "page"),
    [
        (0x00, 0.87, 0xFF),  # JupyterLab light
        (0xFF, 0.87, 0x11),  # JupyterLab dark
        (0x3B, 1.0, 0xFF),  # VS Code light
        (0xCC, 1.0, 0x1F),  # VS Code dark
    ],
)
def test_the_quiet_text_is_readable_in_every_theme(ink: int, share: float, page: int) -> None:
    seen = round(page + (ink - page) * share * float(MUTED.removeprefix("opacity:")))
    assert contrast(f"#{seen:02x}{seen:02x}{seen:02x}", f"#{page:02x}{page:02x}{page:02x}") >= 4.5


def test_no_status_is_told_by_colour_alone() -> None:
    page = Page(run_html(runs.failed())).text
    for told in ("✓ ok", "✗ failed", "■ cancelled", "○ not run"):
        assert told in page
    assert "… running" in Page(run_html(runs.running())).text


def test_why_a_step_ran_stands_beside_its_status() -> None:
    result = runs.finished()
    result.rows["extract"].why, result.rows["judge"].why = "prompt", HOSTILE
    page = Page(run_html(result))
    assert "✓ ok · prompt" in page.text
    assert HOSTILE in page.text
    failed = runs.failed()
    failed.rows["publish"].why = "not run"
    assert "· not run" not in Page(run_html(failed)).text


def explanation_card(text: str) -> str:
    reason = Reason("upstream", text, f"{text}\n1", f"{text}\n2")
    return explanation_html(Explanation("r-1", "a", None, "upstream", text, (reason,)))


def backtest_card(text: str) -> str:
    def answered(output: str) -> RunResult:
        play = Play("a")
        play.start("a", 0.0)
        play.answer("a", 0.0, 1.0, output)
        return play.end("ok", 1.0)

    return backtest_html(
        Backtest(
            "w",
            (Case("r-1", None, answered("no"), {}, answered(text)),),
            RunResult(),
            Quote("w", 1, (), None, None, None),
        )
    )


@pytest.mark.parametrize("card", [explanation_card, backtest_card])
def test_no_text_between_dollar_signs_is_taken_for_a_formula(card: Callable[[str], str]) -> None:
    class Looking(Page):
        outside = ""

        def handle_data(self, data: str) -> None:
            super().handle_data(data)
            if "pre" not in self.open:
                self.outside += data

    page = Looking(card("between $x$ and $y$"))
    assert "$x$" in page.text
    assert "$x$" not in page.outside
