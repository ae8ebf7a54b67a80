"""Workflows as steps."""

from __future__ import annotations

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowError
from agentflow.core.errors import DefinitionError
from agentflow.core.events import NestedEvent, StepFinished
from tests.endpoint import Endpoint


def shouting() -> Workflow:
    inner = Workflow("shouting")
    inner.add_step("loud", lambda text, mark="!": text.upper() + mark)
    inner.add_step("twice", lambda loud: f"{loud} {loud}")
    return inner


async def test_a_workflow_is_a_step_whose_outputs_are_its_output() -> None:
    outer = Workflow("outer")
    outer.add_step("text", lambda name: f"hello {name}")
    shout = outer.add_step("shout", shouting())
    outer.add_step("end", lambda said: said, {"said": shout.twice})
    result = await outer.execute(name="Ada")
    assert result.outputs["shout"] == {"loud": "HELLO ADA!", "twice": "HELLO ADA! HELLO ADA!"}
    assert result.outputs["end"] == "HELLO ADA! HELLO ADA!"
    assert dict(outer.inputs) == {"name": True, "mark": False}
    assert result.to_frame()["step"].to_list() == ["text", "shout.loud", "shout.twice", "end"]
    assert result.rows["shout"].inner is not None
    assert result.rows["shout"].inner.status == "ok"


async def test_a_workflow_can_be_mapped_over_a_list() -> None:
    outer = Workflow("outer")
    outer.add_step("shout", shouting(), map_over="text")
    result = await outer.execute(text=["a", "b"])
    assert [output["loud"] for output in result.outputs["shout"]] == ["A!", "B!"]
    frame = result.to_frame()
    assert list(zip(frame["step"], frame["item"], strict=True)) == [
        ("shout.loud", 0), ("shout.twice", 0), ("shout.loud", 1), ("shout.twice", 1),
    ]  # fmt: skip


async def test_what_an_inner_step_costs_stands_in_its_row_and_in_the_total(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    inner = Workflow("inner")
    inner.add_step("ask", SimpleAgent(AgentConfig(name="ask"), client, prompt_template="Say {word}"))
    outer = Workflow("outer")
    outer.add_step("words", lambda: ["one", "two"])
    outer.add_step("inner", inner, {"word": outer.steps["words"]}, map_over="word")
    result = await outer.execute()
    frame = result.to_frame()
    assert frame["input_tokens"].sum() == result.usage.input_tokens > 0
    assert result.attempts == 2
    assert result.rows["inner"].cost_usd == result.cost_usd


async def test_a_failure_of_an_inner_step_names_both() -> None:
    inner = Workflow("inner")
    inner.add_step("divide", lambda number: 1 / number)
    outer = Workflow("outer")
    outer.add_step("sub", inner)
    with pytest.raises(WorkflowError, match=r"Step 'sub' failed.*Step 'divide' failed: ZeroDivisionError") as error:
        await outer.execute(number=0)
    assert error.value.result.to_frame()["status"].to_list() == ["failed"]


async def test_three_levels_are_three_prefixes_and_events_tell_the_way() -> None:
    middle = Workflow("middle")
    middle.add_step("shout", shouting())
    outer = Workflow("outer")
    outer.add_step("middle", middle)
    events = [event async for event in outer.stream(text="a")]
    finished = [
        event.event.event for event in events if isinstance(event, NestedEvent) and isinstance(event.event, NestedEvent)
    ]
    assert [event.step_id for event in finished if isinstance(event, StepFinished)] == ["loud", "twice"]
    assert outer.last_result is not None
    assert outer.last_result.to_frame()["step"].to_list() == ["middle.shout.loud", "middle.shout.twice"]


def test_a_workflow_cannot_be_a_step_of_itself() -> None:
    inner = Workflow("inner")
    outer = Workflow("outer")
    outer.add_step("inner", inner)
    for workflow, step in ((inner, outer), (outer, outer)):
        with pytest.raises(DefinitionError, match="would be a step of itself"):
            workflow.add_step("loop", step)


def test_what_is_wrong_inside_is_found_before_anything_runs() -> None:
    inner = Workflow("inner")
    inner.add_step("a", lambda: 1, {"nothing": 1})
    inner.add_step("b", lambda: 1, depends_on="c")
    outer = Workflow("outer")
    outer.add_step("sub", inner)
    with pytest.raises(DefinitionError) as error:
        outer.validate()
    assert len(error.value.problems) == 2
    assert all(problem.startswith("Step 'sub': Step ") for problem in error.value.problems)


async def test_a_change_of_the_inner_workflow_is_seen_by_the_outer_one() -> None:
    inner = Workflow("inner")
    inner.add_step("a", lambda first: first)
    outer = Workflow("outer")
    outer.add_step("sub", inner)
    assert (await outer.execute(first=1)).outputs == {"sub": {"a": 1}}
    inner.add_step("a", lambda second: second)
    assert (await outer.execute(second=2)).outputs == {"sub": {"a": 2}}
