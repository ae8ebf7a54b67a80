"""The thread pool: its width, and what becomes of calls that nobody waits for."""

import asyncio
import threading
from concurrent.futures import wait

import pytest

from agentflow.utils.threads import DaemonPool


def test_calls_run_on_as_many_threads_as_there_is_room_for() -> None:
    pool = DaemonPool(3, "test")
    barrier = threading.Barrier(3)
    futures = [pool.submit(barrier.wait, 5) for _ in range(9)]
    assert sorted(future.result(5) for future in futures) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_threads_are_used_again() -> None:
    pool = DaemonPool(8, "test")
    threads = {pool.submit(threading.get_ident).result(5) for _ in range(200)}
    assert len(threads) <= 2  # a thread may be handed work before it has said that it is idle


def test_an_error_belongs_to_the_caller() -> None:
    pool = DaemonPool(1, "test")
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(5)
    assert pool.submit(lambda: 1).result(5) == 1


async def test_an_abandoned_call_gives_its_place_to_new_work_at_once_and_still_ends() -> None:
    pool = DaemonPool(2, "test")
    release, ended = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        release.wait(10)
        ended.release()

    waiting = [asyncio.create_task(pool.run(hang)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    barrier = threading.Barrier(2)  # full width: two at once
    assert sorted(await asyncio.gather(*(pool.run(lambda: barrier.wait(5)) for _ in range(2)))) == [0, 1]
    release.set()
    assert all(ended.acquire(timeout=5) for _ in range(2))  # the two that were running; three never started
    assert not ended.acquire(timeout=0.05)


def test_a_storm_of_calls_and_cancels_loses_nothing() -> None:
    pool = DaemonPool(4, "test")
    futures = [pool.submit(sum, (number, 1)) for number in range(2000)]
    for future in futures[::3]:
        pool.abandon(future)
    wait(futures, timeout=10)
    assert all(future.cancelled() or future.result() == number + 1 for number, future in enumerate(futures))
    assert pool.submit(lambda: "alive").result(5) == "alive"
