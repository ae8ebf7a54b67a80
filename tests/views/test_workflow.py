"""A workflow as a card and as text: its graph, drawn by AgentFlow itself, and the table beside it."""

from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow import BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.config import AgentConfig
from agentflow.core.overview import Overview, StepOverview, overview
from agentflow.views.format import MARKS
from agentflow.views.graph_layout import layout, levels_of
from agentflow.views.graph_svg import _GROUND, _INK, _NODE, _PALE, draw
from agentflow.views.workflow_html import workflow_html
from agentflow.views.workflow_text import workflow_text
from tests.views.looks import Page, contrast
from tests.views.runs import HOSTILE

CLIENT = BedrockClient(endpoint_url="http://127.0.0.1:9")  # nothing listens there: what is sent fails

# What JupyterLab's sanitizer leaves in a notebook that is not trusted, of what we use.
KEPT_TAGS = {
    "div", "span", "strong", "br", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "details",
    "summary", "pre", "code", "img",
}  # fmt: skip
KEPT_ATTRIBUTES = {"style", "title", "dir", "scope", "src", "alt"}


def prompt(template: str, model: str = "haiku") -> SimpleAgent:
    return SimpleAgent(AgentConfig(name="a", model_type=model, max_tokens=100), CLIENT, prompt_template=template)


def news() -> Workflow:
    workflow = Workflow("news")
    workflow.add_step("load", lambda article: article)
    workflow.add_step("extract", prompt("List the claims of {load}"))
    workflow.add_step("summarise", prompt("Say in a {tone} tone: {extract}", "sonnet"))
    workflow.add_step("judge", prompt("How fair is {summarise}? {extract}"))
    return workflow


def everything() -> Workflow:
    inner = Workflow("checks")
    inner.add_step("facts", prompt("Check {claim}"))
    workflow = Workflow(WorkflowConfig(name="triage", budget_usd=0.001))
    workflow.add_step("gate", lambda ticket: ticket != "")
    workflow.add_step("hint", prompt("Hint at {ticket}"))
    workflow.add_step("log", lambda: None)
    workflow.add_step("check", inner, map_over="claim")
    workflow.add_step(
        "reply", prompt("{ticket} {hint} {check}"), optional="hint", depends_on="log", when=lambda gate: gate
    )
    return workflow


def wrong() -> Workflow:
    workflow = Workflow("wrong")
    workflow.add_step("a", prompt("{b}"))
    workflow.add_step("b", prompt("{a}"), depends_on="nowhere")
    return workflow


def large(steps: int = 200) -> Workflow:
    workflow = Workflow("large")
    for number in range(steps):
        workflow.add_step(f"s{number}", prompt(f"Go on with {{s{number - 1}}}" if number % 10 else "Start {topic}"))
    return workflow


def chain() -> Workflow:
    workflow = Workflow("chain")
    for number in range(30):
        workflow.add_step(f"s{number}", prompt(f"Go on with {{s{number - 1}}}" if number else "Start {topic}"))
    return workflow


def hostile() -> Workflow:
    workflow = Workflow(HOSTILE)
    workflow.add_step(HOSTILE + "\x1b[2J\u202e", prompt(HOSTILE + "x" * 1_000_000))
    return workflow


WORKFLOWS: dict[str, Callable[[], Workflow]] = {
    "empty": lambda: Workflow("empty"),
    "news": news,
    "everything": everything,
    "wrong": wrong,
    "large": large,
    "chain": chain,
    "hostile": hostile,
}


def svg_of(html: str) -> ET.Element:
    [source] = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    return ET.fromstring(base64.b64decode(source))


def texts_of(svg: ET.Element) -> list[str]:
    return [element.text or "" for element in svg.iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_card_is_small_safe_and_the_same_each_time(name: str) -> None:
    workflow = WORKFLOWS[name]()
    html = workflow._repr_html_()
    page = Page(html)
    assert set(page.tags) <= KEPT_TAGS
    assert {attribute for attribute, _ in page.attributes} <= KEPT_ATTRIBUTES
    assert len(html) < 300_000
    assert html == workflow._repr_html_() == WORKFLOWS[name]()._repr_html_()


@pytest.mark.parametrize("name", ["news", "everything", "wrong"])
def test_card_text_and_drawing_name_the_same_steps(name: str) -> None:
    workflow = WORKFLOWS[name]()
    html, text = workflow._repr_html_(), repr(workflow)
    drawn = texts_of(svg_of(html))
    for step in workflow.steps:
        assert step in Page(html).text
        assert step in text
        assert step in drawn


def test_both_forms_come_with_one_estimate() -> None:
    workflow = news()
    bundle = workflow._repr_mimebundle_()
    assert bundle == {"text/plain": repr(workflow), "text/html": workflow._repr_html_()}


def test_the_drawing_has_no_scripts_and_no_ids() -> None:
    svg = svg_of(hostile()._repr_html_())
    assert {element.tag.rpartition("}")[2] for element in svg.iter()} <= {"svg", "rect", "text", "path", "circle"}
    assert not any("id" in element.attrib or "href" in element.attrib for element in svg.iter())


def test_the_drawing_is_opaque_and_its_texts_are_readable_on_it() -> None:
    svg = svg_of(news()._repr_html_())
    first = next(iter(svg))
    assert (first.attrib["width"], first.attrib["height"]) == (svg.attrib["width"], svg.attrib["height"])
    for ink in (_INK, _PALE):
        assert min(contrast(ink, ground) for ground in (_GROUND, _NODE)) >= 4.5
    assert all(contrast("#ffffff", mark.colour) >= 4.5 for mark in MARKS.values())


def test_the_alternative_text_tells_the_graph() -> None:
    alt = dict(Page(news()._repr_html_()).attributes)["alt"]
    assert "load (not run) uses article" in alt
    assert "judge (not run) uses extract, summarise" in alt or "judge (not run) uses summarise, extract" in alt


def test_the_figures_of_the_next_run_are_told_with_what_they_leave_out() -> None:
    page = Page(news()._repr_html_()).text
    assert "The estimate leaves out article, tone" in page
    assert "next run, likely" in page
    assert "workflow.run(article=..., tone=...)" in page


def test_an_unknown_price_is_never_zero() -> None:
    workflow = Workflow("w")
    workflow.add_step("say", prompt("Hello", "us.some.new-model-v1:0"))
    for shown in (Page(workflow._repr_html_()).text, repr(workflow)):
        assert "price unknown" in shown
        assert "$0" not in shown


def test_a_budget_that_the_worst_case_passes_is_told() -> None:
    page = Page(everything()._repr_html_()).text
    assert "budget left" in page
    assert "is more than the budget" in page


def test_how_a_step_waits_is_told() -> None:
    page = Page(everything()._repr_html_()).text
    for told in ("hint (optional)", "after log", "when gate", "once for each item of claim", "1 step, each item"):
        assert told in page


def test_what_is_wrong_is_shown_and_not_raised() -> None:
    html = wrong()._repr_html_()
    page = Page(html).text
    assert "It cannot run yet: 2 problems" in page
    assert "Steps wait for each other" in page
    assert "no such step" in texts_of(svg_of(html))
    assert "problem: " in repr(wrong())


def test_an_empty_workflow_says_what_to_do() -> None:
    for shown in (Page(Workflow("w")._repr_html_()).text, repr(Workflow("w"))):
        assert "workflow.add_step(" in shown


def test_a_large_workflow_shows_its_levels_quickly() -> None:
    workflow = large(1_000)
    started = time.process_time()
    html = workflow._repr_html_()
    assert time.process_time() - started < 5  # below 1 s where nothing else runs
    assert "level 10" in Page(html).text
    assert "100 steps" in texts_of(svg_of(html))


def test_stale_and_failed_steps_of_a_large_workflow_are_named() -> None:
    glance = overview(large())
    steps = list(glance.steps)
    steps[7] = replace(steps[7], state="failed", why="no access")
    page = Page(workflow_html(replace(glance, steps=tuple(steps)))).text
    assert "s7" in page
    assert "no access" in page


def test_every_state_has_a_word_and_a_mark() -> None:
    for state in ("cached", "stale", "not run", "ok", "failed", "running", "skipped", "cancelled"):
        step = StepOverview(step="a", kind="prompt", state=state, why="so")
        glance = Overview("w", (step,))
        assert state in Page(workflow_html(glance)).text
        assert state in workflow_text(glance)
        assert MARKS[state].symbol in texts_of(svg_of(workflow_html(glance)))


def test_an_edge_passes_beside_the_nodes_between_its_ends() -> None:
    placed = layout({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert placed.routes["a", "c"][1][1] != placed.places["b"][1]
    assert placed.depth == 3


@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=5), max_size=13))
def test_any_graph_is_placed_without_two_nodes_on_one_spot(edges: dict[int, list[int]]) -> None:
    nodes = {*edges, *(needed for needs in edges.values() for needed in needs)}
    upstream = {str(node): [str(needed) for needed in edges.get(node, [])] for node in sorted(nodes)}
    placed = layout(upstream)
    level, backward = levels_of(upstream)
    assert set(placed.places) == set(upstream)
    for node, needed in upstream.items():
        assert all(level[name] < level[node] or (name, node) in backward for name in needed)
    for index, row in enumerate(placed.levels):
        spots = sorted(placed.places[node][1] for node in row)
        assert all(other - one > 0.99 for one, other in pairwise(spots)), index


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_breaks_the_drawing(workflow: str, step: str) -> None:
    glance = Overview(
        workflow, (StepOverview(step=step, kind="python", likely_usd=Decimal(0), upstream={step: "uses"}),)
    )
    ET.fromstring(draw(glance).svg)
    assert set(Page(workflow_html(glance)).tags) <= KEPT_TAGS
