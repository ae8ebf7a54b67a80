"""Answers that arrive bit by bit: their text in the events of a run, and streams that stall."""

from __future__ import annotations

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError, get_run
from agentflow.core.errors import ModelTimeoutError
from agentflow.core.events import Event, NestedEvent, TextDelta
from agentflow.core.result import RunResult
from tests.dictated import Dictated, answer


def workflow(dictated: Dictated) -> Workflow:
    made = Workflow(WorkflowConfig(name="streamed"))
    client = BedrockClient(endpoint_url=dictated.url)
    made.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="x"))
    return made


async def test_the_text_of_an_answer_is_among_the_events_where_it_is_asked_for(dictated: Dictated) -> None:
    dictated.says(answer("one two three"))
    events = [event async for event in workflow(dictated).stream(deltas=True)]
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(delta.text for delta in deltas) == "one two three"
    assert {delta.step_id for delta in deltas} == {"ask"}
    assert dictated.paths[0].endswith("/converse-stream")


async def test_text_that_comes_fast_comes_together(dictated: Dictated) -> None:
    dictated.says(answer(*["word "] * 200))
    events = [event async for event in workflow(dictated).stream(deltas=True)]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == "word " * 200
    assert len(deltas) < 200  # of 400 pieces


async def test_nobody_who_does_not_ask_for_text_pays_for_it(dictated: Dictated) -> None:
    dictated.says(answer("one two"))
    made = workflow(dictated)
    seen: list[Event] = []
    made.add_reader(lambda event, _result: seen.append(event))
    assert not [event async for event in made.stream() if isinstance(event, TextDelta)]
    assert dictated.paths[0].endswith("/converse")


async def test_a_reader_may_have_the_text_also_of_inner_steps(dictated: Dictated) -> None:
    dictated.says(answer("one two"))
    outer = Workflow(WorkflowConfig(name="outer"))
    outer.add_step("sub", workflow(dictated))
    texts: list[str] = []

    def read(event: Event, _result: RunResult) -> None:
        if isinstance(event, NestedEvent) and isinstance(event.event, TextDelta):
            texts.append(event.event.text)

    outer.add_reader(read, deltas=True)
    events = [event async for event in outer.stream()]
    result = RunResult()
    for event in events:
        result.apply(event)
    assert not any(isinstance(event, NestedEvent) and isinstance(event.event, TextDelta) for event in events)
    kept = get_run(result.run_id)
    assert (kept.outputs["sub"], kept.warnings) == ({"ask": "one two"}, [])
    while "".join(texts) != "one two":  # a reader has a thread of its own
        pass


@pytest.mark.parametrize("number", [0, 3])
async def test_a_stream_that_stalls_is_a_timeout(
    dictated: Dictated, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("BEDROCK_STREAM_IDLE_SECONDS", "0.2")
    dictated.says(answer("one two"))
    dictated.pauses = {number: 3.0}
    with pytest.raises(ModelTimeoutError, match="sent nothing for too long"):
        [text async for text in BedrockClient(endpoint_url=dictated.url).stream("haiku", "x")]


async def test_a_stalled_step_has_its_attempt_and_may_have_cost(
    dictated: Dictated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEDROCK_STREAM_IDLE_SECONDS", "0.2")
    dictated.says(answer("one two"))
    dictated.pauses = {3: 3.0}
    with pytest.raises(WorkflowError) as caught:
        [event async for event in workflow(dictated).stream(deltas=True)]
    row = caught.value.result.rows["ask"]
    assert [attempt.error_code for attempt in row.attempts] == ["ReadTimeoutError"]
    assert row.uncertain_usd is not None
    assert row.uncertain_usd > 0


async def test_whole_answers_do_not_have_the_limit_of_streams(
    dictated: Dictated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEDROCK_STREAM_IDLE_SECONDS", "0.2")
    dictated.says(answer("one two"))
    client = BedrockClient(endpoint_url=dictated.url)
    assert [text async for text in client.stream("haiku", "x")] == ["one ", "two"]
    dictated.answer_seconds = 0.6
    assert (await client.invoke("haiku", "x")).text == "one two"
