"""Answers that are given again: from the store's cache, at the same time, and not where somebody asks afresh."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from tests.endpoint import Endpoint


def chain(endpoint: Endpoint, *prompts: str, cache: bool | str = True, **config: Any) -> Workflow:
    """Steps `s0`, `s1`, ... of which each has the output of the one before in its prompt."""
    workflow = Workflow(WorkflowConfig(name="chain", cache=cache, **config))
    client = BedrockClient(endpoint_url=endpoint.url)
    for number, text in enumerate(prompts):
        before = f" {{s{number - 1}}}" if number else " {text}"
        agent = SimpleAgent(AgentConfig(name=f"s{number}"), client, prompt_template=text + before)
        workflow.add_step(f"s{number}", agent)
    return workflow


def without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def requests(endpoint: Endpoint) -> int:
    count: int = endpoint.stats()["requests"]
    return count


def test_after_an_edit_of_one_of_five_steps_one_request_is_sent(scripted: Endpoint) -> None:
    scripted.follow(text="the same")
    chain(scripted, "a", "b", "c", "d", "e").run(text="x")
    before = requests(scripted)
    result = chain(scripted, "a", "b", "C", "d", "e").run(text="x")
    assert requests(scripted) == before + 1
    assert [row.cached for row in result.rows.values()] == [True, True, False, True, True]


def test_a_reused_answer_costs_nothing_and_says_what_it_saved_and_where_it_is_from(scripted: Endpoint) -> None:
    first = chain(scripted, "a").run(text="x")
    again = chain(scripted, "a").run(text="x")
    assert again.outputs == first.outputs
    row = again.rows["s0"]
    assert (row.cost_usd, row.bedrock_usd, row.saved_usd) == (Decimal(0), Decimal(0), first.bedrock_usd)
    assert again.usage.input_tokens == 0
    assert again.attempts == 0
    [reply] = row.replies
    assert reply.origin is not None
    assert (reply.origin.run_id, reply.origin.step) == (first.run_id, "s0")
    frame = again.to_frame()
    assert bool(frame.cached[0]) is True
    assert frame.saved_usd[0] == pytest.approx(float(first.bedrock_usd or 0))


def test_a_past_run_shows_its_reused_answers_like_the_fresh_one(scripted: Endpoint) -> None:
    chain(scripted, "a").run(text="x")
    again = chain(scripted, "a").run(text="x")
    past = agentflow.get_run(again.run_id)
    assert past.rows["s0"].replies == again.rows["s0"].replies
    times = ("started_at", "latency_ms")
    assert [without(record, *times) for record in past.records()] == [without(again.records()[0], *times)]
    assert agentflow.runs().bedrock_usd[0] == 0


def test_each_reuse_gives_objects_of_its_own(scripted: Endpoint) -> None:
    class Ticket(BaseModel):
        tags: list[str]

    scripted.follow(text='{"tags": ["a"]}')
    workflow = Workflow(WorkflowConfig(name="tickets", cache=True))
    config = AgentConfig(name="t", output_type=Ticket)
    workflow.add_step("t", SimpleAgent(config, BedrockClient(endpoint_url=scripted.url), prompt_template="?"))
    workflow.run().outputs["t"].tags.append("changed by a later step")
    assert workflow.run().outputs["t"].tags == ["a"]


@pytest.mark.parametrize("cache", [True, "answers.jsonl"])
def test_what_somebody_does_to_a_reply_is_not_in_the_next_one(scripted: Endpoint, cache: bool | str) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow(WorkflowConfig(name="changing", cache=cache))

    async def change() -> str:
        reply = await client.invoke("haiku", "as it was")
        block: Any = reply.content[0]
        before: str = block["text"]
        block["text"] = "changed"
        return before

    workflow.add_step("change", change)
    assert [workflow.run().outputs["change"] for _ in range(3)] == ["as it was"] * 3


def test_fresh_asks_again_and_the_new_answer_takes_the_place_of_the_old_one(scripted: Endpoint) -> None:
    workflow = chain(scripted, "a")
    scripted.follow(text="old")
    workflow.run(text="x")
    scripted.follow(text="new")
    assert workflow.run(text="x").outputs["s0"] == "old"
    assert workflow.run(text="x", fresh=True).outputs["s0"] == "new"
    assert workflow.run(text="x").outputs["s0"] == "new"


def test_without_the_cache_every_run_asks(scripted: Endpoint) -> None:
    workflow = chain(scripted, "a", cache=False)
    before = requests(scripted)
    workflow.run(text="x")
    workflow.run(text="x")
    assert requests(scripted) == before + 2


def test_the_environment_turns_it_on(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_CACHE", "1")
    assert WorkflowConfig(name="w").cache is True
    assert WorkflowConfig(name="w", cache=False).cache is False
    monkeypatch.setenv("AGENTFLOW_CACHE", "answers.jsonl")
    assert WorkflowConfig(name="w").cache == "answers.jsonl"


def test_it_works_without_a_journal(scripted: Endpoint) -> None:
    workflow = chain(scripted, "a", journal=False)
    workflow.run(text="x")
    before = requests(scripted)
    assert workflow.run(text="x").rows["s0"].cached
    assert requests(scripted) == before


@pytest.mark.parametrize(
    "change", [{"max_tokens": 7}, {"temperature": 0.5}, {"system": "Be brief."}, {"model_type": "sonnet"}]
)
def test_another_model_or_parameter_is_another_request(scripted: Endpoint, change: dict[str, Any]) -> None:
    def run(**config: Any) -> Any:
        workflow = Workflow(WorkflowConfig(name="w", cache=True))
        client = BedrockClient(endpoint_url=scripted.url)
        workflow.add_step("s", SimpleAgent(AgentConfig(name="s", **config), client, prompt_template="?"))
        return workflow.run().rows["s"].cached

    run()
    assert run() is True
    assert run(**change) is False


def test_the_region_makes_no_difference_but_the_endpoint_does(scripted: Endpoint) -> None:
    def run(region: str, url: str) -> Any:
        workflow = Workflow(WorkflowConfig(name="w", cache=True))
        client = BedrockClient(region, endpoint_url=url)
        workflow.add_step("s", SimpleAgent(AgentConfig(name="s"), client, prompt_template="?"))
        return workflow.run().rows["s"].cached

    run("us-east-1", scripted.url)
    assert run("eu-west-1", scripted.url) is True
    assert run("us-east-1", scripted.url.replace("127.0.0.1", "localhost")) is False


def test_equal_requests_at_the_same_time_are_sent_once(scripted: Endpoint) -> None:
    scripted.follow(text="x", latency_ms=100)
    workflow = Workflow(WorkflowConfig(name="w", cache=True))
    agent = SimpleAgent(AgentConfig(name="s"), BedrockClient(endpoint_url=scripted.url), prompt_template="{text}")
    workflow.add_step("s", agent, map_over="text")
    before = requests(scripted)
    result = workflow.run(text=["a", "b", "a", "a", "b"])
    assert requests(scripted) == before + 2
    assert sum(bool(item.cached) for item in result.rows["s"].items or ()) == 3
    assert result.bedrock_usd == sum((reply.bedrock_usd or 0 for reply in result.rows["s"].paid), Decimal(0))


async def test_where_the_one_that_asks_is_cancelled_another_does(scripted: Endpoint) -> None:
    scripted.follow(text="x", latency_ms=300)
    workflow = chain(scripted, "a")
    first = asyncio.create_task(workflow.execute(text="x"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(chain(scripted, "a").execute(text="x"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).outputs["s0"] == "x"


def test_an_answer_that_does_not_fit_is_not_given_again(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="w", cache=True))
    config = AgentConfig(name="s", output_type="urgent: bool")
    workflow.add_step("s", SimpleAgent(config, BedrockClient(endpoint_url=scripted.url), prompt_template="?"))
    scripted.follow(text='{"urgent": "perhaps"}')
    with pytest.raises(WorkflowError) as caught:
        workflow.run()
    assert caught.value.result.rows["s"].wasted_usd == caught.value.result.rows["s"].cost_usd
    scripted.follow(text='{"urgent": true}')
    assert workflow.run().outputs["s"].urgent is True


def test_a_failed_step_keeps_what_was_answered(scripted: Endpoint) -> None:
    workflow = chain(scripted, "a")

    def broken(s0: str) -> None:
        raise ValueError(s0)

    workflow.add_step("broken", broken)
    for _ in range(2):
        before = requests(scripted)
        with pytest.raises(WorkflowError) as caught:
            workflow.run(text="x")
    assert requests(scripted) == before
    assert caught.value.result.rows["s0"].cached


def test_the_inner_steps_of_a_workflow_reuse_too(scripted: Endpoint) -> None:
    outer = Workflow(WorkflowConfig(name="outer", cache=True))
    outer.add_step("sub", chain(scripted, "a", cache=False))
    outer.run(text="x")
    before = requests(scripted)
    assert outer.run(text="x").rows["sub"].cached
    assert requests(scripted) == before


def test_the_list_has_age_size_hits_and_dollars_and_can_be_pruned(scripted: Endpoint) -> None:
    workflow = chain(scripted, "first", "second")
    first = workflow.run(text="x")
    workflow.run(text="x")
    workflow.run(text="x")
    listed = agentflow.cache().set_index("step")
    assert list(listed.hits) == [2, 2]
    assert listed.saved_usd.sum() == pytest.approx(2 * float(first.bedrock_usd or 0))
    assert (listed.size_bytes > 100).all()
    assert listed.prompt["s0"] == "first x"
    assert listed.run_id["s0"] == first.run_id
    assert agentflow.prune_cache(unused_days=1) == 0
    assert agentflow.prune_cache(keys=[listed.key["s0"]]) == 1
    again = workflow.run(text="x")
    assert [row.cached for row in again.rows.values()] == [False, True]
    assert agentflow.prune_cache(unused_days=0) == 2
    with pytest.raises(ValueError, match="unused_days"):
        agentflow.prune_cache()


def test_a_resume_takes_answers_of_other_runs_from_the_cache(scripted: Endpoint, tmp_path: Path) -> None:
    flag = tmp_path / "go"

    def build() -> Workflow:
        workflow = chain(scripted, "a")
        workflow.add_step("gate", _gate, {"flag": str(flag)})
        agent = SimpleAgent(AgentConfig(name="z"), BedrockClient(endpoint_url=scripted.url), prompt_template="{gate}")
        workflow.add_step("z", agent)
        return workflow

    with pytest.raises(WorkflowError) as caught:
        build().run(text="x")
    flag.touch()
    build().run(text="y")  # pays for the answer to the prompt of `z`
    before = requests(scripted)
    result = asyncio.run(build().resume(caught.value.result.run_id))
    assert requests(scripted) == before
    assert result.rows["z"].cached


def _gate(s0: str, flag: str) -> str:
    if not Path(flag).exists():
        raise ValueError(flag)
    return "open"
