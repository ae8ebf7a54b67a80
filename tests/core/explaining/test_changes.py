"""How two values are compared, and how a change is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from agentflow.core.explaining.changes import KINDS, Reason, part_changes, same
from agentflow.core.step_parts import StepParts


class Ticket(BaseModel):
    subject: str


class Odd:
    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Point:
    x: int


again = create_model("Ticket", subject=str)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1, True),
        (1, 2, False),
        ({"a": [1]}, {"a": [1]}, True),
        (Ticket(subject="a"), again(subject="a"), True),
        (Ticket(subject="a"), again(subject="b"), False),
        ([Ticket(subject="a")], [again(subject="a")], True),
        (Point(1), Point(2), False),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}), True),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]}), False),
        (pd.DataFrame({"a": [1]}), None, False),
        (None, pd.DataFrame({"a": [1]}), False),
        ([pd.DataFrame({"a": [1]})], [pd.DataFrame({"a": [2]})], False),
    ],
)
def test_values_of_any_type_are_compared(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected


def test_a_comparison_that_raises_is_no_error() -> None:
    assert same(Odd(), 1) is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_change_is_shown_in_the_line_or_in_the_diff(before: Any, after: Any) -> None:
    reason = Reason("input", "input x", before, after)
    if reason.diff:
        assert reason.text == "input x changed"
    else:
        assert reason.text.startswith("input x: ")
    assert same(before, before)


def test_a_diff_is_cut_where_it_would_fill_the_screen() -> None:
    before, after = ("\n".join(f"{mark}{number}" for number in range(900)) for mark in "ab")
    diff = Reason("prompt", "Its prompt", before, after).diff.splitlines()
    assert len(diff) == 201
    assert diff[-1].endswith("more lines")


def test_equal_parts_have_no_changes_also_when_they_come_from_json() -> None:
    parts = StepParts("prompt", prompt="a", examples=(("a", "b"),), depends_on=("x",))
    assert list(part_changes(parts, parts)) == []
    assert list(part_changes(parts, StepParts("prompt", prompt="a", examples=[["a", "b"]], depends_on=["x"]))) == []


def test_another_kind_of_step_is_a_change_of_its_code() -> None:
    [reason] = part_changes(StepParts("prompt", prompt="a"), StepParts("python", code="c"))
    assert (reason.kind, reason.text) == ("code", "What it is: prompt -> python")


def test_a_step_that_a_nested_workflow_gained_or_lost_is_named() -> None:
    one, two = StepParts("workflow", steps={"a": StepParts("python")}), StepParts("workflow")
    assert [reason.text for reason in part_changes(one, two)] == ["Its step 'a' is gone"]
    assert [reason.text for reason in part_changes(two, one)] == ["Its step 'a' is new"]


def test_code_without_a_text_is_still_a_change() -> None:
    [reason] = part_changes(StepParts("agent", name="A", code="1"), StepParts("agent", name="A", code="2"))
    assert "there is no text of it" in reason.text
    assert reason.kind in KINDS
