"""Budgets: nothing is sent that could pass one, also where many ask at once, and also after a restart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentflow
from agentflow import AgentConfig, BedrockClient, BudgetExceeded, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.budget import Budget, hold, spent_of
from agentflow.core.errors import DefinitionError, UnknownPriceError
from tests.endpoint import Endpoint

INPUT_USD, OUTPUT_USD = Decimal("1.1e-6"), Decimal("5.5e-6")  # of a token, `us.` Haiku 4.5


def many(endpoint: Endpoint, *, max_tokens: int = 50, connections: int = 10, **config: Any) -> Workflow:
    """A workflow that asks about each of its `items`."""
    workflow = Workflow(WorkflowConfig(name="many", **config))
    client = BedrockClient(endpoint_url=endpoint.url, max_connections=connections)
    agent = SimpleAgent(AgentConfig(name="s", max_tokens=max_tokens), client, prompt_template="{item}")
    workflow.add_step("s", agent, {"item": ["question"] * 60}, map_over="item")
    return workflow


def billed(endpoint: Endpoint) -> Decimal:
    """Return what the endpoint says that it has billed, at Bedrock's list price."""
    tokens = endpoint.stats()["billed"]
    amount: Decimal = tokens["input_tokens"] * INPUT_USD + tokens["output_tokens"] * OUTPUT_USD
    return amount


@pytest.mark.parametrize("connections", [1, 10, 60])
def test_what_is_billed_never_passes_the_budget_whatever_asks_at_once(scripted: Endpoint, connections: int) -> None:
    scripted.follow(text="a word or two of an answer", latency_ms=5)
    before = billed(scripted)
    with pytest.raises(BudgetExceeded) as caught:
        many(scripted, budget_usd="0.0015", connections=connections).run()
    spent, result = billed(scripted) - before, caught.value.result
    assert Decimal("0.0005") < spent <= Decimal("0.0015")
    assert result.status == "budget_exceeded"
    assert result.bedrock_usd == spent
    done = [item for item in result.rows["s"].items or () if item.status == "ok"]
    assert 0 < len(done) < 60
    assert all(item.output == "a word or two of an answer" for item in done)


def test_it_says_what_going_on_would_take_and_a_resume_counts_what_was_spent(scripted: Endpoint) -> None:
    workflow = many(scripted, budget_usd="0.0006")
    with pytest.raises(BudgetExceeded, match=r"To go on it has to be at least \$0.00\d\d") as caught:
        workflow.run()
    first = caught.value.result
    assert f"resume({first.run_id!r}, budget_usd=...)" in str(caught.value)
    assert agentflow.get_run(first.run_id).status == "budget_exceeded"
    with pytest.raises(BudgetExceeded) as again:
        asyncio.run(workflow.resume(first.run_id))
    assert again.value.spent_usd == first.bedrock_usd  # nothing more fits
    before = scripted.stats()["requests"]
    done = sum(item.status == "ok" for item in first.rows["s"].items or ())
    result = asyncio.run(workflow.resume(first.run_id, budget_usd=1))
    assert result.status == "ok"
    assert scripted.stats()["requests"] == before + 60 - done


def test_a_block_limits_all_that_is_called_in_it(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)

    async def ask() -> None:
        for _ in range(100):
            await client.invoke("haiku", "question", max_tokens=50)

    with agentflow.budget(0.0006) as limit, pytest.raises(BudgetExceeded):
        asyncio.run(ask())
    assert Decimal(0) < limit.spent_usd <= limit.limit_usd == Decimal("0.0006")
    with agentflow.budget(0.0006) as limit, pytest.raises(BudgetExceeded):
        many(scripted).run()
    assert limit.left_usd >= 0
    asyncio.run(client.invoke("haiku", "question", max_tokens=50))  # no budget any more


def test_of_two_budgets_the_smaller_one_holds(scripted: Endpoint) -> None:
    with agentflow.budget(1) as outer:
        with agentflow.budget("0.0006") as inner, pytest.raises(BudgetExceeded, match=r"\$0.0006 "):
            many(scripted, budget_usd=0.5).run()
        assert outer.spent_usd == inner.spent_usd > 0


def test_the_budget_of_an_inner_workflow_stops_the_outer_run(scripted: Endpoint) -> None:
    outer = Workflow(WorkflowConfig(name="outer"))
    outer.add_step("first", lambda: "kept")
    outer.add_step("sub", many(scripted, budget_usd=0.0006), depends_on="first")
    outer.add_step("never", lambda sub: sub)
    with pytest.raises(BudgetExceeded) as caught:
        outer.run()
    result = caught.value.result
    assert result.status == "budget_exceeded"
    assert result.outputs["first"] == "kept"
    assert [row.status.value for row in result.rows.values()] == ["ok", "cancelled", "not run"]


def test_a_call_whose_price_nobody_knows_is_refused_before_anything_is_paid(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="w", budget_usd=1))
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("known", SimpleAgent(AgentConfig(name="a"), client, prompt_template="?"))
    config = AgentConfig(name="b", model_type="some.unknown-model-v1:0")
    workflow.add_step("unknown", SimpleAgent(config, client, prompt_template="?"))
    before = scripted.stats()["requests"]
    with pytest.raises(UnknownPriceError, match=r"some\.unknown-model"):
        workflow.run()
    with agentflow.budget(1), pytest.raises(UnknownPriceError):
        asyncio.run(client.invoke("some.unknown-model-v1:0", "?"))
    assert scripted.stats()["requests"] == before


@pytest.mark.parametrize("usd", [0, -1, "x", float("nan"), float("inf"), True])
def test_what_is_no_amount_is_refused(usd: Any) -> None:
    with pytest.raises(DefinitionError):
        Budget(usd)
    if usd is not True:
        with pytest.raises(DefinitionError):
            WorkflowConfig(name="w", budget_usd=usd)


def test_a_request_that_was_refused_costs_nothing_of_the_budget(scripted: Endpoint) -> None:
    scripted.follow(errors=[{"code": "ValidationException", "message": "no", "times": 1}])
    client = BedrockClient(endpoint_url=scripted.url)
    with agentflow.budget(1) as limit:
        with pytest.raises(agentflow.AgentFlowError):
            asyncio.run(client.invoke("haiku", "?", max_tokens=10))
        assert limit.spent_usd == 0


def test_a_call_that_was_given_up_counts_once_it_is_answered(scripted: Endpoint) -> None:
    scripted.follow(text="late", latency_ms=200)
    client = BedrockClient(endpoint_url=scripted.url)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.invoke("haiku", "?", max_tokens=10), 0.1)
        with pytest.raises(BudgetExceeded):  # what was given up is held back
            await client.invoke("haiku", "?", max_tokens=10_000)
        await asyncio.sleep(0.4)

    with agentflow.budget("0.01") as limit:
        asyncio.run(give_up())
    assert Decimal(0) < limit.spent_usd < Decimal("0.0001")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100)), min_size=1, max_size=40), st.integers(1, 200))
def test_threads_that_hold_and_settle_never_pass_the_limit(calls: list[tuple[int, int]], limit: int) -> None:
    budget = Budget(limit)
    refused: list[int] = []

    def call(most: int, percent: int) -> None:
        try:
            held = hold([budget], Decimal(most), "a model")
        except BudgetExceeded:
            refused.append(most)
        else:
            held.settle(Decimal(most * percent) / 100)

    threads = [threading.Thread(target=call, args=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert 0 <= budget.spent_usd <= limit
    assert all(budget.spent_usd + most > limit for most in refused)


KILLED = """
import os, sys, time
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
workflow = Workflow(WorkflowConfig(name="killed", budget_usd=1))
client = BedrockClient(endpoint_url=sys.argv[1], max_connections=2)
agent = SimpleAgent(AgentConfig(name="s", max_tokens=50), client, prompt_template="{item}")
workflow.add_step("s", agent, {"item": ["a", "b", "c", "d"]}, map_over="item")
workflow.start()
while True:
    time.sleep(0.05)
    rows = workflow.last_result.rows
    items = (rows["s"].items if rows else None) or []
    if sum(item.status == "ok" for item in items) == 2 == sum(bool(item.own_pending) for item in items):
        break
time.sleep(0.1)  # they were sent
print(workflow.last_result.run_id, flush=True)
os._exit(9)
"""


def test_requests_that_were_on_their_way_when_the_process_died_count_as_spent(scripted: Endpoint) -> None:
    scripted.follow(text="answer", latency_ms=1000)
    command = [sys.executable, "-c", KILLED, scripted.url]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    run_id = ended.stdout.strip()
    past = agentflow.get_run(run_id)
    assert past.status == "interrupted"
    on_their_way = [item for item in past.rows["s"].items or () if item.own_pending]
    assert len(on_their_way) == 2
    assert past.uncertain_usd == sum((item.uncertain_usd or 0 for item in on_their_way), Decimal(0)) > 0
    assert past.rows["s"].wasted_usd is None  # nobody knows
    workflow = Workflow(WorkflowConfig(name="killed", budget_usd=past.uncertain_usd))
    client = BedrockClient(endpoint_url=scripted.url)
    agent = SimpleAgent(AgentConfig(name="s", max_tokens=50), client, prompt_template="{item}")
    workflow.add_step("s", agent, {"item": ["a", "b", "c", "d"]}, map_over="item")
    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(workflow.resume(run_id))
    assert caught.value.spent_usd == spent_of(past)
    assert asyncio.run(workflow.resume(run_id, budget_usd=1)).status == "ok"
