"""Two runs side by side."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.errors import RunNotFoundError
from agentflow.core.explaining.run_diff import RunDiff
from agentflow.views.diff import diff_html
from tests.endpoint import Endpoint
from tests.views import runs
from tests.views.looks import Page
from tests.views.runs import HOSTILE
from tests.views.test_html import KEPT_ATTRIBUTES, KEPT_TAGS


def prompt(template: str, endpoint: Endpoint, **config: Any) -> SimpleAgent:
    settings = {"name": "a", "model_type": "haiku", "max_tokens": 100, **config}
    return SimpleAgent(AgentConfig(**settings), BedrockClient(endpoint_url=endpoint.url), prompt_template=template)


def edited(endpoint: Endpoint) -> tuple[Workflow, RunDiff]:
    workflow = Workflow("w")
    workflow.add_step("say", prompt("Say {word}", endpoint))
    workflow.add_step("shout", prompt("Shout {say}", endpoint))
    workflow.add_step("quiet", lambda tone: tone)
    before = workflow.run(word="yes", tone="plain")
    workflow.add_step("say", prompt("Do say {word}", endpoint, model_type="nova-lite", temperature=0.1))
    workflow.add_step("more", lambda shout: shout)
    after = workflow.run(word="no", tone="plain")
    return workflow, after.diff(before.run_id)


def test_prompts_models_values_and_cost_stand_side_by_side(scripted: Endpoint) -> None:
    _, diff = edited(scripted)
    by_step = {step.step: step for step in diff.steps}
    assert set(by_step["say"].kinds) >= {"prompt", "model", "parameters", "input", "answer"}
    assert set(by_step["shout"].kinds) == {"upstream", "answer"}
    assert by_step["quiet"].kinds == ()
    assert by_step["more"].kinds == ("new",)
    assert [reason.what for reason in diff.inputs] == ["word"]
    for shown in (repr(diff), Page(diff._repr_html_()).text):
        for told in ("Say {word}", "Do say {word}", "'haiku' -> 'nova-lite'", "temperature", "3 of 4 steps differ"):
            assert told in shown


def test_the_earlier_run_is_the_one_before_whoever_is_asked(scripted: Endpoint) -> None:
    _, diff = edited(scripted)
    assert diff.before.started_at < diff.after.started_at
    assert diff.before.diff(diff.after)._repr_html_() == diff._repr_html_()


def test_a_run_does_not_differ_from_itself(scripted: Endpoint) -> None:
    workflow, _ = edited(scripted)
    result = workflow.last_result
    assert result is not None
    diff = result.diff(result.run_id)
    assert diff.different == ()
    assert "Nothing differs" in repr(diff)


def test_the_table_has_both_runs(scripted: Endpoint) -> None:
    _, diff = edited(scripted)
    frame = diff.to_frame()
    assert list(frame["step"]) == ["say", "shout", "quiet", "more"]
    assert str(frame["before_cost_usd"].dtype) == "Float64"
    assert frame["before_status"].isna().tolist() == [False, False, False, True]
    assert [frame["before"].tolist()[0], frame["after"].tolist()[0]] == ["Say yes", "Do say no"]


def test_a_run_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RunNotFoundError):
        runs.finished().diff("r-nope")


def test_results_alone_can_be_compared_and_say_what_is_not_known() -> None:
    diff = runs.failed().diff(runs.finished())
    assert "only the result is known" in repr(diff)
    assert {step.step for step in diff.different} >= {"summarise", "publish", "load"}


@pytest.mark.parametrize("state", runs.STATES)
def test_every_state_can_be_compared(state: str) -> None:
    html = diff_html(runs.STATES[state]().diff(runs.hostile()))
    page = Page(html)
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES | {"rowspan"}
    assert "<script" not in html
    assert HOSTILE[:20] in page.text
