"""Structured output: how it is asked for, and what happens to an answer that does not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, get_run
from agentflow.core.errors import DefinitionError, InvalidRequestError, OutputFormatError
from tests.dictated import Dictated, answer, asks_for, tool_use


@dataclass
class Ticket:
    urgent: bool
    product: str = "shop"


def agent(dictated: Dictated, output_type: Any = "urgent: bool", **config: Any) -> SimpleAgent:
    client = BedrockClient(endpoint_url=dictated.url)
    made = AgentConfig(name="a", output_type=output_type, **config)
    return SimpleAgent(made, client, prompt_template="Is it urgent?")


async def test_a_dataclass_is_an_output_type(dictated: Dictated) -> None:
    dictated.says(answer('{"urgent": true}'))
    assert await agent(dictated, Ticket).run({}) == Ticket(True, "shop")
    sent = dictated.requests[0]["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
    assert set(json.loads(sent)["properties"]) == {"urgent", "product"}


def test_what_is_no_output_type_is_said() -> None:
    with pytest.raises(DefinitionError, match="give a pydantic model, a dataclass or a short form"):
        AgentConfig(name="a", output_type=dict)


async def test_a_model_without_schemas_is_made_to_call_a_tool(dictated: Dictated) -> None:
    dictated.says(asks_for(tool_use("answer", urgent=True)))
    assert (await agent(dictated, model_type="nova-lite").run({})).urgent is True
    assert dictated.requests[0]["toolConfig"]["toolChoice"] == {"tool": {"name": "answer"}}


async def test_a_model_that_cannot_be_made_to_is_asked_for_json(dictated: Dictated) -> None:
    dictated.says(answer('```json\n{"urgent": true}\n```'))
    assert (await agent(dictated, model_type="sonnet-5-5").run({})).urgent is True
    [request] = dictated.requests
    assert "toolConfig" not in request
    assert request["system"][0]["text"].startswith("Answer with JSON alone")


@pytest.mark.parametrize(
    "message",
    [
        "This model doesn't support the toolConfig.toolChoice.tool field. Remove it and try again.",
        "Thinking may not be enabled when tool_choice forces tool use.",
    ],
)
async def test_a_model_that_refuses_to_be_made_to_is_asked_for_json(dictated: Dictated, message: str) -> None:
    refused = {"status": 400, "code": "ValidationException", "message": message}
    dictated.says(refused, answer('{"urgent": true}'))
    workflow = Workflow(WorkflowConfig(name="words"))
    workflow.add_step("ask", agent(dictated, model_type="nova-lite"))
    result = await workflow.execute()
    assert result.outputs["ask"].urgent is True
    assert "toolConfig" not in dictated.requests[1]
    assert dictated.requests[1]["system"][0]["text"].startswith("Answer with JSON alone")
    first, second = result.rows["ask"].attempts
    assert (first.error_code, first.may_cost_usd) == ("ValidationException", Decimal(0))
    assert second.reason == "asked for JSON in words: the model cannot be made to call a tool"


async def test_a_refusal_of_something_else_is_final(dictated: Dictated) -> None:
    dictated.says({"status": 400, "code": "ValidationException", "message": "toolConfig.tools.0 is wrong"})
    with pytest.raises(InvalidRequestError):
        await agent(dictated, model_type="nova-lite").run({})
    assert len(dictated.requests) == 1


async def test_an_answer_that_does_not_fit_is_asked_for_again_and_seen(dictated: Dictated) -> None:
    dictated.says(answer('{"urgent": "perhaps"}'), answer('{"urgent": false}'))
    workflow = Workflow(WorkflowConfig(name="again"))
    workflow.add_step("ask", agent(dictated))
    result = await workflow.execute()
    assert result.outputs["ask"].urgent is False
    messages = dictated.requests[1]["messages"]
    assert messages[1]["content"] == [{"text": '{"urgent": "perhaps"}'}]
    assert "urgent: Input should be a valid boolean" in messages[2]["content"][0]["text"]
    assert '"perhaps"' in messages[2]["content"][0]["text"]
    for seen in (result, get_run(result.run_id)):
        assert seen.attempts_frame()["status"].tolist() == ["rejected", "answered"]
        assert seen.wasted_usd == Decimal("0.0000385")  # half of it: both answers took the same
        assert seen.cost_usd == 2 * seen.wasted_usd


async def test_a_tools_answer_that_does_not_fit_gets_its_result(dictated: Dictated) -> None:
    dictated.says(asks_for(tool_use("answer", "u1", urgent="?")), asks_for(tool_use("answer", "u2", urgent=True)))
    assert (await agent(dictated, model_type="nova-lite").run({})).urgent is True
    result = dictated.requests[1]["messages"][2]["content"][0]["toolResult"]
    assert (result["toolUseId"], result["status"]) == ("u1", "error")


async def test_an_empty_answer_is_asked_for_again_without_an_empty_message(dictated: Dictated) -> None:
    dictated.says(answer(), answer('{"urgent": true}'))
    assert (await agent(dictated).run({})).urgent is True
    assert [message["role"] for message in dictated.requests[1]["messages"]] == ["user"]


@pytest.mark.parametrize("retries", [0, 2])
async def test_it_is_asked_for_again_so_often_and_no_more(dictated: Dictated, retries: int) -> None:
    dictated.says(answer("no"))
    with pytest.raises(OutputFormatError, match=r"The answer is no Output: .*the answer: 'no'"):
        await agent(dictated, output_retries=retries).run({})
    assert len(dictated.requests) == 1 + retries


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        ("max_tokens", "cut off at max_tokens=7.*Raise max_tokens"),
        ("model_context_window_exceeded", r"cut off, since the model's context is full.*Shorten the prompt"),
        ("guardrail_intervened", "stopped by the guardrail.*Change the prompt, its inputs or the guardrail"),
        ("content_filtered", "stopped by Bedrock's content filter.*Change the prompt"),
        ("refusal", "refused by the model.*Change the prompt"),
    ],
)
async def test_an_answer_that_was_ended_is_no_slip_of_the_form(dictated: Dictated, stop: str, says: str) -> None:
    dictated.says(answer('{"urgent": tr', stop=stop))
    with pytest.raises(OutputFormatError, match=says):
        await agent(dictated, max_tokens=7).run({})
    assert len(dictated.requests) == 1


async def test_an_answer_that_fits_counts_also_where_a_guardrail_masked_some_of_it(dictated: Dictated) -> None:
    dictated.says(answer('{"product": "{NAME}", "urgent": true}', stop="guardrail_intervened"))
    assert (await agent(dictated, Ticket).run({})).product == "{NAME}"


def look() -> str:
    """Look."""
    return "nothing"


def cached(dictated: Dictated, prompt: str, **config: Any) -> Any:
    examples = config.pop("examples", ())
    made = SimpleAgent(
        AgentConfig(name="a", cache_prompt="1h", **config), BedrockClient(endpoint_url=dictated.url),
        prompt_template=prompt, examples=examples,
    )  # fmt: skip
    return made.run({"topic": "x", "tone": "dry"})


POINT = {"cachePoint": {"type": "default", "ttl": "1h"}}


async def test_the_cache_point_ends_what_is_always_the_same(dictated: Dictated) -> None:
    dictated.says(answer("ok"))
    await cached(dictated, "Long rules. About {topic}", system="Be brief.")
    await cached(dictated, "{topic}", system="Be brief.", examples=[("a", "b")])
    await cached(dictated, "{topic}", system="Be brief.")
    await cached(dictated, "Long rules. {topic}", system="Be {tone}.", tools=(look,))
    prompt, examples, system, tools = dictated.requests
    assert prompt["messages"][0]["content"] == [{"text": "Long rules. About "}, POINT, {"text": "x"}]
    assert examples["messages"][1]["content"] == [{"text": "b"}, POINT]
    assert system["system"] == [{"text": "Be brief."}, POINT]
    assert tools["toolConfig"]["tools"][-1] == POINT
    assert all(str(request).count("cachePoint") == 1 for request in dictated.requests)


async def test_a_model_that_keeps_nothing_gets_no_cache_point(dictated: Dictated) -> None:
    dictated.says(answer("ok"))
    await cached(dictated, "Rules. {topic}", model_type="llama-3-3-70b")
    await cached(dictated, "Rules. {topic}", model_type="nova-lite")
    llama, nova = dictated.requests
    assert "cachePoint" not in str(llama)
    assert nova["messages"][0]["content"][1]["cachePoint"]["ttl"] == "5m"
