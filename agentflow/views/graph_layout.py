"""Where the steps of a workflow stand when it is drawn: in levels, with few crossings. Plain geometry, no drawing.

A small layered layout (Sugiyama's): each step stands one level behind the last that it waits for, an edge over several
levels has a bend on each, and each level is sorted by where its neighbours stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentflow.core.graph import find_cycles

_SWEEPS = 6

Upstream = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class Layout:
    """Nodes in levels.

    Attributes
    ----------
    levels : the nodes of each level, in order.
    routes : edge -> the positions that it passes, as (level, place); a place may lie between two nodes.
    places : node -> (level, place).
    backward : the edges of cycles, which are drawn against the flow.
    """

    levels: Sequence[Sequence[str]]
    routes: Mapping[tuple[str, str], Sequence[tuple[int, float]]]
    places: Mapping[str, tuple[int, float]]
    backward: frozenset[tuple[str, str]]

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return len(self.levels)

    @property
    def breadth(self) -> float:
        """How much room the broadest level takes, a node taking 1."""
        return max((place for _, place in self._all_places()), default=0.0) + 1

    def _all_places(self) -> Iterable[tuple[int, float]]:
        yield from self.places.values()
        for route in self.routes.values():
            yield from route


def levels_of(upstream: Upstream) -> tuple[dict[str, int], frozenset[tuple[str, str]]]:
    """Return the level of each node, the first being 0, and the edges of cycles, which were left out.

    >>> levels_of({"a": [], "b": ["a"], "c": ["a", "b"]})[0]
    {'a': 0, 'b': 1, 'c': 2}
    """
    backward = _backward(upstream)
    users: dict[str, list[str]] = {node: [] for node in upstream}
    missing = {}
    for node, needed in upstream.items():
        forward = [name for name in needed if (name, node) not in backward]
        missing[node] = len(forward)
        for name in forward:
            users[name].append(node)
    level = dict.fromkeys(upstream, 0)
    ready = [node for node, count in missing.items() if count == 0]
    for node in ready:  # grows while it is gone through
        for user in users[node]:
            level[user] = max(level[user], level[node] + 1)
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    return level, backward


def _backward(upstream: Upstream) -> frozenset[tuple[str, str]]:
    """Return edges without which there is no cycle: the last of each cycle."""
    left = {node: set(needed) for node, needed in upstream.items()}
    found: set[tuple[str, str]] = set()
    while cycles := find_cycles(left):
        for cycle in cycles:  # each step needs the next one
            edge = cycle[-2], cycle[0]
            source, target = (edge[1], edge[0]) if edge[1] in left[edge[0]] else edge
            left[target].discard(source)
            found.add((source, target))
    return frozenset(found)


def layout(upstream: Upstream, *, early: Iterable[str] = ()) -> Layout:
    """Return where nodes stand.

    Parameters
    ----------
    upstream : node -> the nodes that it waits for, all of them nodes themselves.
    early : nodes without upstream that stand just before their first user, such as the inputs of a run.
    """
    level, backward = levels_of(upstream)
    for node in early:
        users = [level[user] for user, needed in upstream.items() if node in set(needed)]
        level[node] = max(min(users, default=1) - 1, 0)
    chains = {
        (name, node): _chain(name, node, level)
        for node, needed in upstream.items()
        for name in dict.fromkeys(needed)
        if (name, node) not in backward and name != node
    }
    rows: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for node, at in level.items():
        rows[at].append(node)
    for chain in chains.values():
        for bend, at in chain[1:-1]:
            rows[at].append(bend)
    links = [(one[0], other[0]) for chain in chains.values() for one, other in pairwise(chain)]
    _sort(rows, links)
    spots = _spots(rows, links)
    at_level = {name: index for index, row in enumerate(rows) for name in row}
    return Layout(
        [[name for name in row if name in upstream] for row in rows],
        {edge: [(at_level[name], spots[name]) for name, _ in chain] for edge, chain in chains.items()},
        {node: (level[node], spots[node]) for node in upstream},
        backward,
    )


def _chain(source: str, target: str, level: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return what an edge passes, a bend on each level between its ends; no step is called like a bend."""
    bends = [(f"\0{source}\0{target}\0{at}", at) for at in range(level[source] + 1, level[target])]
    return [(source, level[source]), *bends, (target, level[target])]


def _sort(rows: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    """Sort each level by the middle of its neighbours, downwards and upwards in turn."""
    before, after = _neighbours(links)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        beside = before if downwards else after
        for index in range(len(rows)) if downwards else reversed(range(len(rows))):
            row = rows[index]
            other = rows[index - 1] if downwards else rows[index + 1] if index + 1 < len(rows) else []
            spot = {name: place for place, name in enumerate(other if index or not downwards else [])}
            row.sort(key=_middle(beside, spot, {name: place for place, name in enumerate(row)}))


def _middle(
    beside: Mapping[str, Sequence[str]], spot: Mapping[str, float], own: Mapping[str, float]
) -> Callable[[str], float]:
    def key(name: str) -> float:
        places = [spot[other] for other in beside.get(name, ()) if other in spot]
        return sum(places) / len(places) if places else own[name]

    return key


def _neighbours(links: Iterable[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for one, other in links:
        after.setdefault(one, []).append(other)
        before.setdefault(other, []).append(one)
    return before, after


def _spots(rows: Sequence[Sequence[str]], links: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Return a place for each node and bend: near its neighbours, and at least 1 (a bend half) from the next one."""
    before, after = _neighbours(links)
    spots = {name: float(place) for row in rows for place, name in enumerate(row)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else list(reversed(rows)):
            beside = before if sweep % 2 == 0 else after
            wanted = [_middle(beside, spots, spots)(name) for name in row]
            _spread(row, wanted, spots)
    least = min(spots.values(), default=0.0)
    return {name: spot - least for name, spot in spots.items()}


def _spread(row: Sequence[str], wanted: Sequence[float], spots: dict[str, float]) -> None:
    """Place a level as near as possible to where its nodes are wanted, in its order: the mean of two greedy passes."""
    if not row:
        return
    rooms = [0.5 if name.startswith("\0") else 1.0 for name in row]
    gaps = [(one + other) / 2 for one, other in pairwise(rooms)]
    forward, backward = [wanted[0]], [wanted[-1]]
    for want, gap in zip(wanted[1:], gaps, strict=True):
        forward.append(max(want, forward[-1] + gap))
    for want, gap in zip(reversed(wanted[:-1]), reversed(gaps), strict=True):
        backward.append(min(want, backward[-1] - gap))
    for name, one, other in zip(row, forward, reversed(backward), strict=True):
        spots[name] = (one + other) / 2
