"""The geometry of the bars."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.views.timeline import COLOURS, Phase, extent_ms, spans
from tests.views import runs
from tests.views.looks import contrast
from tests.views.runs import STATES, Play


def test_a_step_with_three_attempts_shows_its_failures_and_pauses() -> None:
    result = runs.finished()
    found = spans(result, result.rows["extract"], extent_ms(result))
    assert [span.phase for span in found] == [
        Phase.FAILED, Phase.PAUSE, Phase.FAILED, Phase.PAUSE, Phase.ANSWERING,
    ]  # fmt: skip
    assert found[-1].start_ms == pytest.approx(2570)
    assert found[-1].end_ms == pytest.approx(3810)


def test_a_step_that_goes_on_reaches_to_the_end_of_the_axis() -> None:
    result = runs.running()
    assert extent_ms(result) == pytest.approx(1410)
    assert spans(result, result.rows["extract"], 1410.0)[-1].end_ms == 1410.0
    assert spans(result, result.rows["reply"], 1410.0) == []


attempts = st.tuples(st.floats(-2, 12), st.floats(0, 5), st.booleans(), st.floats(0, 3))


@given(st.lists(attempts, max_size=8), st.floats(0, 5), st.floats(0.001, 9))
def test_the_spans_of_a_step_are_its_time_without_gap_or_overlap(
    sent: list[tuple[float, float, bool, float]], start: float, took: float
) -> None:
    play = Play("step")
    play.start("step", start)
    for at, latency, failed, wait in sent:
        play.attempt("step", at, latency, error="Throttled" if failed else None, wait=wait)
    play.finish("step", start + took, None)
    result = play.end("ok", start + took)
    row = result.rows["step"]
    found = spans(result, row, extent_ms(result))
    assert row.started_ms is not None
    assert row.latency_ms is not None
    assert found[0].start_ms == row.started_ms
    assert found[-1].end_ms == row.started_ms + row.latency_ms
    assert all(left.end_ms == right.start_ms and left.phase is not right.phase for left, right in pairwise(found))


@pytest.mark.parametrize("state", STATES)
def test_no_bar_leaves_the_axis(state: str) -> None:
    result = STATES[state]()
    extent = extent_ms(result)
    for row in result.rows.values():
        assert all(0 <= span.start_ms < span.end_ms <= extent for span in spans(result, row, extent))


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
@pytest.mark.parametrize("phase", Phase)
def test_every_bar_stands_out_in_light_and_dark(phase: Phase, background: str) -> None:
    assert contrast(COLOURS[phase], background) >= 3
