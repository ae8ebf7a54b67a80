"""The limiter: turns between runs, connections, quotas, cancellation; and a client that is throttled, over the wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentflow import AgentConfig, BedrockClient, Quota, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import DefinitionError, InvalidRequestError, StepTimeoutError, ThrottledError
from agentflow.core.events import StepScope
from agentflow.core.model import Usage
from agentflow.models.limiting.lane import DAILY_REST_SECONDS, Asked, Lane, LaneKey
from agentflow.models.limiting.lanes import lanes
from tests.endpoint import Endpoint

KEY = LaneKey("default", None, "us-east-1", "model")
THROTTLED = {"code": "ThrottlingException", "message": "Too many requests, please wait before trying again."}


def scope(run_id: str) -> StepScope:
    run = SimpleNamespace(parent=None, prefix="", result=SimpleNamespace(run_id=run_id))
    return StepScope("step", None, cast("Any", run))


def asked(
    run_id: str | None = None, *, tokens: int = 100, connections: int = 1, deadline: float | None = None
) -> Asked:
    return Asked(scope(run_id) if run_id else None, tokens, 0, connections, deadline)


def is_idle(lane: Lane) -> bool:
    return (lane.in_flight, lane.waiting, lane.reserved_tokens, len(lane._lines)) == (0, 0, 0, 0)


async def take(lane: Lane, what: Asked, note: Callable[[], None] = lambda: None) -> None:
    async with lane.turn(what) as turn:
        turn.sending()
        note()
        await asyncio.sleep(0)
        turn.answered(Usage(10, 5), None)


async def test_runs_take_turns_whoever_came_first() -> None:
    lane, order = Lane(KEY), list[str]()
    async with lane.turn(asked("a")):
        calls = [asyncio.create_task(take(lane, asked(run), lambda run=run: order.append(run))) for run in "aaaabb"]  # type: ignore[misc]
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    assert "".join(order) == "ababaa"
    assert is_idle(lane)


async def test_no_more_are_in_flight_than_there_are_connections() -> None:
    lane, most = Lane(KEY), 0

    def note() -> None:
        nonlocal most
        most = max(most, lane.in_flight)

    await asyncio.gather(*(take(lane, asked(connections=3), note) for _ in range(20)))
    assert most == 3
    assert is_idle(lane)


async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    lane = Lane(KEY)
    lane.know(Quota(requests_per_minute=60), "given")
    calls = [asyncio.create_task(take(lane, asked(run, connections=50))) for run in "abc" * 20]
    await asyncio.sleep(0.01)
    assert lane.waiting > 50
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert is_idle(lane)


async def test_a_turn_that_comes_with_the_cancellation_is_given_back() -> None:
    lane = Lane(KEY)
    async with lane.turn(asked()):
        call = asyncio.create_task(take(lane, asked()))
        await asyncio.sleep(0)
    call.cancel()  # its turn has come, and it has not seen it yet
    await asyncio.gather(call, return_exceptions=True)
    assert is_idle(lane)


async def test_a_request_that_was_never_sent_gives_all_back() -> None:
    lane = Lane(KEY)
    lane.know(Quota(tokens_per_minute=6_000), "given")
    before = lane.headroom_tokens()
    async with lane.turn(asked(tokens=5_000)):
        assert lane.reserved_tokens == 5_000
        assert lane.headroom_tokens() == pytest.approx(1_000, abs=50)
    assert lane.headroom_tokens() == pytest.approx(before, abs=50)


async def test_an_answer_is_settled_at_input_cache_writes_and_burndown() -> None:
    """The example of the User Guide, "Token burndown": 3,000 + 1,000 + 1,000 x 5 = 9,000 of 36,000 reserved."""
    lane = Lane(KEY, burndown=5)
    lane.know(Quota(tokens_per_minute=60_000), "given")
    async with lane.turn(Asked(None, 4_000, 32_000, 1)) as turn:
        turn.sending()
        assert lane.headroom_tokens() == pytest.approx(24_000, abs=500)
        turn.answered(Usage(3_000, 1_000, cache_read_tokens=4_000, cache_write_tokens=1_000), None)
    assert lane.headroom_tokens() == pytest.approx(51_000, abs=500)
    assert lane.used_last_minute() == 9_000


async def test_answers_may_take_more_than_was_reserved_and_others_wait_for_it() -> None:
    clock = [0.0]
    lane = Lane(KEY, burndown=15, clock=lambda: clock[0])
    lane.know(Quota(tokens_per_minute=6_000), "given")
    async with lane.turn(Asked(None, 0, 1_000, 9)) as turn:
        turn.sending()
        turn.answered(Usage(0, 1_000), None)
    assert lane.headroom_tokens() == 6_000 - 15_000
    assert not lane.has_room(1)
    clock[0] = 91.0
    assert lane.has_room(1)


async def test_an_answer_to_a_wait_that_was_given_up_is_settled_when_it_comes() -> None:
    lane = Lane(KEY)
    async with lane.turn(asked()) as turn:
        turn.sending()
    assert (lane.in_flight, lane.reserved_tokens) == (0, 100)
    turn.answered(Usage(10, 5), None)
    assert is_idle(lane)


async def test_the_deadline_ends_a_wait_for_the_quota() -> None:
    lane = Lane(KEY)
    lane.know(Quota(requests_per_minute=1), "given")
    await take(lane, asked(connections=9))
    with pytest.raises(ThrottledError, match="had no room for the call in 0 s"):
        await take(lane, asked(connections=9, deadline=lane._clock() + 0.05))
    assert is_idle(lane)


async def test_a_request_that_is_larger_than_the_quota_of_a_minute_is_refused_at_once(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(tokens_per_minute=1_000)})
    with pytest.raises(InvalidRequestError, match=r"max_tokens=5,000 and about .* 1,000 tokens a minute") as error:
        await client.invoke("haiku", "x", max_tokens=5_000)
    assert "Lower max_tokens to 989" in str(error.value)
    [lane] = lanes.all()
    assert is_idle(lane)
    assert lane.used_last_minute() == 0
    assert not lane.has_room(5_000)


async def test_a_turn_that_gives_way_waits_for_a_connection_and_never_for_the_quota() -> None:
    lane = Lane(KEY)
    lane.know(Quota(tokens_per_minute=250), "given")
    first, second, third = (lane.turn(asked()._replace(gives_way=True)) for _ in range(3))
    await first.__aenter__()
    first.sending()
    waiting = [asyncio.create_task(turn.__aenter__()) for turn in (second, third)]
    await asyncio.sleep(0)
    assert lane.waiting == 2
    await first.__aexit__()
    await waiting[0]
    second.sending()
    await second.__aexit__()
    with pytest.raises(ThrottledError, match="has no room"):
        await waiting[1]
    with pytest.raises(ThrottledError, match="has no room"):
        await lane.turn(asked()._replace(gives_way=True)).__aenter__()
    assert (lane.in_flight, lane.waiting) == (0, 0)


async def test_a_daily_quota_that_is_used_up_has_no_room_until_one_request_probes_it() -> None:
    clock = [0.0]
    lane = Lane(KEY, clock=lambda: clock[0])
    async with lane.turn(asked()) as turn:
        turn.sending()
        turn.used_up()
    assert lane.is_used_up
    assert not lane.has_room(1)
    clock[0] = DAILY_REST_SECONDS
    assert lane.has_room(1)
    async with lane.turn(asked()) as probe:
        assert not lane.has_room(1)
        probe.sending()
        probe.answered(Usage(10, 5), None)
    assert lane.has_room(1)


def test_threads_with_loops_of_their_own_share_a_lane() -> None:
    lane, most = Lane(KEY), 0

    def note() -> None:
        nonlocal most
        most = max(most, lane.in_flight)

    async def many() -> None:
        await asyncio.gather(*(take(lane, asked(connections=2), note) for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most <= 2
    assert is_idle(lane)


def test_a_loop_that_was_closed_holds_nobody_up() -> None:
    lane = Lane(KEY)
    loop = asyncio.new_event_loop()
    held = lane.turn(asked())
    loop.run_until_complete(held.__aenter__())
    loop.create_task(take(lane, asked("gone")))  # noqa: RUF006 - it is lost on purpose
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def here() -> None:
        waiting = asyncio.create_task(take(lane, asked("here")))
        await asyncio.sleep(0)
        await held.__aexit__()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(here())
    assert is_idle(lane)


def test_a_loop_that_stands_still_holds_nobody_up_and_has_its_turn_when_it_goes_on() -> None:
    lane = Lane(KEY)
    lane.know(Quota(requests_per_minute=1_200), "given")
    loop = asyncio.new_event_loop()
    held = lane.turn(asked(connections=1))
    loop.run_until_complete(held.__aenter__())
    held.sending()
    left = [loop.create_task(take(lane, asked(connections=1))) for _ in range(3)]
    loop.run_until_complete(asyncio.sleep(0))
    held.answered(Usage(10, 5), None)  # on its thread

    async def here() -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*(take(lane, asked(connections=1)) for _ in range(4)))

    asyncio.run(here())
    assert (lane.in_flight, lane.waiting) == (0, 3)
    loop.run_until_complete(asyncio.wait_for(asyncio.gather(*left), 5))
    loop.close()
    assert is_idle(lane)


async def test_what_somebody_gave_is_not_replaced_by_service_quotas() -> None:
    lane = Lane(KEY)
    lane.know(Quota(tokens_per_minute=600), "given")
    lane.know(Quota(tokens_per_minute=60_000), "Service Quotas")
    assert (lane.tokens.known, lane.source) == (10, "given")


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan"), True])
def test_a_quota_is_a_number_above_0(number: float) -> None:
    with pytest.raises(DefinitionError, match="per minute is none"):
        Quota(tokens_per_minute=number)


# Over the wire


async def test_many_calls_that_are_throttled_at_first_all_come_through(scripted: Endpoint) -> None:
    scripted.follow(text="done", errors=[{**THROTTLED, "times": 3}])
    client = BedrockClient(endpoint_url=scripted.url, max_connections=20)
    replies = await asyncio.gather(*(client.invoke("haiku", f"{number}") for number in range(20)))
    assert sum(len(reply.attempts) for reply in replies) == 23
    [row] = client.quota().rows
    assert (row["throttled"], row["source"], row["waiting"], row["reserved_tokens"]) == (3, "learned", 0, 0)


async def test_the_wait_for_a_quota_is_queue_and_never_latency(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(requests_per_minute=120)})
    replies = await asyncio.gather(*(client.invoke("haiku", "x") for _ in range(3)))
    assert max(reply.queue_ms for reply in replies) > 400
    assert min(reply.queue_ms for reply in replies) < 400
    assert all(reply.retry_wait_ms == 0 for reply in replies)


async def test_waiting_for_a_quota_is_no_part_of_a_steps_time(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(requests_per_minute=60)})
    workflow = Workflow("patient")
    agent = SimpleAgent(AgentConfig(name="a"), client, prompt_template="{numbers}")
    workflow.add_step("ask", agent, map_over="numbers", timeout_seconds=0.9)
    result = await workflow.execute(numbers=[1, 2, 3])
    assert result.status == "ok"
    assert result.duration_ms > 1_500


async def test_the_time_of_a_step_goes_on_after_the_wait(scripted: Endpoint) -> None:
    scripted.follow(text="late", latency_ms=3_000)
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(requests_per_minute=100)})
    workflow = Workflow(WorkflowConfig(name="slow", on_error="fail"))
    agent = SimpleAgent(AgentConfig(name="a"), client, prompt_template="{numbers}")
    workflow.add_step("ask", agent, map_over="numbers", timeout_seconds=0.3)
    with pytest.raises(WorkflowError) as error:
        await workflow.execute(numbers=[1, 2])
    failures = [row.error for row in error.value.result.rows["ask"].items or ()]
    assert any(isinstance(failure, StepTimeoutError) for failure in failures)


async def test_the_report_names_the_step_whose_max_tokens_wastes_most(scripted: Endpoint) -> None:
    scripted.follow(text="one two three four")
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(tokens_per_minute=1_000_000)})
    assert repr(client.quota()) == "Nothing was asked yet."
    workflow = Workflow("wasteful")
    for name, most in (("modest", 16), ("greedy", 4_000)):
        workflow.add_step(name, SimpleAgent(AgentConfig(name=name, max_tokens=most), client, prompt_template="x"))
    await workflow.execute()
    report = client.quota()
    [row] = report.rows
    assert (row["wasteful_step"], row["max_tokens"], row["advised_max_tokens"]) == ("greedy", 4_000, 16)
    assert row["used_tokens"] == 2 * (4 + 5 * 4)  # four tokens in, and four out at the burndown of Haiku
    assert "16 would do, not 4,000" in repr(report)
    frame = report.to_frame()
    assert list(frame["tokens_per_minute"]) == [1_000_000]
    assert frame.attrs["units"]["queued_ms"] == "ms"
    assert "greedy" in report._repr_html_()


async def test_clients_of_one_account_and_region_share_a_lane(scripted: Endpoint) -> None:
    for _ in range(2):
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x")
    await BedrockClient("eu-west-1", endpoint_url=scripted.url).invoke("haiku", "x")
    assert len(lanes.all()) == 2


async def test_a_run_that_is_interrupted_while_it_waits_leaves_no_one_in_the_lane(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url, quotas={"haiku": Quota(requests_per_minute=6)})
    workflow = Workflow(WorkflowConfig(name="cut off", timeout_seconds=0.5))
    agent = SimpleAgent(AgentConfig(name="a"), client, prompt_template="{numbers}")
    workflow.add_step("ask", agent, map_over="numbers")
    with pytest.raises(WorkflowError, match="longer than its"):
        await workflow.execute(numbers=list(range(20)))
    [lane] = lanes.all()
    assert (lane.waiting, lane.in_flight) == (0, 0)
