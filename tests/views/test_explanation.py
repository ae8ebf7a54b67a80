"""An explanation as text and as a card."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.explaining.changes import Reason
from agentflow.core.explaining.explain import Explanation
from agentflow.views.explanation import explanation_html, explanation_text
from tests.views.looks import Page
from tests.views.runs import HOSTILE
from tests.views.test_html import KEPT_ATTRIBUTES, KEPT_TAGS

BEFORE = "You triage tickets.\nBe brief.\n"
AFTER = "You triage tickets.\nBe exact, and say <why>.\n"


def explanation(*reasons: Reason, word: str = "prompt", item: int | None = None) -> Explanation:
    return Explanation("r-2", "classify", item, word, "It ran, since its prompt changed.", reasons, "r-1")


def test_text_has_the_sentence_and_a_line_or_a_diff_for_each_reason() -> None:
    told = explanation(Reason("prompt", "Its prompt", BEFORE, AFTER), Reason("model", "Its model", "haiku", "sonnet"))
    assert explanation_text(told) == repr(told)
    assert repr(told).splitlines() == [
        "classify · prompt: It ran, since its prompt changed.",
        "  prompt: Its prompt changed",
        "    --- before",
        "    +++ after",
        "    @@ -1,2 +1,2 @@",
        "     You triage tickets.",
        "    -Be brief.",
        "    +Be exact, and say <why>.",
        "  model: Its model: 'haiku' -> 'sonnet'",
    ]


def test_an_item_and_a_word_that_nobody_knows() -> None:
    assert repr(explanation(item=3)).startswith("classify[3] · prompt: ")
    assert repr(explanation(word="")).startswith("classify: ")


def test_the_card_says_the_same_as_the_text() -> None:
    told = explanation(Reason("prompt", "Its prompt", BEFORE, AFTER), Reason("", "A remark."))
    page = Page(explanation_html(told))
    assert explanation_html(told) == told._repr_html_()
    text = [line.strip() for line in explanation_text(told).splitlines()]
    heads = ["--- before", "+++ after"]  # colours say that in the card
    assert all(piece in page.text for line in text if line not in heads for piece in line.split(": "))
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES


@given(st.text(), st.text(), st.text())
def test_no_text_from_outside_opens_an_element_or_steers_a_terminal(step: str, before: str, after: str) -> None:
    told = Explanation(HOSTILE, step, None, HOSTILE, HOSTILE, (Reason(HOSTILE, HOSTILE + before, before, after),))
    page = Page(explanation_html(told))
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES
    assert all(char.isprintable() or char == "\n" for char in explanation_text(told))
