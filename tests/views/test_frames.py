"""The table of a run: types, units, sums."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.result import RunResult
from agentflow.views.frames import steps_frame
from tests.views import runs
from tests.views.runs import STATES, Play

DTYPES = {
    "status": "string",
    "model": "string",
    "error": "string",
    "price_date": "string",
    "attempts": "Int64",
    "input_tokens": "Int64",
    "cache_write_tokens": "Int64",
    "latency_ms": "Float64",
    "retry_wait_ms": "Float64",
    "cost_usd": "Float64",
    "bedrock_usd": "Float64",
    "started_at": "datetime64[us, UTC]",
    "output": "object",
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_the_same_columns_and_types(state: str) -> None:
    result = STATES[state]()
    frame = steps_frame(result)
    assert list(frame.columns) == list(runs.finished().records()[0])
    assert {name: str(frame[name].dtype) for name in DTYPES} == DTYPES
    assert list(frame["step"]) == list(result.rows)


def test_units_are_named_for_every_figure() -> None:
    units = steps_frame(runs.finished()).attrs["units"]
    assert units["latency_ms"] == units["retry_wait_ms"] == "ms"
    assert units["cost_usd"] == "USD"
    assert units["input_tokens"] == "tokens"
    assert units["started_at"] == "UTC"
    assert "step" not in units
    assert units == steps_frame(runs.empty()).attrs["units"]


def test_unknown_is_missing_and_never_zero() -> None:
    frame = steps_frame(runs.failed()).set_index("step")
    assert frame.loc["publish", ["started_at", "latency_ms", "attempts", "input_tokens", "cost_usd"]].isna().all()
    assert steps_frame(runs.price_unknown())["cost_usd"].isna().tolist() == [False, True]


def test_outputs_stay_the_objects_they_are() -> None:
    play = Play("table")
    play.start("table", 0.0)
    table = pd.DataFrame({"a": [1, 2]})
    play.finish("table", 0.1, table)
    assert steps_frame(play.end("ok", 0.1))["output"].iloc[0] is table


@pytest.mark.parametrize("state", ["finished", "failed", "many", "local", "empty"])
def test_the_column_adds_up_to_the_headline(state: str) -> None:
    result = STATES[state]()
    frame = steps_frame(result)
    assert result.cost_usd is not None
    assert result.bedrock_usd is not None
    assert frame["cost_usd"].sum() == pytest.approx(float(result.cost_usd))
    assert frame["bedrock_usd"].sum() == pytest.approx(float(result.bedrock_usd))
    assert frame["attempts"].sum() == result.attempts


@given(st.lists(st.decimals(0, 1000, places=9), min_size=1, max_size=8))
def test_any_amounts_add_up(amounts: list[Decimal]) -> None:
    play = Play(*(str(number) for number in range(len(amounts))))
    for number, amount in enumerate(amounts):
        play.start(str(number), 0.0)
        play.answer(str(number), 0.0, 1.0, paid=str(amount))
    result: RunResult = play.end("ok", 1.0)
    assert steps_frame(result)["cost_usd"].sum() == pytest.approx(float(sum(amounts)))
