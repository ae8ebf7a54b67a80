"""A gate lets so many in at once, and more or fewer once it is told so."""

from __future__ import annotations

import asyncio
import contextlib

from agentflow.core.gate import Gate


class Visitors:
    """Tasks that go in and stay until they are let out."""

    def __init__(self, gate: Gate, number: int) -> None:
        self.inside: list[int] = []
        self.out = [asyncio.Event() for _ in range(number)]
        self.tasks = [asyncio.create_task(self._visit(gate, position)) for position in range(number)]

    async def _visit(self, gate: Gate, position: int) -> None:
        async with gate:
            self.inside.append(position)
            await self.out[position].wait()
        self.inside.remove(position)

    async def settled(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.inside


async def test_it_lets_so_many_in_and_the_next_when_one_leaves() -> None:
    visitors = Visitors(Gate(2), 4)
    assert await visitors.settled() == [0, 1]
    visitors.out[0].set()
    assert await visitors.settled() == [1, 2]


async def test_a_higher_limit_lets_those_who_wait_in_and_a_lower_one_nobody_until_enough_have_left() -> None:
    gate = Gate(1)
    visitors = Visitors(gate, 6)
    assert await visitors.settled() == [0]
    gate.change(4)
    assert await visitors.settled() == [0, 1, 2, 3]
    gate.change(2)
    visitors.out[0].set()
    visitors.out[1].set()
    assert await visitors.settled() == [2, 3]
    visitors.out[2].set()
    assert await visitors.settled() == [3, 4]


async def test_who_gives_up_waiting_takes_no_place_also_where_the_turn_had_come() -> None:
    gate = Gate(1)
    visitors = Visitors(gate, 4)
    assert await visitors.settled() == [0]
    visitors.tasks[1].cancel()
    await visitors.settled()
    gate.change(2)  # the turn of the next one has come
    visitors.tasks[2].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await visitors.tasks[2]
    assert await visitors.settled() == [0, 3]


async def test_those_who_watch_are_told_of_the_limit() -> None:
    gate, told = Gate(1), list[int]()
    gate.watchers.append(told.append)
    gate.change(7)
    assert (told, gate.limit) == ([7], 7)
