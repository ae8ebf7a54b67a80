"""What the engine costs a step, beside bare asyncio tasks in the same process: with and without the journal.

    make bench      or      python benchmarks/engine.py

Steps do nothing, so that what is measured is the engine. Times are the least of several rounds, in microseconds a step;
the ratio is to one asyncio task a step of the same round. The journal is a real file in a temporary folder.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping, Sequence

from agentflow import Workflow, WorkflowConfig

ROUNDS = 9
Graph = Mapping[int, Sequence[int]]  # step -> the steps it needs, in an order in which they can run


def chain(steps: int) -> Graph:
    """Return steps that need one another in a row."""
    return {step: [step - 1] if step else [] for step in range(steps)}


def fan(steps: int) -> Graph:
    """Return a step that all but the last need, and a last that needs all of those."""
    return {0: [], **{step: [0] for step in range(1, steps - 1)}, steps - 1: list(range(1, steps - 1))}


GRAPHS: Mapping[str, Graph] = {
    "chain of 100": chain(100),
    "chain of 1,000": chain(1_000),
    "chain of 10,000": chain(10_000),
    "fan of 100": fan(100),
    "fan of 1,000": fan(1_000),
    "fan of 10,000": fan(10_000),
}


def with_parameters(count: int) -> Callable[..., Awaitable[int]]:
    """Return a step that does nothing, with that many named parameters."""
    names = ", ".join(f"x{number}" for number in range(count))
    space: dict[str, Callable[..., Awaitable[int]]] = {}
    exec(f"async def nothing({names}):\n    return 1", space)  # noqa: S102 - the text is made here, of numbers only
    return space["nothing"]


def build(graph: Graph, *, journal: bool) -> Workflow:
    """Return a workflow of a graph's shape."""
    workflow = Workflow(WorkflowConfig(name="bench", journal=journal))
    functions = {count: with_parameters(count) for count in {len(needed) for needed in graph.values()}}
    for number, needed in graph.items():
        inputs = {f"x{place}": workflow.steps[f"s{before}"] for place, before in enumerate(needed)}
        workflow.add_step(f"s{number}", functions[len(needed)], inputs)
    return workflow


async def floor(graph: Graph) -> None:
    """Run a graph as one asyncio task a step."""
    tasks: dict[int, asyncio.Task[int]] = {}

    async def node(needed: Sequence[int]) -> int:
        return 1 + max([await tasks[before] for before in needed], default=0)

    for number, needed in graph.items():
        tasks[number] = asyncio.create_task(node(needed))
    await tasks[number]


async def microseconds(run: Callable[[], Awaitable[object]], steps: int) -> float:
    """Return what one run takes a step."""
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        await run()
        return (time.perf_counter() - began) / steps * 1e6
    finally:
        gc.enable()


async def compare(graph: Graph) -> dict[str, float]:
    """Return the least times of several rounds, in microseconds a step."""
    plain, journalled = build(graph, journal=False), build(graph, journal=True)
    runs: dict[str, Callable[[], Awaitable[object]]] = {
        "asyncio": lambda: floor(graph),
        "agentflow": plain.execute,
        "with the journal": journalled.execute,
    }
    for run in runs.values():
        await run()
    rounds = [{name: await microseconds(run, len(graph)) for name, run in runs.items()} for _ in range(ROUNDS)]
    return {name: min(figures[name] for figures in rounds) for name in runs}


async def peak_bytes(graph: Graph) -> float:
    """Return the memory at the peak of building and running, in bytes a step."""
    await build(chain(5), journal=False).execute()
    gc.collect()
    tracemalloc.start()
    await build(graph, journal=False).execute()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / len(graph)


async def main() -> None:
    """Print the table."""
    print(f"{'microseconds a step':<18} {'asyncio':>10} {'agentflow':>10} {'ratio':>7} {'journal adds':>13}")
    for name, graph in GRAPHS.items():
        least = await compare(graph)
        ratio = least["agentflow"] / least["asyncio"]
        more = least["with the journal"] - least["agentflow"]
        print(f"{name:<18} {least['asyncio']:>11.2f} {least['agentflow']:>10.2f} {ratio:>6.2f}x {more:>13.2f}")
    print(f"\nmemory at the peak, fan of 1,000: {await peak_bytes(fan(1_000)):,.0f} bytes a step")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["AGENTFLOW_HOME"] = folder
        asyncio.run(main())
