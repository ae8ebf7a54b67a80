"""The log of runs: the fields of the runbook's queries, each figure once, and nothing of prompts and answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.utils.logging import FIELDS, MORE_FIELDS
from tests.endpoint import HAIKU, Endpoint
from tests.ops.conftest import Log

# The fields that the queries of the operation runbook name, beside those that CloudWatch makes itself.
QUERIED = {
    "workflow_id", "workflow_name", "error", "level", "step_id", "execution_time", "attempt", "model", "input_tokens",
    "output_tokens",
}  # fmt: skip


def asking(client: BedrockClient, prompt: str = "About {topic}", **config: Any) -> Workflow:
    workflow = Workflow(
        WorkflowConfig(name="triage", journal=config.pop("cache", False), cache=config.pop("from", False))
    )
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a", **config), client, prompt_template=prompt))
    return workflow


def test_an_attempt_is_a_record_and_a_billed_call_has_tokens_on_one(
    scripted: Endpoint, client: BedrockClient, log: Log
) -> None:
    scripted.follow(text="planted-answer")
    scripted.faults({"fault": "unavailable", "first": 1})
    result = asking(client).run(topic="planted-prompt")
    failed, answered = log.records("attempt")
    assert (failed["attempt"], failed["level"], failed["error"]) == (1, "WARNING", "ServiceUnavailableException")
    assert {"model", "input_tokens", "output_tokens", "cost_usd"}.isdisjoint(failed)
    assert (answered["attempt"], answered["level"], answered["model"]) == (2, "INFO", "local · scripted")
    usage = result.usage
    assert (answered["input_tokens"], answered["output_tokens"]) == (usage.input_tokens, usage.output_tokens)
    last = result.rows["ask"].attempts[-1]
    assert answered["execution_time"] == pytest.approx(last.latency_ms, abs=0.01)
    assert (answered["request_id"], answered["region"], answered["model_id"]) == (last.request_id, "us-east-1", HAIKU)
    assert {"queue_ms", "cache_read_tokens", "cache_write_tokens"} <= set(answered)
    assert answered["cost_usd"] == 0
    assert [record["event"] for record in log.records() if "input_tokens" in record] == ["attempt"]
    assert [record["event"] for record in log.records() if "attempt" in record] == ["attempt", "attempt"]
    for record in log.records():
        assert (record["workflow_id"], record["workflow_name"]) == (result.run_id, "triage")
    [step] = log.records("step")
    assert step["execution_time"] == pytest.approx(result.rows["ask"].latency_ms, abs=0.01)
    assert "planted" not in log.text


def test_every_field_that_the_runbook_queries_is_one_of_ours() -> None:
    assert set(FIELDS) | {"level"} == QUERIED
    assert set(FIELDS).isdisjoint(MORE_FIELDS)


def test_an_answer_that_was_there_has_no_model_and_no_tokens(client: BedrockClient, log: Log) -> None:
    workflow = Workflow(WorkflowConfig(name="triage", cache=True))
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="About {topic}"))
    workflow.run(topic="tea")
    assert len(log.records("attempt")) == 1
    workflow.run(topic="tea")
    assert len(log.records("attempt")) == 1
    [given] = log.records("cached_answer")
    assert {"model", "input_tokens", "output_tokens", "attempt"}.isdisjoint(given)


def test_a_failed_run_is_one_error_that_the_runbooks_query_finds(
    scripted: Endpoint, client: BedrockClient, log: Log
) -> None:
    scripted.faults({"fault": "model_access_denied"})
    with pytest.raises(WorkflowError):
        asking(client).run(topic="tea")
    [record] = [record for record in log.records() if record["level"] == "ERROR"]
    assert re.search("workflow.*failed", record["message"])
    assert record["error"].startswith("AccessDeniedException: ")
    assert record["workflow_name"] == "triage"
    assert "attempt" not in record
    [step] = log.records("step")
    assert (step["level"], step["error"]) == ("WARNING", record["error"])


def test_an_error_of_ones_own_may_quote_an_answer_and_is_its_kind_and_place(log: Log) -> None:
    def refuse(text: str) -> None:
        raise ValueError(f"cannot use {text}")

    workflow = Workflow(WorkflowConfig(name="triage", journal=False))
    workflow.add_step("refuse", refuse)
    with pytest.raises(WorkflowError, match="planted"):
        workflow.run(text="planted")
    errors = {record["error"] for record in log.records() if "error" in record}
    assert len(errors) == 1
    assert re.fullmatch(r"ValueError \(raised at test_run_log\.py:\d+\)", errors.pop())
    assert "planted" not in log.text


def test_an_answer_that_does_not_fit_is_not_quoted(scripted: Endpoint, client: BedrockClient, log: Log) -> None:
    scripted.follow(text="planted")
    with pytest.raises(WorkflowError, match="planted"):
        asking(client, output_type="urgent: bool", output_retries=1).run(topic="tea")
    assert len(log.records("answer_rejected")) == 2
    assert "planted" not in log.text
    assert log.records("run")[0]["error"] == "OutputFormatError"


def test_content_is_logged_where_it_is_asked_for(
    scripted: Endpoint, client: BedrockClient, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_CONTENT", "1")
    scripted.follow(text="planted-answer")
    asking(client).run(topic="planted-prompt")
    [answered] = log.records("attempt")
    assert (answered["prompt"], answered["answer"]) == ("About planted-prompt", "planted-answer")


def test_items_and_inner_steps_have_their_place_and_a_failed_row_is_a_failed_run(log: Log) -> None:
    inner = Workflow(WorkflowConfig(name="inner", journal=False))
    inner.add_step("divide", lambda number: 1 / number)
    outer = Workflow(WorkflowConfig(name="outer", journal=False, on_error="continue"))
    outer.add_step("each", inner, {"number": [1, 0]}, map_over="number")
    with pytest.raises(WorkflowError):
        outer.run()
    places = [(record["step_id"], record.get("item"), record["workflow_name"]) for record in log.records("step")]
    assert sorted(places, key=str) == [
        ("each", 0, "outer"),
        ("each", 1, "outer"),
        ("each", None, "outer"),
        ("each.divide", 0, "inner"),  # one name for all rows: the queries count by it
        ("each.divide", 1, "inner"),
    ]
    errors = [record for record in log.records() if record["level"] == "ERROR"]
    assert [(record["workflow_name"], record.get("step_id"), record.get("item")) for record in errors] == [
        ("inner", "each", 1),
        ("outer", None, None),
    ]
    assert re.match(r"ZeroDivisionError .*\(1 items failed\)", errors[1]["error"])


def test_nobody_is_called_where_nobody_logs() -> None:
    workflow = Workflow(WorkflowConfig(name="silent", journal=False))
    assert workflow._taps() == []


def test_hostile_names_stay_in_their_line(log: Log) -> None:
    workflow = Workflow(WorkflowConfig(name="a\n{\x1b[31m%s", journal=False))
    workflow.add_step("one", lambda: 1)
    workflow.run()
    assert [record["event"] for record in log.records()] == ["run_started", "step", "run"]
    assert all("\x1b" not in record["message"] for record in log.records())
