"""A workflow as a card for a notebook: its graph, and beside it a table that says all that the graph shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentflow.core.overview import Overview
from agentflow.core.step_overview import StepOverview
from agentflow.views import workflow_words as words
from agentflow.views.format import MARKS, count, plural
from agentflow.views.graph_svg import MOST_NODES, draw, edge_kinds, groups_of_levels
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    MONO,
    MUTED,
    NUMBER,
    PRE,
    ROW,
    TABLE,
    badge,
    caption,
    card,
    element,
    fact_blocks,
    head_row,
    plain,
    safe,
    small,
    warnings_note,
)
from agentflow.views.outputs import encodable, one_line

# What a narrow page has no room for comes last.
_HEADS = {"step": HEAD, "estimate": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER, "uses": HEAD}
_LEVEL_HEADS = {"level": HEAD, "estimate": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER, "states": HEAD}
_WIDEST_BESIDE = 520  # pixels of a graph that leave room for the table
_MOST_SHOWN = 24  # rows; a longer table scrolls inside of the card
_MOST_PROMPTS = 30
_PROMPT_CHARS = 2_000
_MOST_PROBLEMS = 12
_MOST_NOTED = 12
_EDGES = {"optional": "dashed line: optional", "when": "◇ when", "after": "dotted line: only after"}


def workflow_html(overview: Overview) -> str:
    """Return a workflow as an HTML card; the same overview gives the same HTML, all text from outside is escaped."""
    name = element("strong", safe(one_line(overview.workflow, 200)), style="font-size:16px;overflow-wrap:break-word")
    parts = [element("div", f"{name} {element('span', safe(words.title(overview)), style=MUTED)}")]
    if not overview.steps:
        parts.append(element("div", f"{words.EMPTY} {plain(words.EMPTY_FIX)}", style="margin:8px 0 0 0"))
        return card(parts)
    table = _levels(overview) if len(overview.steps) > MOST_NODES else _table(overview)
    parts += [
        fact_blocks(words.facts(overview)),
        _problems(overview),
        warnings_note(words.warnings(overview)),
        _beside(overview, table),
        _next(overview),
        _prompts(overview),
    ]
    return card(parts)


def _beside(overview: Overview, table: str) -> str:
    """Return the graph and the table: next to each other where the page has room for both, else below one another."""
    drawing = draw(overview)
    graph = element("div", drawing.image(), style="overflow-x:auto;max-height:720px;overflow-y:auto") + _legend(
        overview
    )
    if drawing.width > _WIDEST_BESIDE:
        return graph + element("div", table, style="margin:12px 0 0 0")
    left = element("div", graph, style="flex:0 1 auto;max-width:100%")
    right = element("div", table, style="flex:1 1 360px;min-width:0;max-width:100%")
    return element("div", left + right, style="display:flex;flex-wrap:wrap;gap:12px 24px;align-items:flex-start")


def _problems(overview: Overview) -> str:
    if not overview.problems:
        return ""
    head = element("strong", f"It cannot run yet: {plural(len(overview.problems), 'problem')}")
    told = [plain(safe(one_line(problem, 400)), style="margin:2px 0") for problem in overview.problems[:_MOST_PROBLEMS]]
    if more := len(overview.problems) - len(told):
        told.append(small(f"… {more:,} more" if more > 0 else ""))
    edge = f"border-left:4px solid {MARKS['failed'].colour};padding:2px 0 2px 12px;margin:10px 0 12px 0"
    return element("div", head + "".join(told), style=edge)


def _legend(overview: Overview) -> str:
    kinds = [text for kind, text in _EDGES.items() if kind in edge_kinds(overview)]
    if any(step.is_conditional for step in overview.steps) and len(overview.steps) <= MOST_NODES:
        kinds.append("dashed frame: may be skipped")
    return small(" · ".join(kinds), style="margin:4px 0 0 0")


def _table(overview: Overview) -> str:
    places = words.column_places(overview)
    return _framed(overview, _HEADS, [_row(step, places) for step in overview.steps])


def _framed(overview: Overview, heads: Mapping[str, str], rows: Sequence[str]) -> str:
    said = f"Steps of {one_line(overview.workflow, 60)}, with the estimate of the next run"
    parts = caption(said) + head_row(heads) + element("tbody", "".join(rows)) + element("tfoot", _total(overview))
    tall = ";max-height:720px;overflow-y:auto" if len(rows) > _MOST_SHOWN else ""
    return element("div", element("table", parts, style=TABLE), style=f"overflow-x:auto{tall}")


def _row(step: StepOverview, places: int) -> str:
    name = element("strong", safe(one_line(step.step, 200)))
    head = element("div", f"{name} &nbsp;{badge(step.state)}{_why(step)}", style="overflow-wrap:anywhere")
    told = " · ".join(part for part in (words.model_word(step), words.id_words(step)) if part)
    uses = "<br>".join(map(safe, words.uses_words(step))) or "-"
    cells = [
        element("td", head + small(safe(told), style="overflow-wrap:anywhere"), style=f"{CELL};min-width:170px"),
        element("td", _cost(step, places), style=NUMBER),
        element("td", words.tokens_words(step), style=NUMBER),
        element("td", uses, style=f"{CELL};min-width:90px;overflow-wrap:break-word"),
    ]
    return element("tr", "".join(cells), style=ROW)


def _why(step: StepOverview) -> str:
    told = words.why_words(step)
    return " " + element("span", f"· {safe(told)}", style=f"{MUTED};overflow-wrap:break-word") if told else ""


def _cost(step: StepOverview, places: int) -> str:
    return words.cost_words(step, places) + small(words.up_to(step.likely_usd, step.high_usd) if step.calls else "")


def _total(overview: Overview) -> str:
    cells = [
        element("td", element("strong", "next run") + small(safe(words.last_words(overview))), style=CELL),
        element("td", words.total_cost(overview), style=f"{NUMBER};font-weight:bold"),
        element("td", words.tokens_words(overview), style=f"{NUMBER};font-weight:bold"),
        element("td", "", style=CELL),
    ]
    return element("tr", "".join(cells), style=ROW)


def _levels(overview: Overview) -> str:
    """Return a table of the levels of a large workflow, and the steps that somebody should look at."""
    places = words.column_places(overview)
    rows = [_level(name, group, places) for name, group in groups_of_levels(overview).items()]
    return _framed(overview, _LEVEL_HEADS, rows) + _noted(overview)


def _level(name: str, group: Sequence[StepOverview], places: int) -> str:
    first = ", ".join(one_line(step.step, 40) for step in group[:3]) + (", …" if len(group) > 3 else "")
    states = " ".join(f"{badge(state)} {count(number)}" for state, number in words.counted_states(group))
    who = ", ".join(list(dict.fromkeys(map(words.model_word, group)))[:3])
    wide = f"{CELL};min-width:170px;overflow-wrap:anywhere"
    cells = [
        element("td", element("strong", name) + small(f"{plural(len(group), 'step')}: {safe(first)}"), style=wide),
        element("td", words.group_cost(group, places), style=NUMBER),
        element("td", words.group_tokens(group), style=NUMBER),
        element("td", states + small(safe(who)), style=CELL),
    ]
    return element("tr", "".join(cells), style=ROW)


def _noted(overview: Overview) -> str:
    """Return those steps of a large workflow that failed or are stale."""
    noted = [step for step in overview.steps if step.state in {"failed", "stale"}]
    noted.sort(key=lambda step: step.state)
    lines = [
        element("div", f"{element('strong', safe(one_line(step.step, 80)))} {badge(step.state)}{_why(step)}")
        for step in noted[:_MOST_NOTED]
    ]
    if more := len(noted) - len(lines):
        lines.append(small(f"… {more:,} more"))
    return element("div", "".join(lines), style="margin:10px 0 0 0") if lines else ""


def _next(overview: Overview) -> str:
    if overview.problems:
        return ""
    code = element("code", safe(words.next_words(overview)), style=f"{MONO};font-size:12px")
    return element("div", f"{element('span', 'To run it:', style=MUTED)} {code}", style="margin:10px 0 0 0")


def _prompts(overview: Overview) -> str:
    """Return the prompts as they were written, folded."""
    prompts = [step for step in overview.steps if step.prompt][:_MOST_PROMPTS]
    if not prompts:
        return ""
    told = []
    for step in prompts:
        told.append(element("div", element("strong", safe(one_line(step.step, 80))), style="margin:8px 0 0 0"))
        for label, text in (("system", step.system), ("prompt", step.prompt)):
            if text:
                cut = (
                    f" (the first {count(_PROMPT_CHARS)} of {count(len(text))} characters)"
                    if len(text) > _PROMPT_CHARS
                    else ""
                )
                told.append(small(label + cut))
                told.append(element("pre", safe(encodable(text[:_PROMPT_CHARS])), style=PRE, dir="auto"))
    left = sum(bool(step.prompt) for step in overview.steps) - len(prompts)
    told.append(small(f"… {left:,} more" if left else ""))
    head = element("summary", "prompts", style="cursor:pointer")
    return element("details", head + element("div", "".join(told), style="margin:0 0 0 14px"), style="margin:8px 0 0 0")
