"""A run as text in a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.views.outputs import clip, columns, one_line
from agentflow.views.text import run_text
from agentflow.views.text_table import WIDTH
from tests.views import runs
from tests.views.runs import STATES, Play


@pytest.mark.parametrize("state", STATES)
def test_every_state_reads_as_text(state: str) -> None:
    result = STATES[state]()
    text = run_text(result)
    assert result.status in text.splitlines()[0]
    assert text == run_text(result) == repr(result)
    assert "\x1b" not in text
    text.encode("utf-8")


@pytest.mark.parametrize("state", [state for state in STATES if state != "empty"])
def test_the_table_is_aligned_and_at_most_110_columns_wide(state: str) -> None:
    table = run_text(STATES[state]()).split("\n\n")[1].splitlines()
    assert max(columns(line) for line in table) <= WIDTH
    assert table[-1].startswith("total")
    ends = [line.rindex("bedrock_usd") + len("bedrock_usd") for line in table[:1]]
    assert {columns(line) for line in table} == set(ends)


def test_the_columns_that_programs_look_for_are_there() -> None:
    header = run_text(runs.finished()).splitlines()[3]
    assert header.split()[:6] == ["step", "status", "why", "model", "attempts", "latency_ms"]
    assert header.split()[-2:] == ["cost_usd", "bedrock_usd"]


def test_the_headline_says_what_was_paid_and_what_bedrock_lists() -> None:
    assert "paid $0 · Bedrock lists $0.00031 · attempts 1" in run_text(runs.local())
    assert "local · SmolLM2-135M" in run_text(runs.local())


def test_an_unknown_price_is_unknown_and_no_call_is_a_dash() -> None:
    table = run_text(runs.price_unknown()).split("\n\n")[1].splitlines()
    assert re.search(r"\$0\.0031 +\$0\.0031$", table[1])
    assert re.search(r"unknown +unknown$", table[2])
    assert re.search(r"unknown +unknown$", table[3])
    assert re.search(r"- +- +-$", run_text(runs.single()).split("\n\n")[1].splitlines()[1])


def test_a_failed_run_says_what_to_do() -> None:
    text = run_text(runs.failed())
    assert "\nerror: Step 'summarise' failed: Bedrock refused" in text
    assert "\nfix:   Run again in a minute" in text
    assert text.count("Run again in a minute") == 1


def test_a_run_that_goes_on_claims_no_duration() -> None:
    assert "duration" not in run_text(runs.running())


def test_an_output_cannot_steer_the_terminal() -> None:
    play = Play("write")
    play.start("write", 0.0)
    play.finish("write", 0.1, "one\x1b]0;title\x07\ntwo\u202ethree\x9b2J")
    text = run_text(play.end("failed", 0.1, ValueError("a\x1b[2Jb\nc")))
    assert all(char.isprintable() or char == "\n" for char in text)


@given(st.text(max_size=60), st.integers(1, 40))
def test_clipping_keeps_to_its_width(text: str, width: int) -> None:
    assert columns(clip(text, width)) <= width
    assert columns(one_line(text, width)) <= width


def test_wide_characters_take_two_columns() -> None:
    assert columns("要約") == 4
    assert clip("要約する", 5) == "要約…"


def test_why_a_step_ran_has_a_column() -> None:
    result = runs.finished()
    result.rows["extract"].why = "upstream"
    assert run_text(result).splitlines()[5].split()[:3] == ["extract", "ok", "upstream"]
