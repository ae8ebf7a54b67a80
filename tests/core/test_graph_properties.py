"""Any graph: its order, its cycles, and that the engine computes on it what a plain loop computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.graph import downstream_of, execution_order, find_cycles

Edges = dict[str, list[str]]


@st.composite
def acyclic(draw: st.DrawFn, largest: int = 14) -> Edges:
    """A graph whose steps need earlier ones, given in any order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, largest)))]
    edges = {
        name: draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=4)) if place else []
        for place, name in enumerate(names)
    }
    return {name: edges[name] for name in draw(st.permutations(names))}


def any_graph() -> st.SearchStrategy[Edges]:
    names = [f"s{number}" for number in range(7)]
    return st.fixed_dictionaries({name: st.lists(st.sampled_from(names), unique=True, max_size=3) for name in names})


@given(acyclic())
def test_each_step_stands_behind_those_it_needs(edges: Edges) -> None:
    order = execution_order(edges)
    assert sorted(order) == sorted(edges)
    for name, needed in edges.items():
        assert all(order.index(before) < order.index(name) for before in needed)
    assert find_cycles(edges) == []


@given(any_graph())
def test_a_cycle_is_a_path_along_edges_and_without_them_the_rest_has_an_order(edges: Edges) -> None:
    cycles = find_cycles(edges)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(before in edges[after] or after in edges[before] for before, after in pairwise(cycle))
    inside = {name for cycle in cycles for name in cycle}
    assert len(inside) == sum(len(cycle) - 1 for cycle in cycles)  # cycles share no step
    stuck = inside | downstream_of(inside, edges).keys()
    rest = {name: needed for name, needed in edges.items() if name not in stuck}
    assert sorted(execution_order(rest)) == sorted(rest)


def adding(names: list[str], own: int) -> Callable[..., Any]:
    """Return a step with these parameters that adds them up."""

    async def add(**values: int) -> int:
        if own % 3 == 0:
            await asyncio.sleep(0)
        return own + sum(values.values())

    add.__signature__ = _signature(names)  # type: ignore[attr-defined]
    return add


def _signature(names: list[str]) -> Any:
    import inspect

    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names])


@given(acyclic(), st.sampled_from([None, 1, 2]), st.booleans())
def test_the_engine_computes_what_a_plain_loop_computes(edges: Edges, limit: int | None, parallel: bool) -> None:
    config = WorkflowConfig(name="any", journal=False, max_concurrency=limit, enable_parallel=parallel)
    workflow = Workflow(config)
    for name, needed in edges.items():
        workflow.add_step(name, adding(needed, int(name[1:])))
    expected: dict[str, int] = {}
    for name in execution_order(edges):
        expected[name] = int(name[1:]) + sum(expected[before] for before in edges[name])
    assert dict(asyncio.run(workflow.execute()).outputs) == expected


@given(acyclic(), st.data())
def test_all_that_can_still_run_runs_after_failures_and_skips(edges: Edges, data: st.DataObject) -> None:
    failing = data.draw(st.sets(st.sampled_from(list(edges)), max_size=2))
    skipped = data.draw(st.sets(st.sampled_from(list(edges)), max_size=2)) - failing

    async def fail(**_values: int) -> int:
        raise ValueError("no")

    workflow = Workflow(WorkflowConfig(name="any", journal=False, on_error="continue"))
    for name, needed in edges.items():
        function = adding(needed, 1)
        if name in failing:
            function = fail
            function.__signature__ = _signature(needed)  # type: ignore[attr-defined]
        workflow.add_step(name, function, when=(lambda: False) if name in skipped else None)
    try:
        result = asyncio.run(workflow.execute())
    except WorkflowError as error:
        result = error.result
    expected: dict[str, str] = {}
    for name in execution_order(edges):
        before = {expected[needed] for needed in edges[name]}
        if before & {"failed", "not run"}:
            expected[name] = "not run"
        elif "skipped" in before or name in skipped:
            expected[name] = "skipped"
        else:
            expected[name] = "failed" if name in failing else "ok"
    assert {row.step: row.status.value for row in result.rows.values()} == expected
