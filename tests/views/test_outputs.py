"""Whatever a step returns can be shown."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from agentflow.views.outputs import full_text, preview
from tests.views.runs import Claims

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), inner, max_size=4)
    ),
    max_leaves=12,
)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_text_is_shown_as_it_is() -> None:
    assert full_text("a\n  b") == "a\n  b"


@given(st.dictionaries(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), JSON))
def test_structured_values_are_json(value: dict[str, Any]) -> None:
    assert json.loads(full_text(value)) == value


def test_models_are_json_wherever_they_stand() -> None:
    claims = Claims(claims=["one"], confidence=0.5)
    assert json.loads(full_text({"of": [claims]})) == {"of": [{"claims": ["one"], "confidence": 0.5}]}
    assert preview(claims, 80) == '{"claims": ["one"], "confidence": 0.5}'


def test_frames_are_shown_by_their_repr() -> None:
    frame = pd.DataFrame({"a": [1]})
    assert full_text(frame) == repr(frame)


def test_values_that_are_no_json_fall_back_to_their_repr() -> None:
    assert full_text({(1, 2): "x"}) == "{(1, 2): 'x'}"
    circle: list[Any] = []
    circle.append(circle)
    assert full_text(circle) == "[[...]]"


def test_a_repr_that_raises_does_not_hide_the_run() -> None:
    assert full_text(Broken()) == "<Broken: its repr raised RuntimeError>"
    assert "RuntimeError" in full_text([Broken()])


def test_what_no_notebook_file_can_hold_is_replaced() -> None:
    assert full_text("\ud800\x00\x1b\t\n") == "?\ufffd\ufffd\t\n"
