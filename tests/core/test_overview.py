"""A workflow at a glance: models, states and figures before and after runs, with nothing sent."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.overview import Overview, StepOverview, overview
from tests.endpoint import Endpoint

NOWHERE = "http://127.0.0.1:9"  # nothing listens there: what is sent fails


def prompt(template: str, url: str = NOWHERE, **config: Any) -> SimpleAgent:
    settings = {"name": "a", "model_type": "haiku", "max_tokens": 100, **config}
    return SimpleAgent(AgentConfig(**settings), BedrockClient(endpoint_url=url), prompt_template=template)


def news(url: str = NOWHERE, **config: Any) -> Workflow:
    workflow = Workflow(WorkflowConfig(name="news", **config))
    workflow.add_step("load", lambda article: article.strip())
    workflow.add_step("extract", prompt("List the claims of {load}", url))
    workflow.add_step("summarise", prompt("Say in a {tone} tone: {extract}", url, model_type="sonnet"))
    return workflow


def by_step(of: Overview) -> dict[str, StepOverview]:
    return {step.step: step for step in of.steps}


def states(of: Overview) -> dict[str, tuple[str, str]]:
    return {step.step: (step.state, step.why) for step in of.steps}


def test_steps_say_what_they_use_and_which_model_would_be_asked() -> None:
    steps = by_step(overview(news()))
    assert steps["load"].kind == "python"
    assert steps["load"].inputs == ("article",)
    assert (steps["extract"].asked, steps["extract"].model) == ("haiku", "haiku-4-5")
    assert steps["extract"].model_id == "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    assert steps["summarise"].upstream == {"extract": "uses"}
    assert steps["summarise"].inputs == ("tone",)
    assert {state for state, _ in states(overview(news())).values()} == {"not run"}


def test_every_kind_of_edge_is_told() -> None:
    workflow = Workflow("edges")
    workflow.add_step("gate", lambda ticket: True)
    workflow.add_step("hint", lambda ticket: "x")
    workflow.add_step("log", lambda: None)
    workflow.add_step("reply", lambda ticket, hint: hint, optional="hint", when=lambda gate: gate, depends_on="log")
    step = by_step(overview(workflow))["reply"]
    assert step.upstream == {"log": "after", "gate": "when", "hint": "optional"}
    assert step.is_conditional


def test_figures_are_those_of_the_quote() -> None:
    workflow = news()
    quote, glance = (
        workflow.quote(article="x" * 3_500, tone="plain"),
        overview(workflow, article="x" * 3_500, tone="plain"),
    )
    assert (glance.likely_usd, glance.high_usd, glance.worst_usd) == (quote.likely_usd, quote.high_usd, quote.worst_usd)
    assert [step.likely_usd for step in glance.steps] == [step.likely_usd for step in quote.steps]
    assert glance.inputs == {"article": "given", "tone": "given"}
    assert glance.notes == ()
    assert glance.calls == 2


def test_an_estimate_says_which_inputs_it_leaves_out() -> None:
    glance = overview(news())
    assert glance.inputs == {"article": "not known", "tone": "not known"}
    assert glance.notes == (
        "The estimate leaves out article, tone, which no run was given yet: quote(article=..., tone=...) counts all.",
    )


def test_a_price_that_is_not_known_is_none_and_named() -> None:
    workflow = Workflow("w")
    workflow.add_step("say", prompt("Hello", model_type="us.some.new-model-v1:0"))
    glance = overview(workflow)
    assert glance.likely_usd is None
    assert glance.unpriced == ("us.some.new-model-v1:0",)
    assert by_step(glance)["say"].likely_usd is None


def test_states_follow_the_last_run_and_what_was_changed_since(scripted: Endpoint) -> None:
    workflow = news(scripted.url)
    workflow.run(article=" a ", tone="plain")
    glance = overview(workflow)
    assert glance.inputs == {"article": "last run", "tone": "last run"}
    assert {state for state, _ in states(glance).values()} == {"ok"}
    workflow.add_step("extract", prompt("List all claims of {load}", scripted.url))
    assert states(overview(workflow)) == {
        "load": ("ok", ""),
        "extract": ("stale", "prompt changed"),
        "summarise": ("stale", "uses extract, which is stale"),
    }
    workflow.add_step("check", prompt("Check {summarise}", scripted.url))
    assert states(overview(workflow))["check"] == ("not run", "new since the last run")
    assert states(overview(workflow, tone="warm"))["load"] == ("ok", "")
    assert states(overview(workflow, article="b"))["load"] == ("stale", "input article changed")


def test_steps_whose_answers_are_kept_are_cached_and_cost_nothing(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="w", cache=True))
    workflow.add_step("say", prompt("Say {word}", scripted.url))
    workflow.add_step("shout", prompt("Shout {say}", scripted.url))
    workflow.run(word="hello")
    before = scripted.stats()["requests"]
    glance = overview(workflow)
    assert [state for state, _ in states(glance).values()] == ["cached", "cached"]
    assert glance.likely_usd == 0
    assert glance.is_cached
    assert scripted.stats()["requests"] == before  # nothing was sent
    assert [state for state, _ in states(overview(workflow, word="bye")).values()] == ["stale", "stale"]


def test_a_new_process_knows_the_newest_run_of_the_journal(scripted: Endpoint) -> None:
    news(scripted.url).run(article=" a ", tone="plain")
    again = news(scripted.url)  # as the cells of a notebook build it in a new kernel
    glance = overview(again)
    assert {state for state, _ in states(glance).values()} == {"ok"}
    assert glance.inputs == {"article": "last run", "tone": "last run"}
    again.add_step("extract", prompt("List all claims of {load}", scripted.url))
    assert states(overview(again))["extract"] == ("stale", "prompt changed")


def test_looking_at_a_workflow_makes_no_journal(tmp_path: Path) -> None:
    overview(news())
    assert not (tmp_path / ".agentflow").exists()


def test_what_a_function_returned_counts_for_the_next_run(scripted: Endpoint) -> None:
    workflow = news(scripted.url, cache=True)
    workflow.run(article=" a ", tone="plain")
    assert [state for state, _ in states(overview(workflow)).values()] == ["ok", "cached", "cached"]
    assert overview(workflow).likely_usd == 0
    assert states(overview(workflow, article="b"))["extract"] == ("stale", "uses load, which is stale")


def test_a_failed_step_says_why(scripted: Endpoint) -> None:
    workflow = Workflow("w")
    workflow.add_step("divide", lambda number: 1 / number)
    workflow.add_step("show", lambda divide: f"{divide:.2f}")
    with pytest.raises(WorkflowError):
        workflow.run(number=0)
    assert states(overview(workflow)) == {"divide": ("failed", "division by zero"), "show": ("not run", "")}


def test_a_wrong_workflow_shows_its_problems_and_raises_nothing() -> None:
    workflow = Workflow("w")
    workflow.add_step("a", prompt("{b}", model_type="haikuu"))
    workflow.add_step("b", prompt("{a}"), depends_on="nowhere")
    glance = overview(workflow)
    assert len(glance.problems) == 3
    assert any("Steps wait for each other" in problem for problem in glance.problems)
    assert any("did you mean 'haiku'" in problem for problem in glance.problems)
    assert glance.quote is None
    assert by_step(glance)["a"].upstream == {"b": "uses"}


def test_an_empty_workflow_is_no_problem() -> None:
    assert overview(Workflow("w")) == Overview("w", ())


def test_a_workflow_that_is_a_step_counts_as_one_with_the_figures_of_all_its_steps() -> None:
    inner = Workflow("inner")
    inner.add_step("one", prompt("One {ticket}"))
    inner.add_step("two", prompt("Two {one}"))
    workflow = Workflow("outer")
    workflow.add_step("sub", inner)
    workflow.add_step("last", prompt("Last {sub}"))
    sub, last = overview(workflow, ticket="x").steps
    assert (sub.kind, sub.inner_steps, sub.calls) == ("workflow", 2, 2)
    assert sub.likely_usd == sum(
        (part.likely_usd or Decimal(0) for part in workflow.quote(ticket="x").steps[:2]), Decimal(0)
    )
    assert last.calls == 1


def test_an_input_that_is_mapped_over_and_not_known_counts_as_one_item() -> None:
    workflow = Workflow("w")
    workflow.add_step("each", prompt("Judge {ticket}"), map_over="ticket")
    step = overview(workflow).steps[0]
    assert (step.map_over, step.calls) == ("ticket", 1)
    assert "one item assumed" in step.basis
    assert overview(workflow, ticket=["a", "b", "c"]).steps[0].calls == 3


def test_the_tightest_budget_is_told() -> None:
    workflow = news(budget_usd=2)
    assert overview(workflow).budget_left_usd == 2
    with agentflow.budget(0.5):
        glance = overview(workflow)
    assert (glance.budget_usd, glance.budget_left_usd) == (Decimal("0.5"), Decimal("0.5"))


def test_a_thousand_steps_take_little_time() -> None:
    workflow = Workflow("big")
    for number in range(1_000):
        before = f"{{s{number - 1}}}" if number % 10 else "{topic}"
        workflow.add_step(f"s{number}", prompt(f"Go on with {before}"))
    started = time.process_time()
    assert overview(workflow).calls == 1_000
    assert time.process_time() - started < 3  # 0.3 s where nothing else runs
