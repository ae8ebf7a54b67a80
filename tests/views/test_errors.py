"""What a notebook shows of an error: what happened, why, the fix, what was kept and how to go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, BudgetExceeded, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import AgentFlowError, DefinitionError, InputError, ModelCallError, RunNotFoundError
from tests.endpoint import Endpoint


def prompt(template: str, endpoint: Endpoint, **config: Any) -> SimpleAgent:
    settings = {"name": "a", "model_type": "haiku", "max_tokens": 100, **config}
    return SimpleAgent(AgentConfig(**settings), BedrockClient(endpoint_url=endpoint.url), prompt_template=template)


def labelled(error: AgentFlowError) -> dict[str, str]:
    """Return the lines of an error by their labels; the first is the error's own."""
    lines = [line for line in error._render_traceback_() if not line.startswith("  ")]
    return {line.split(":")[0]: line.partition(":")[2].strip() for line in lines}


def divide(number: int) -> float:
    return 1 / number


def test_a_function_that_fails_is_shown_with_its_own_frame_alone() -> None:
    workflow = Workflow("w")
    workflow.add_step("load", lambda: 1)
    workflow.add_step("divide", divide, depends_on="load")
    with pytest.raises(WorkflowError) as caught:
        workflow.run(number=0)
    lines = caught.value._render_traceback_()
    assert "return 1 / number" in lines[0]
    assert sum("File " in line for line in lines) == 1
    told = labelled(caught.value)
    assert list(told) == ["WorkflowError", "Why", "Fix", "Kept", "Then"]
    assert "ZeroDivisionError: division by zero" in told["WorkflowError"]
    assert "raised in divide, line" in told["Why"]
    assert "'divide'" in told["Fix"]
    assert "1 of 2 steps finished (load), in .result and in the journal" in told["Kept"]
    run_id = caught.value.result.run_id
    assert f"await workflow.resume('{run_id}', accept_changes=True)" in told["Then"]
    assert f"`agentflow open {run_id} --step divide`" in told["Then"]


def test_a_model_call_that_fails_says_aws_own_word_and_the_attempts(scripted: Endpoint) -> None:
    workflow = Workflow("w")
    workflow.add_step("say", prompt("Say {word}", scripted))
    scripted.faults({"fault": "error", "code": "ValidationException", "message": "No.", "status": 400})
    with pytest.raises(WorkflowError) as caught:
        workflow.run(word="x")
    told = labelled(caught.value)
    assert list(told) == ["WorkflowError", "Why", "Fix", "Kept", "Then"] or "Fix" not in told
    assert "AWS says ValidationException" in told["Why"]
    assert "after 1 attempt" in told["Why"]
    assert "accept_changes" not in told["Then"]


def test_a_call_outside_of_a_run_has_kept_nothing(scripted: Endpoint) -> None:
    scripted.faults({"fault": "error", "code": "ValidationException", "message": "No.", "status": 400})
    with pytest.raises(ModelCallError) as caught:
        asyncio.run(BedrockClient(endpoint_url=scripted.url).invoke("haiku", "hello"))
    told = labelled(caught.value)
    assert "ValidationException" in told["Why"]
    assert "no run" in told["Kept"]
    assert told["Then"].startswith("call again")


def test_a_budget_says_how_to_go_on(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="w", budget_usd=0.0001))
    workflow.add_step("say", prompt("Say {word}", scripted))
    with pytest.raises(BudgetExceeded) as caught:
        workflow.run(word="x")
    told = labelled(caught.value)
    assert list(told) == ["BudgetExceeded", "Why", "Fix", "Kept", "Then"]
    assert "budget_usd=..." in told["Then"]


def test_several_problems_are_numbered() -> None:
    workflow = Workflow("w")
    workflow.add_step("a", lambda b: b)
    workflow.add_step("b", lambda a: a, depends_on="nowhere")
    with pytest.raises(DefinitionError) as caught:
        workflow.validate()
    lines = caught.value._render_traceback_()
    assert lines[0] == "DefinitionError: 2 problems keep the workflow from running."
    assert "1. " in lines[1]
    assert "\n      2. " in lines[1]
    assert "nothing was run" in labelled(caught.value)["Kept"]


def test_a_wrong_input_says_that_nothing_was_called() -> None:
    workflow = Workflow("w")
    workflow.add_step("divide", divide)
    with pytest.raises(InputError) as caught:
        workflow.run(numbr=1)
    assert list(labelled(caught.value)) == ["InputError", "Fix", "Kept", "Then"]


def test_a_run_that_is_not_there_is_named_with_the_list() -> None:
    with pytest.raises(RunNotFoundError) as caught:
        agentflow.get_run("r-nope")
    assert "agentflow.runs()" in labelled(caught.value)["Kept"]


def test_items_that_are_finished_are_kept() -> None:
    workflow = Workflow(WorkflowConfig(name="w", journal=False))
    workflow.add_step("divide", divide, map_over="number")
    with pytest.raises(WorkflowError) as caught:
        workflow.run(number=[1, 0, 2])
    told = labelled(caught.value)
    assert "2 of 3 items of divide, in .result." in told["Kept"]
    assert "journal=True" in told["Then"]


def test_nothing_of_an_error_steers_a_terminal() -> None:
    def evil() -> None:
        raise ValueError("\x1b[2J\x07 cleared\nsecond line")

    workflow = Workflow("w")
    workflow.add_step("evil", evil)
    with pytest.raises(WorkflowError) as caught:
        workflow.run()
    shown = caught.value._render_traceback_()[-5]
    assert "cleared\n      second line" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
