"""A workflow's graph as an SVG of its own: opaque, without scripts and ids, the same bytes for the same workflow.

It is shown as an image, which JupyterLab keeps in a notebook that is not trusted, beside a table that says the same.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentflow.core.overview import Overview
from agentflow.core.step_overview import Edge, StepOverview
from agentflow.views.format import MARKS, plural
from agentflow.views.graph_layout import Layout, layout, levels_of
from agentflow.views.html_parts import safe
from agentflow.views.outputs import clip, columns, one_line
from agentflow.views.workflow_words import MISSING, model_word, state_word

MOST_NODES = 60  # of more steps, levels are drawn
_MOST_BOXES = 24  # of levels
_MOST_INPUTS = 12
_LEAST_SHOWN = 0.7  # of its size
_ROOM_FOR_COUNT = 44  # pixels of a bar
_WIDTH, _HEIGHT, _GAP_ALONG, _GAP_ACROSS, _EDGE = 172, 46, 56, 20, 22
_LONGEST_ACROSS = 1_000  # pixels of a page; what is longer is drawn from top to bottom
_NAME_COLUMNS, _MODEL_COLUMNS, _INPUT_COLUMNS = 15, 19, 20
_GROUND, _NODE, _LINE, _INK, _PALE = "#f4f6f9", "#ffffff", "#6b7686", "#1c2430", "#525d6b"
_INPUT = "#e3e8ef"
_WRONG = MARKS["failed"].colour
_DASHES: Mapping[Edge, str] = {"optional": "6 4", "after": "1.5 4", "when": ""}
_FONT = "font-family='system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG with its size in pixels, and what it shows in words."""

    svg: str
    width: int
    height: int
    alt: str

    def image(self) -> str:
        """Return it as an HTML image that needs no other file."""
        source = base64.b64encode(self.svg.encode()).decode()
        least = round(self.width * _LEAST_SHOWN)  # smaller, nobody could read it: the page scrolls it
        look = f"display:block;width:{self.width}px;min-width:{least}px;max-width:100%;height:auto;margin:0"
        return f'<img src="data:image/svg+xml;base64,{source}" alt="{safe(self.alt)}" style="{look}">'


def draw(overview: Overview) -> Drawing:
    """Draw a workflow that has steps: each of them, or of very many its levels."""
    return _draw_steps(overview) if len(overview.steps) <= MOST_NODES else _draw_levels(overview)


def edge_kinds(overview: Overview) -> set[Edge]:
    """Return the kinds of edges that a drawing has."""
    if len(overview.steps) > MOST_NODES:
        return {"uses"}
    return {kind for step in overview.steps for kind in step.upstream.values()}


def groups_of_levels(overview: Overview) -> Mapping[str, Sequence[StepOverview]]:
    """Return the steps by the name of their level, neighbouring levels together where there are very many."""
    known = {step.step for step in overview.steps}
    level, _ = levels_of({step.step: [name for name in step.upstream if name in known] for step in overview.steps})
    depth = max(level.values(), default=0) + 1
    size = math.ceil(depth / _MOST_BOXES)
    firsts = range(1, depth + 1, size)
    names = [f"level {first}" if size == 1 else f"levels {first}-{min(first + size - 1, depth)}" for first in firsts]
    groups: dict[str, list[StepOverview]] = {name: [] for name in names}
    for step in overview.steps:
        groups[names[level[step.step] // size]].append(step)
    return groups


def _draw_steps(overview: Overview) -> Drawing:
    steps = {step.step: step for step in overview.steps}
    inputs = _input_nodes(overview)
    lost = {name: None for step in overview.steps for name in step.upstream if name not in steps}
    upstream: dict[str, list[str]] = {**{name: [] for name in lost}, **{key: [] for key in inputs}}
    for step in overview.steps:
        upstream[step.step] = [*step.upstream, *(key for key, name in inputs.items() if name in step.inputs)]
    placed = layout(upstream, early=inputs)
    canvas = _Canvas(placed)
    kinds = {(name, step.step): kind for step in overview.steps for name, kind in step.upstream.items()}
    shapes = [canvas.edge(edge, kinds.get(edge, "uses"), is_input=edge[0] in inputs) for edge in placed.routes]
    shapes += [canvas.loop(*edge) for edge in sorted(placed.backward)]
    shapes += [canvas.pill(key, name) for key, name in inputs.items()]
    shapes += [canvas.ghost(name) for name in lost]
    shapes += [canvas.node(step) for step in overview.steps]
    return canvas.drawing(shapes, _told(overview))


def _input_nodes(overview: Overview) -> dict[str, str]:
    """Return the inputs of the run that are drawn, by a key that no step has."""
    names = list(overview.inputs) if len(overview.inputs) <= _MOST_INPUTS else []
    return {f"\1{name}": name for name in names}


def _told(overview: Overview) -> str:
    """Return a drawing in words, for those who do not see it."""
    told = []
    for step in overview.steps[:20]:
        uses = ", ".join(one_line(name, 40) for name in (*step.upstream, *step.inputs)[:6])
        told.append(f"{one_line(step.step, 40)} ({state_word(step)})" + (f" uses {uses}" if uses else ""))
    more = len(overview.steps) - len(told)
    return f"Graph of {plural(len(overview.steps), 'step')}: {'; '.join(told)}" + (
        f"; {more:,} more." if more > 0 else "."
    )


class _Canvas:
    """Turns places of a layout into pixels: from left to right, or downwards where that would be too long."""

    def __init__(self, placed: Layout) -> None:
        self._placed = placed
        length = placed.depth * _WIDTH + (placed.depth - 1) * _GAP_ALONG + 2 * _EDGE
        breadth = placed.breadth * (_WIDTH + _GAP_ACROSS) + 2 * _EDGE
        self._is_across = length <= _LONGEST_ACROSS or breadth > length
        if self._is_across:
            self._along, self._side = _WIDTH + _GAP_ALONG, _HEIGHT + _GAP_ACROSS
        else:
            self._along, self._side = _HEIGHT + _GAP_ALONG - 14, _WIDTH + _GAP_ACROSS
        self._room = 34 if placed.backward else 0  # for the edges of cycles, which go around

    def _corner(self, place: tuple[int, float]) -> Point:
        along, side = _EDGE + place[0] * self._along, _EDGE + place[1] * self._side
        return (along, side) if self._is_across else (side, along)

    def drawing(self, shapes: Iterable[str], alt: str) -> Drawing:
        corners = [self._corner(place) for place in self._placed.places.values()]
        corners += [self._corner(place) for route in self._placed.routes.values() for place in route]
        width = max(x for x, _ in corners) + _WIDTH + _EDGE + 6 + (0 if self._is_across else self._room)
        height = max(y for _, y in corners) + _HEIGHT + _EDGE + 6 + (self._room if self._is_across else 0)
        return _drawing(shapes, width, height, alt)

    def edge(self, edge: tuple[str, str], kind: Edge, *, is_input: bool) -> str:
        route = self._placed.routes[edge]
        points: list[Point] = []
        for index, place in enumerate(route):
            x, y = self._corner(place)
            middle = (y + _HEIGHT / 2) if self._is_across else (x + _WIDTH / 2)
            start, end = (x, x + _WIDTH) if self._is_across else (y, y + _HEIGHT)
            stops = [end] if index == 0 else [start - 7] if index == len(route) - 1 else [start, end]
            points += [(stop, middle) if self._is_across else (middle, stop) for stop in stops]
        path = _curve(points, is_across=self._is_across)
        dash = _DASHES.get(kind, "")
        look = f"fill='none' stroke='{_LINE}' stroke-width='{1.2 if is_input else 1.6}'"
        look += f" stroke-dasharray='{dash}' stroke-linecap='round'" if dash else ""
        diamond = _diamond(points[0], is_across=self._is_across) if kind == "when" else ""
        return f"<path d='{path}' {look}/>{_arrow(points[-1], is_across=self._is_across)}{diamond}"

    def loop(self, source: str, target: str) -> str:
        """Return an edge against the flow, around the boxes."""
        (x1, y1), (x2, y2) = self._corner(self._placed.places[source]), self._corner(self._placed.places[target])
        if self._is_across:
            low = max(y1, y2) + _HEIGHT + 30
            x1, x2 = x1 + _WIDTH * 0.7, x2 + _WIDTH * 0.3
            path = (
                f"M{_n(x1)},{_n(y1 + _HEIGHT)} C{_n(x1)},{_n(low)} {_n(x2)},{_n(low)} {_n(x2)},{_n(y2 + _HEIGHT + 7)}"
            )
            tip, turned = (x2, y2 + _HEIGHT + 7), 270
        else:
            right = max(x1, x2) + _WIDTH + 30
            y1, y2 = y1 + _HEIGHT * 0.7, y2 + _HEIGHT * 0.3
            path = (
                f"M{_n(x1 + _WIDTH)},{_n(y1)} C{_n(right)},{_n(y1)} {_n(right)},{_n(y2)} {_n(x2 + _WIDTH + 7)},{_n(y2)}"
            )
            tip, turned = (x2 + _WIDTH + 7, y2), 180
        head = _head(tip, turned, _WRONG)
        return f"<path d='{path}' fill='none' stroke='{_WRONG}' stroke-width='1.8' stroke-dasharray='5 4'/>{head}"

    def node(self, step: StepOverview) -> str:
        x, y = self._corner(self._placed.places[step.step])
        mark = MARKS[step.state]
        behind = ""
        if step.map_over or step.kind in {"workflow", "rows"}:  # it stands for several
            behind = _box(x + 5, y + 5, f"fill='{_NODE}' stroke='{_LINE}' stroke-width='1'")
        dash = " stroke-dasharray='5 3'" if step.is_conditional else ""
        frame = _box(x, y, f"fill='{_NODE}' stroke='{mark.colour}' stroke-width='1.4'{dash}")
        disc = f"<circle cx='{_n(x + 18)}' cy='{_n(y + _HEIGHT / 2)}' r='9' fill='{mark.colour}'/>"
        sign = _text(mark.symbol, x + 18, y + _HEIGHT / 2 + 4, size=11, colour="#ffffff", anchor="middle")
        name = _text(clip(one_line(step.step, 60), _NAME_COLUMNS), x + 34, y + 20, size=13, weight=600)
        model = _text(clip(model_word(step), _MODEL_COLUMNS), x + 34, y + 36, size=11, colour=_PALE)
        return behind + frame + disc + sign + name + model

    def ghost(self, name: str) -> str:
        """Return a step that others need and the workflow does not have."""
        x, y = self._corner(self._placed.places[name])
        frame = _box(x, y, f"fill='{_GROUND}' stroke='{_WRONG}' stroke-width='1.4' stroke-dasharray='4 4'")
        told = _text(clip(one_line(name, 60), _NAME_COLUMNS), x + 14, y + 20, size=13, weight=600, colour=_WRONG)
        return frame + told + _text(MISSING, x + 14, y + 36, size=11, colour=_WRONG)

    def pill(self, key: str, name: str) -> str:
        """Return an input of the run, at the side of its box where its edges leave."""
        x, y = self._corner(self._placed.places[key])
        shown = clip(one_line(name, 60), _INPUT_COLUMNS)
        width = min(7.0 * columns(shown) + 28, _WIDTH)
        left, top = (x + _WIDTH - width, y + 11) if self._is_across else (x + (_WIDTH - width) / 2, y + _HEIGHT - 24)
        look = f"height='24' rx='12' fill='{_INPUT}' stroke='{_LINE}' stroke-width='1'"
        frame = f"<rect x='{_n(left)}' y='{_n(top)}' width='{_n(width)}' {look}/>"
        return frame + _text(shown, left + width / 2, top + 16, size=12, anchor="middle")


def _draw_levels(overview: Overview) -> Drawing:
    """Draw groups of levels, each as a bar of its states."""
    groups = groups_of_levels(overview)
    bar, row = 560, 30
    most = max(len(group) for group in groups.values())
    shapes = []
    for index, (name, group) in enumerate(groups.items()):
        top = _EDGE + index * row
        shapes.append(_text(name, _EDGE, top + 15, size=12, weight=600))
        left = _EDGE + 110.0
        for state, count in sorted(Counter(step.state for step in group).items()):
            width = max(count / most * bar, 3.0)
            look = f"height='18' rx='3' fill='{MARKS[state].colour}'"
            shapes.append(f"<rect x='{_n(left)}' y='{_n(top + 2)}' width='{_n(width)}' {look}/>")
            if width > _ROOM_FOR_COUNT:
                sign = f"{MARKS[state].symbol} {count:,}"
                shapes.append(_text(sign, left + width / 2, top + 15, size=11, colour="#ffffff", anchor="middle"))
            left += width + 1.5
        shapes.append(_text(plural(len(group), "step"), left + 8, top + 15, size=12, colour=_PALE))
    counted = ", ".join(plural(len(group), "step") for group in groups.values())
    alt = f"Graph of {plural(len(overview.steps), 'step')} by level, from first to last: {counted}."
    return _drawing(shapes, _EDGE * 2 + 110 + bar + 110, _EDGE * 2 + len(groups) * row - 6, alt)


def _drawing(shapes: Iterable[str], width: float, height: float, alt: str) -> Drawing:
    wide, high = math.ceil(width), math.ceil(height)
    ground = f"<rect width='{wide}' height='{high}' rx='8' fill='{_GROUND}'/>"
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide}' height='{high}' viewBox='0 0 {wide} {high}' {_FONT}>"
    )
    return Drawing(f"{head}{ground}{''.join(shapes)}</svg>", wide, high, alt)


def _curve(points: Sequence[Point], *, is_across: bool) -> str:
    path = f"M{_n(points[0][0])},{_n(points[0][1])}"
    for (x1, y1), (x2, y2) in pairwise(points):
        if is_across:
            half = (x1 + x2) / 2
            path += f" C{_n(half)},{_n(y1)} {_n(half)},{_n(y2)} {_n(x2)},{_n(y2)}"
        else:
            half = (y1 + y2) / 2
            path += f" C{_n(x1)},{_n(half)} {_n(x2)},{_n(half)} {_n(x2)},{_n(y2)}"
    return path


def _arrow(tip: Point, *, is_across: bool) -> str:
    return _head(tip, 0 if is_across else 90, _LINE)


def _head(tip: Point, turned: int, colour: str) -> str:
    """Return the head of an arrow, turned by degrees."""
    moved = f"translate({_n(tip[0])},{_n(tip[1])})" + (f" rotate({turned})" if turned else "")
    return f"<path d='M0,-4 L7,0 L0,4 z' fill='{colour}' transform='{moved}'/>"


def _diamond(start: Point, *, is_across: bool) -> str:
    x, y = (start[0] + 6, start[1]) if is_across else (start[0], start[1] + 6)
    look = f"fill='{_NODE}' stroke='{_LINE}' stroke-width='1.4' transform='translate({_n(x)},{_n(y)})'"
    return f"<path d='M-5,0 L0,-5 L5,0 L0,5 z' {look}/>"


def _box(x: float, y: float, look: str) -> str:
    return f"<rect x='{_n(x)}' y='{_n(y)}' width='{_WIDTH}' height='{_HEIGHT}' rx='8' {look}/>"


def _text(
    text: str, x: float, y: float, *, size: int, colour: str = _INK, weight: int = 400, anchor: str = "start"
) -> str:
    look = f"font-size='{size}' fill='{colour}'" + (f" font-weight='{weight}'" if weight != 400 else "")
    look += f" text-anchor='{anchor}'" if anchor != "start" else ""
    return _element_text(text, f"x='{_n(x)}' y='{_n(y)}' {look}")


def _element_text(text: str, look: str) -> str:
    """Return a text of an SVG; what no XML can carry is replaced."""
    kept = "".join(char if char.isprintable() or char == " " else "\N{REPLACEMENT CHARACTER}" for char in text)
    return f"<text {look}>{safe(kept)}</text>"


def _n(number: float) -> str:
    """Return a number as it is written in a path: the same on every machine."""
    return f"{number:.1f}".removesuffix(".0")
