"""What the steps of past runs were given, recovered from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel, SecretStr

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import InputError
from agentflow.core.explaining.resolved_inputs import resolved_inputs
from agentflow.core.journal import PastRun, opened_journal
from agentflow.core.outputs import NotKept
from tests.endpoint import Endpoint


class Ticket(BaseModel):
    subject: str
    tags: list[str]


def past(workflow: Workflow, **inputs: Any) -> PastRun:
    try:
        run_id = workflow.run(**inputs).run_id
    except WorkflowError as error:
        run_id = error.result.run_id
    return opened_journal().past_run(run_id)


def test_run_inputs_outputs_fields_and_literals_are_recovered() -> None:
    workflow = Workflow("all")
    ticket = workflow.add_step("ticket", lambda subject: Ticket(subject=subject, tags=["a", "b"]))
    workflow.add_step(
        "use",
        lambda tag, ticket, subject, literal, frame, tone="formal": tag,
        {"tag": ticket.tags[1], "literal": (1, Ticket(subject="x", tags=[])), "frame": pd.DataFrame({"a": [1]})},
    )
    found = resolved_inputs(past(workflow, subject="down"), "use")
    frame = found.pop("frame")
    assert found == {
        "tag": "b",
        "ticket": Ticket(subject="down", tags=["a", "b"]),
        "subject": "down",
        "literal": (1, Ticket(subject="x", tags=[])),
    }
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"a": [1]}))


def test_an_item_was_given_its_item() -> None:
    workflow = Workflow("items")
    workflow.add_step("each", lambda number, tone: number, map_over="number")
    workflow.add_step("rows", lambda row: row["a"], map_over="row")
    kept = past(workflow, number=[1, 2], tone="formal", row=[{"a": 1}, {"a": 2}])
    assert resolved_inputs(kept, "each") == {"number": [1, 2], "tone": "formal"}
    assert resolved_inputs(kept, "each", 1) == {"number": 2, "tone": "formal"}
    assert resolved_inputs(kept, "rows", 0) == {"row": {"a": 1}}


def test_steps_of_nested_workflows_at_any_depth() -> None:
    inner = Workflow("inner")
    inner.add_step("loud", lambda word, mark="!": word.upper() + mark)
    inner.add_step("twice", lambda loud: loud * 2)
    middle = Workflow("middle")
    middle.add_step("shout", inner)
    outer = Workflow("outer")
    outer.add_step("words", lambda text: text.split())
    outer.add_step("middle", middle, {"word": outer.steps["words"]}, map_over="word")
    kept = past(outer, text="a b")
    assert resolved_inputs(kept, "middle", 1) == {"word": "b"}
    assert resolved_inputs(kept, "middle[1].shout") == {"word": "b"}
    assert resolved_inputs(kept, "middle[1].shout.loud") == {"word": "b"}
    assert resolved_inputs(kept, "middle[0].shout.twice") == {"loud": "A!"}


def test_what_cannot_be_recovered_is_named() -> None:
    workflow = Workflow("lost")
    workflow.add_step("lock", lambda: __import__("threading").Lock())
    workflow.add_step("broken", lambda key: 1 / 0, depends_on="lock")
    workflow.add_step("use", lambda lock, key, broken: 1, {"key": SecretStr("hunter2")})
    kept = past(workflow, key=SecretStr("hunter2"))
    found = resolved_inputs(kept, "use")
    assert all(isinstance(value, NotKept) for value in found.values())
    reasons = {name: value.reason for name, value in found.items()}
    assert "of type" in reasons["lock"]
    assert reasons["key"] == "it holds a secret"
    assert reasons["broken"] == "step 'broken' has no output: it is failed"
    assert isinstance(resolved_inputs(kept, "broken")["key"], NotKept)


def test_an_optional_input_that_was_not_there_is_none_or_has_its_default() -> None:
    workflow = Workflow(WorkflowConfig(name="optional", on_error="continue"))
    workflow.add_step("unwanted", lambda: 1, when=lambda: False)
    workflow.add_step("broken", lambda: 1 / 0)
    workflow.add_step("use", lambda unwanted, broken=7: [unwanted, broken], optional=["unwanted", "broken"])
    kept = past(workflow)
    assert kept.result.outputs["use"] == [None, 7]
    assert resolved_inputs(kept, "use") == {"unwanted": None}


def test_a_prompt_was_given_what_its_placeholders_name(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow("prompt")
    workflow.add_step("classify", lambda ticket: {"product": "mail"})
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="About {classify.product}"))
    given: Mapping[str, Any] = resolved_inputs(past(workflow, ticket="down"), "ask")
    assert given == {"classify": {"product": "mail"}}


def test_a_step_or_an_item_that_is_not_there_is_an_error() -> None:
    workflow = Workflow("items")
    workflow.add_step("each", lambda number: number, map_over="number")
    kept = past(workflow, number=[1])
    with pytest.raises(InputError, match="has no step 'other'"):
        resolved_inputs(kept, "other")
    with pytest.raises(InputError, match="was given 1 items"):
        resolved_inputs(kept, "each", 3)
