"""Pure functions over steps and the edges between them."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Collection, Iterable, Mapping


def find_cycles(upstream: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the cycles of a graph, each as a path that ends where it starts; of cycles that share a step only one.

    Parameters
    ----------
    upstream : step -> the steps it needs.

    Examples
    --------
    >>> find_cycles({"a": ["b"], "b": ["a"], "c": ["b"]})
    [['a', 'b', 'a']]
    """
    left = {step: set(needed) for step, needed in upstream.items()}
    cycles = []
    while True:
        try:
            graphlib.TopologicalSorter(left).prepare()
        except graphlib.CycleError as error:
            cycle = list(error.args[1])
            cycles.append(cycle)
            left = {step: needed.difference(cycle) for step, needed in left.items() if step not in cycle}
        else:
            return cycles


def downstream_of(steps: Iterable[str], upstream: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Return the steps that need one of some steps, directly or through others, each with the one that it needs.

    >>> downstream_of(["a"], {"a": [], "b": ["a"], "c": ["b"], "d": []})
    {'b': 'a', 'c': 'b'}
    """
    users: dict[str, list[str]] = {}
    for step, needed in upstream.items():
        for name in needed:
            users.setdefault(name, []).append(step)
    found: dict[str, str] = {}
    start = set(steps)
    waiting = list(start)
    while waiting:
        needed_step = waiting.pop()
        for user in users.get(needed_step, ()):
            if user not in found and user not in start:
                found[user] = needed_step
                waiting.append(user)
    return found


def execution_order(upstream: Mapping[str, Collection[str]]) -> list[str]:
    """Return the steps as they are given, but each behind those it needs. The graph has no cycle.

    Examples
    --------
    >>> execution_order({"reply": ["classify"], "classify": [], "log": []})
    ['classify', 'reply', 'log']
    """
    names = list(upstream)
    position = {name: index for index, name in enumerate(names)}
    users: list[list[int]] = [[] for _ in names]
    missing = [len(upstream[name]) for name in names]
    for index, name in enumerate(names):
        for needed in upstream[name]:
            users[position[needed]].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(names[index])
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return order
