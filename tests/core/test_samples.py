"""Several runs at once, past the cache, to see how much the answers differ."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import DefinitionError, InputError
from tests.endpoint import Endpoint


def drafts(endpoint: Endpoint, **config: Any) -> Workflow:
    workflow = Workflow(WorkflowConfig(name="drafts", cache=True, **config))
    client = BedrockClient(endpoint_url=endpoint.url)
    workflow.add_step("draft", SimpleAgent(AgentConfig(name="d"), client, prompt_template="Draft {topic}"))
    workflow.add_step("loud", lambda draft: draft.upper())
    return workflow


def test_each_sample_asks_the_model_also_where_the_cache_has_an_answer(scripted: Endpoint) -> None:
    scripted.follow(replies=["a", "b", "c", "d"])
    workflow = drafts(scripted)
    assert workflow.run(topic="x").outputs["loud"] == "A"
    before = scripted.stats()["requests"]
    result = workflow.run(topic="x", samples=3)
    assert scripted.stats()["requests"] == before + 3
    assert sorted(sample["loud"] for sample in result.outputs["sample"]) == ["B", "C", "D"]
    assert workflow.last_result is result
    assert workflow.run(topic="x").outputs["loud"] == "A"  # the cache has what it had


def test_the_samples_are_one_run_with_a_row_each(scripted: Endpoint) -> None:
    result = drafts(scripted).run(topic="x", samples=2)
    frame = result.to_frame()
    assert list(zip(frame.step, frame.item, strict=True)) == [
        ("sample.draft", 0), ("sample.loud", 0), ("sample.draft", 1), ("sample.loud", 1),
    ]  # fmt: skip
    assert list(agentflow.runs().workflow) == ["samples of drafts"]


async def test_it_works_in_every_way_to_run(scripted: Endpoint) -> None:
    workflow = drafts(scripted)
    assert len((await workflow.execute(topic="x", samples=2)).outputs["sample"]) == 2
    assert len((await workflow.start(topic="x", samples=2)).outputs["sample"]) == 2
    assert [event async for event in workflow.stream(topic="x", samples=2)]


def test_samples_that_were_stopped_go_on(scripted: Endpoint) -> None:
    scripted.follow(errors=[{"code": "ValidationException", "message": "no", "times": 1}])
    workflow = drafts(scripted, on_error="continue")
    with pytest.raises(WorkflowError) as caught:
        workflow.run(topic="x", samples=3)
    before = scripted.stats()["requests"]
    result = asyncio.run(workflow.resume(caught.value.result.run_id))
    assert scripted.stats()["requests"] == before + 1
    assert [sample["loud"] for sample in result.outputs["sample"]] == ["DRAFT X"] * 3


@pytest.mark.parametrize("samples", [0, -1, True, "3"])
def test_what_is_no_number_of_samples_is_refused(scripted: Endpoint, samples: Any) -> None:
    with pytest.raises(InputError, match="no number of samples"):
        drafts(scripted).run(topic="x", samples=samples)


def test_an_input_cannot_have_the_name_of_an_option() -> None:
    workflow = Workflow("names")
    workflow.add_step("s", lambda fresh: fresh)
    with pytest.raises(DefinitionError, match=r"\{fresh\} is an input of the run"):
        workflow.run(fresh=True)
