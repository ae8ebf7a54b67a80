"""Checks with their figures, as text, as a table and as a card."""

from __future__ import annotations

import pytest

from agentflow.views.format import MARKS
from agentflow.views.verdicts import Verdict, Verdicts, graded

BENCHMARKS = Verdicts(
    [
        Verdict("Retry Rate", "poor", "12.5%", "Ask for a higher quota.", "target < 1%"),
        Verdict("Cost", "target", "$0.63", limits="target < $5"),
    ]
)


def test_as_text_each_has_its_line_and_below_it_what_to_do() -> None:
    assert repr(BENCHMARKS).splitlines() == [
        "check       verdict   figure  limits",
        "Retry Rate  ✗ poor    12.5%   target < 1%",
        "    → Ask for a higher quota.",
        "Cost        ✓ target  $0.63   target < $5",
    ]
    assert BENCHMARKS.poor == (BENCHMARKS[0],)


def test_as_a_frame_a_row_each() -> None:
    frame = BENCHMARKS.to_frame()
    assert frame.columns.tolist() == ["check", "verdict", "figure", "fix", "limits"]
    assert frame["verdict"].tolist() == ["poor", "target"]
    assert Verdicts([]).to_frame().empty


def test_as_a_card_all_texts_are_escaped() -> None:
    hostile = Verdicts([Verdict("<b>", "ok", "<script>", "<img>", "<i>\x1b[31m")])
    html = hostile._repr_html_()
    assert not {"<b>", "<script>", "<img>", "<i>"} & {f"<{part.split('>')[0]}>" for part in html.split("<")}
    assert "\x1b" not in html + repr(hostile)
    assert "limits" not in Verdicts([Verdict("a", "ok", "1")])._repr_html_()


@pytest.mark.parametrize(
    ("percent", "word"), [(99.1, "target"), (99, "acceptable"), (95.1, "acceptable"), (95, "poor"), (0, "poor")]
)
def test_more_is_better_where_that_is_said(percent: float, word: str) -> None:
    assert graded(percent, 99, 95, more_is_better=True) == word
    assert word in MARKS
