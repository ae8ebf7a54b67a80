"""A quote as text, as a card and as a frame."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.views.outputs import columns
from agentflow.views.quote_html import quote_html
from agentflow.views.quote_text import quote_text
from agentflow.views.text_table import WIDTH
from tests.views.looks import Page
from tests.views.runs import HOSTILE
from tests.views.test_html import KEPT_ATTRIBUTES, KEPT_TAGS

ASKED = StepQuote(
    *("classify", "Claude Haiku 4.5", 10_000, 1_250_000, 340_000),
    *(Decimal("1.91"), Decimal("2.95"), Decimal("4.4"), Decimal("12.5")),
    *(120.0, 250.0, 800.0),
    "output tokens from 42 past answers; input tokens calibrated by 20 past requests",
)
UNPRICED = replace(
    ASKED,
    **dict.fromkeys(("likely_usd", "high_usd", "worst_usd", "low_usd"), None),
    **dict.fromkeys(("low_s", "likely_s", "high_s"), None),
    step="sub.reply",
    model="us.some-model",
    basis="output tokens: half of max_tokens, since the step has never run; price unknown",
)
NOTHING = Decimal(0)
PYTHON = StepQuote("load", None, 0, None, None, *(NOTHING, NOTHING, NOTHING, NOTHING), None, None, None, "Python")
ALONE = Quote("ticket-triage", 10_000, (PYTHON, ASKED), 120.0, 250.0, 800.0)
PARTLY = Quote("ticket-triage", 1, (PYTHON, ASKED, UNPRICED), None, None, None, ("The journal cannot be read.",))
FREE = Quote("numbers", 1, (PYTHON,), None, None, None)
QUOTES = {"alone": ALONE, "partly": PARTLY, "free": FREE}


def test_the_total_comes_first() -> None:
    assert repr(ALONE).splitlines()[:2] == [
        "ticket-triage · quote of 10,000 runs",
        "about $2.95 ($1.91 to $4.40), 4 min 10 s (2 min 00 s to 13 min 20 s); worst case $12.50",
    ]


def test_an_unknown_price_or_time_is_said_and_never_zero() -> None:
    text = quote_text(PARTLY)
    assert text.splitlines()[1] == (
        "price of us.some-model unknown, all else about $2.95, time unknown until the first run"
    )
    assert "warning: The journal cannot be read." in text
    [total] = [line for line in text.splitlines() if line.startswith("total")]
    assert total.split()[-5:] == ["unknown", "unknown", "unknown", "unknown", "-"]
    assert "price of us.some-model unknown" in Page(quote_html(PARTLY)).text


def test_what_asks_no_model_is_free() -> None:
    assert quote_text(FREE).splitlines()[1] == "$0, since no model is asked, time unknown until the first run"


def test_every_step_says_what_it_rests_on_and_equal_reasons_once() -> None:
    quote = replace(ALONE, steps=(PYTHON, ASKED, replace(ASKED, step="again")))
    assert quote_text(quote).split("rests on\n")[1].splitlines() == [
        "  load: Python",
        "  classify, again: output tokens from 42 past answers; input tokens calibrated by 20 past requests",
    ]


@pytest.mark.parametrize("name", QUOTES)
def test_text_keeps_to_its_width_and_the_card_says_the_same(name: str) -> None:
    text, page = quote_text(QUOTES[name]), Page(quote_html(QUOTES[name]))
    assert max(columns(line) for line in text.splitlines()) <= WIDTH
    assert set(page.tags) <= KEPT_TAGS
    assert {attribute for attribute, _ in page.attributes} <= KEPT_ATTRIBUTES
    for step in QUOTES[name].steps:
        assert step.step in page.text
        assert step.basis in page.text
    assert QUOTES[name]._repr_html_() == quote_html(QUOTES[name])


def test_nothing_from_outside_is_html() -> None:
    step = replace(ASKED, step=HOSTILE, model=HOSTILE, basis=HOSTILE)
    page = Page(html := quote_html(Quote(HOSTILE, 1, (step,), None, None, None, (HOSTILE,))))
    assert "<script" not in html
    assert set(page.tags) <= KEPT_TAGS
    assert page.text.count(HOSTILE) == 5


@given(st.text(), st.text(), st.text())
def test_no_text_opens_an_element_or_steers_the_terminal(workflow: str, step: str, model: str) -> None:
    quote = Quote(workflow, 1, (replace(UNPRICED, step=step, model=model, basis=step),), None, None, None, (model,))
    assert set(Page(quote_html(quote)).tags) <= KEPT_TAGS
    assert all(char.isprintable() or char == "\n" for char in quote_text(quote))


def test_the_frame_has_a_row_a_step_and_unknown_is_na() -> None:
    frame = PARTLY.to_frame()
    assert list(frame.columns) == [
        "step", "model", "calls", "input_tokens", "output_tokens", "low_usd", "likely_usd", "high_usd", "worst_usd",
        "low_s", "likely_s", "high_s", "basis",
    ]  # fmt: skip
    assert frame["likely_usd"].to_list() == [0, 2.95, pd.NA]
    assert frame["calls"].to_list() == [0, 10_000, 10_000]
    assert frame["input_tokens"].isna().to_list() == [True, False, False]
    assert str(frame.dtypes["low_s"]) == str(frame.dtypes["low_usd"]) == "Float64"
    assert frame.attrs["units"]["low_s"] == "s"
    assert Quote("none", 1, (), None, None, None).to_frame().empty


def test_a_long_quote_scrolls() -> None:
    quote = replace(ALONE, steps=tuple(replace(ASKED, step=f"step_{number}") for number in range(60)))
    assert "overflow-y:auto" in quote_html(quote)
    assert "overflow-y:auto" not in quote_html(ALONE)
