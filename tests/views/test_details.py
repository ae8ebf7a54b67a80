"""What unfolds below a run's table: prompts as sent, printed text, answers that were not used, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.sent import sent_prompts
from agentflow.views.html import run_html
from agentflow.views.reproduce import open_command
from tests.endpoint import Endpoint
from tests.views import runs
from tests.views.looks import Page
from tests.views.runs import HOSTILE


def prompt(template: str, endpoint: Endpoint, **config: Any) -> SimpleAgent:
    settings = {"name": "a", "model_type": "haiku", "max_tokens": 100, **config}
    return SimpleAgent(AgentConfig(**settings), BedrockClient(endpoint_url=endpoint.url), prompt_template=template)


def flow(endpoint: Endpoint, **config: Any) -> Workflow:
    inner = Workflow("inner")
    inner.add_step("ask", prompt("Ask {topic}", endpoint))
    workflow = Workflow(WorkflowConfig(name="w", **config))
    workflow.add_step("say", prompt("Say {word}", endpoint, system="You are {mood}.", temperature=0.5))
    workflow.add_step("each", prompt("Judge {item}", endpoint), map_over="item")
    workflow.add_step("sub", inner)
    return workflow


INPUTS: dict[str, Any] = {"word": "a word", "mood": "calm", "item": ["one", "two"], "topic": "tea"}


def test_prompts_are_shown_as_they_were_sent_also_of_a_past_run(scripted: Endpoint) -> None:
    result = flow(scripted).run(**INPUTS)
    page = Page(run_html(result)).text
    for sent in (
        "Say a word",
        "You are calm.",
        "Judge one",
        "Judge two",
        "Ask tea",
        "temperature 0.5",
        "max_tokens 100",
    ):
        assert sent in page
    assert "prompt as sent" in page
    assert run_html(agentflow.get_run(result.run_id)) == run_html(result)


def test_prompts_come_from_the_journal_by_place(scripted: Endpoint) -> None:
    result = flow(scripted).run(**INPUTS)
    sent = sent_prompts(result, [("say", None), ("each", 1), ("sub.ask", None), ("nowhere", None)])
    assert [messages for [one] in sent.values() for messages in one.messages] == [
        ("user", "Say a word"),
        ("user", "Judge two"),
        ("user", "Ask tea"),
    ]
    assert sent["say", None][0].system == "You are calm."


def test_a_prompt_that_was_never_answered_is_rendered_again(scripted: Endpoint) -> None:
    workflow = flow(scripted)
    scripted.faults({"fault": "error", "code": "ValidationException", "message": "No.", "status": 400, "prompt": "Say"})
    with pytest.raises(WorkflowError) as caught:
        workflow.run(**INPUTS)
    page = Page(run_html(caught.value.result)).text
    assert "prompt as rendered" in page
    assert "Say a word" in page


def test_without_a_journal_prompts_are_rendered_from_what_the_steps_were_given(scripted: Endpoint) -> None:
    page = Page(run_html(flow(scripted, journal=False).run(**INPUTS))).text
    assert "prompt as rendered" in page
    assert "Judge two" in page
    assert "cannot be opened again" in page


def test_every_failed_step_has_the_command_that_opens_it(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="w", on_error="continue"))
    workflow.add_step("in vert", lambda number: 1 / number, map_over="number")
    workflow.add_step("divide", lambda by: 1 / by)
    try:
        result = workflow.run(number=[1, 0], by=0)
    except WorkflowError as error:
        result = error.result
    page = Page(run_html(result)).text
    assert f"agentflow open {result.run_id} --step 'in vert' --item 1" in page
    assert f"agentflow open {result.run_id} --step divide" in page
    assert f"open:  agentflow open {result.run_id} --step 'in vert' --item 1" in repr(result)


def test_a_run_says_how_to_go_on() -> None:
    page = Page(run_html(runs.failed())).text
    assert "agentflow.get_run('7f3a9c21')" in page
    assert "await workflow.resume('7f3a9c21')" in page
    assert "resume" not in Page(run_html(runs.finished())).text


def test_a_command_is_ready_for_a_terminal() -> None:
    assert open_command("r-1") == "agentflow open r-1"
    assert open_command("r-1", "it's", 0) == """agentflow open r-1 --step 'it'"'"'s' --item 0"""
    assert "\x1b" not in open_command("r-1", "a\x1b[2J")


def test_a_first_token_is_marked_on_the_bar_and_told() -> None:
    html = run_html(runs.finished())
    assert html.count("width:2px;min-width:2px") == 3 + 1  # one an answer, and the legend's
    assert "first token 312 ms" in Page(html).text


def test_what_a_step_printed_is_shown() -> None:
    result = runs.finished()
    result.rows["load"].printed = f"line 1\n{HOSTILE}"
    assert f"line 1\n{HOSTILE}" in Page(run_html(result)).text


def test_a_huge_input_is_shown_by_its_start_and_its_size(scripted: Endpoint, tmp_path: Path) -> None:
    workflow = Workflow("w")
    workflow.add_step("say", prompt("Say {word}", scripted))
    html = run_html(workflow.run(word="\u202e<script>\x1b[2J" + "x" * 300_000))
    assert len(html) < 60_000
    assert "<script" not in html
    assert "\x1b" not in html
    assert "the first 4,000 of 300,0" in Page(html).text
