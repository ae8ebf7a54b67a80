"""What goes to Bedrock for a request, and the key that tells one request from another."""

from decimal import Decimal
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, get_run
from agentflow.core.content import Attachment, CachePoint, ToolResult
from agentflow.core.errors import InputError, InvalidRequestError
from agentflow.core.model import Guardrail, Request, ToolSpec, ToolUse, Turn, Usage
from agentflow.models.call import Call
from agentflow.models.converse import request_body, request_key, request_metadata
from tests.dictated import Dictated, answer, asks_for, streamed, tool_use
from tests.endpoint import Endpoint

PNG = Attachment("image", "png", b"\x89PNG\r\n\x1a\n0000")
PDF = Attachment("document", "pdf", b"%PDF-1.7")
COUNTS = {
    "type": "object",
    "properties": {"counts": {"type": "object", "additionalProperties": {"type": "integer"}}},
    "required": ["counts"],
}


def content_of(*prompt: str | Attachment) -> Any:
    return request_body(Request(prompt))["messages"][-1]["content"]


def test_turns_and_blocks_stand_in_their_order() -> None:
    request = Request(("See ", PNG, PDF, "?"), turns=(Turn("user", "a"), Turn("assistant", "b")))
    assert request_body(request)["messages"] == [
        {"role": "user", "content": [{"text": "a"}]},
        {"role": "assistant", "content": [{"text": "b"}]},
        {"role": "user", "content": [
            {"text": "See "},
            {"image": {"format": "png", "source": {"bytes": PNG.data}}},
            {"document": {"format": "pdf", "source": {"bytes": PDF.data}, "name": "document-1"}},
            {"text": "?"},
        ]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (["", ""], ["document-1", "document-2"]),
        (["report", "report", "Report"], ["report", "report-2", "Report-3"]),
        (["John's  report_v1.2 (final) [x]"], ["John s report v1 2 (final) [x]"]),
        (["分期报告", "-"], ["document-1", "document-2"]),
        (["document-2", ""], ["document-2", "document-3"]),
        (["x" * 300], ["x" * 180]),
    ],
)
def test_documents_get_names_that_bedrock_takes(given: list[str], sent: list[str]) -> None:
    blocks = content_of("Compare.", *(Attachment("document", "pdf", b"%PDF-", name) for name in given))
    assert [block["document"]["name"] for block in blocks[1:]] == sent


def test_an_object_of_any_keys_goes_as_a_tool_and_stays_open() -> None:
    request = Request("Count.", output_schema=COUNTS)
    schema = request_body(request)["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
    assert schema["properties"]["counts"]["additionalProperties"] == {"type": "integer"}
    assert schema["additionalProperties"] is False


async def test_the_client_sends_images_documents_and_turns(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    turns = [Turn("user", "one"), Turn("assistant", "two")]
    reply = await client.invoke("haiku", ["What is this?", PNG, PDF], turns=turns)
    assert reply.text.splitlines() == [
        "What is this?",
        "[an image (png) is attached, which this model cannot see]",
        "[a document (pdf) is attached, which this model cannot read: document-1]",
    ]
    stream = client.stream("haiku", ("Look: ", PNG), turns=turns)
    assert "".join([text async for text in stream]).startswith("Look: \n[an image")


async def test_turns_that_do_not_alternate_are_refused_before_they_are_sent(scripted: Endpoint) -> None:
    with pytest.raises(InvalidRequestError, match="Let user and assistant take turns"):
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", "x", turns=[Turn("user", "y")])


async def test_a_prompt_that_is_none_sends_nothing(scripted: Endpoint) -> None:
    before = scripted.stats()["requests"]
    with pytest.raises(InputError, match=r"Attachment\.of\(path\)"):
        await BedrockClient(endpoint_url=scripted.url).invoke("haiku", ["See", PNG.data])  # type: ignore[list-item]
    assert scripted.stats()["requests"] == before


def key(request: Request, model: str | None = "haiku", region: str = "us-east-1") -> str:
    return Call(BedrockClient(region, endpoint_url="http://127.0.0.1:1")._route, model, request).key


def test_a_request_has_one_key_in_all_regions_and_under_all_names_of_its_model() -> None:
    request = Request("Hello", temperature=0)
    names = [(None, "us-east-1"), ("haiku", "eu-west-1"), ("haiku-4-5", "ap-northeast-1"),
             ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "us-east-1")]  # fmt: skip
    assert {key(request, model, region) for model, region in names} == {key(Request("Hello", temperature=0.0))}
    assert key(request, "us.nobody.model") != key(request, "eu.nobody.model")


def test_any_change_of_a_request_changes_its_key() -> None:
    requests = [
        Request("Hello"), Request("hello"), Request("Hello", 5), Request("Hello", system="s"),
        Request("Hello", temperature=0), Request("Hello", temperature=1), Request("Hello", stop_sequences=("x",)),
        Request("Hello", output_schema={"type": "object"}), Request("Hello", output_schema=COUNTS),
        Request("Hello", turns=(Turn("user", "a"), Turn("assistant", "b"))),
        Request(("Hello", PNG)), Request(("Hello", Attachment("image", "png", PNG.data + b"0"))),
        Request((PNG, "Hello")), Request(("Hello", PDF)),
        Request(("Hello", Attachment("document", "pdf", PDF.data, "a"))),
    ]  # fmt: skip
    assert len({*map(key, requests), key(requests[0], "sonnet")}) == len(requests) + 1


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    body = request_body(Request(("Grüße ", PNG), 64, temperature=0.5))
    digest = "d41d406f40697f7bee6cf7c1bbd84c842a8eb9084c5ca135460fcbc4d4c880d8"
    assert request_key("haiku-4-5", body) == request_key("haiku-4-5", dict(reversed(body.items()))) == digest


USED: Any = {"toolUse": {"toolUseId": "use-1", "name": "t", "input": {}}}
EVERYTHING = Request(
    ("Rules.", CachePoint("1h"), PNG, ToolResult("use-1", "21", is_error=True)),
    max_tokens=9, system="Be brief.", temperature=0.5, stop_sequences=("END",), top_p=0.9,
    turns=(Turn("user", ("Hi", PDF)), Turn("assistant", (USED,))),
    tools=(ToolSpec("t", "Does it.", {"type": "object", "properties": {}}),), cache_tools="1h", cache_system="1h",
    guardrail=Guardrail("abc123", "1", "enabled"), service_tier="flex", latency="optimized", effort="low",
    extra_fields={"top_k": 5}, response_fields=("/stop_sequence",),
)  # fmt: skip


async def test_everything_of_a_request_is_on_the_wire(dictated: Dictated) -> None:
    dictated.says(answer("ok"))
    await BedrockClient(endpoint_url=dictated.url).answer("haiku", EVERYTHING)
    [sent] = dictated.requests
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert sent["system"] == [{"text": "Be brief."}, point]
    assert sent["messages"][2]["content"][1] == point
    assert sent["messages"][2]["content"][3] == {
        "toolResult": {"toolUseId": "use-1", "content": [{"text": "21"}], "status": "error"}
    }
    assert sent["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}
    assert sent["toolConfig"]["tools"][0]["toolSpec"]["description"] == "Does it."
    assert sent["toolConfig"]["tools"][1] == point
    expected = {"guardrailIdentifier": "abc123", "guardrailVersion": "1", "trace": "enabled"}
    assert sent["guardrailConfig"] == expected
    assert (sent["serviceTier"], sent["performanceConfig"]) == ({"type": "flex"}, {"latency": "optimized"})
    assert sent["outputConfig"] == {"effort": "low"}
    assert sent["additionalModelRequestFields"] == {"top_k": 5}
    assert sent["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert "requestMetadata" not in sent  # there is no step


async def test_a_streamed_request_is_the_same_but_for_the_guardrails_mode(dictated: Dictated) -> None:
    dictated.says(answer("some words"))
    client = BedrockClient(endpoint_url=dictated.url)
    await client.answer("haiku", EVERYTHING)
    options: Any = {name: getattr(EVERYTHING, name) for name in EVERYTHING.__slots__ if name != "prompt"}
    assert [text async for text in client.stream("haiku", EVERYTHING.prompt, **options)] == ["some", " words"]
    whole, streamed = dictated.requests
    assert streamed["guardrailConfig"].pop("streamProcessingMode") == "sync"
    assert streamed == whole


async def test_a_reply_has_all_that_came(dictated: Dictated) -> None:
    new = {"hologram": {"x": 1}}
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
    usage = {
        "inputTokens": 31, "outputTokens": 57, "totalTokens": 88, "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 40,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 10}],
    }  # fmt: skip
    dictated.says(
        answer(thought, "Let me ", new, "look.", tool_use("t", a=[1]), stop="a_new_reason", usage=usage,
               additionalModelResponseFields={"stop_sequence": "END"}, trace={"guardrail": {"actionReason": "none"}})
    )  # fmt: skip
    reply = await BedrockClient("eu-west-1", endpoint_url=dictated.url).invoke("haiku", "x")
    assert (reply.text, reply.stop_reason) == ("Let me look.", "a_new_reason")
    assert reply.content[0] == thought
    assert reply.tool_uses == (ToolUse("use-1", "t", {"a": [1]}),)
    assert reply.response_fields == {"stop_sequence": "END"}
    assert reply.trace == {"guardrail": {"actionReason": "none"}}
    assert reply.usage == Usage(31, 57, 100, 40, 30)
    prices = {"1.1": 31, "5.5": 57, "0.11": 100, "1.375": 10, "2.2": 30}
    assert reply.cost_usd == sum(tokens * Decimal(price) for price, tokens in prices.items()) / 1_000_000


async def test_a_stream_brings_the_blocks_that_a_whole_answer_has(dictated: Dictated) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
    dictated.says(asks_for(thought, {"text": "Let me look."}, tool_use("t", a=[1]), tool_use("none", "use-2")))
    client = BedrockClient(endpoint_url=dictated.url)
    stream = client.stream("haiku", "x")
    assert [text async for text in stream] == ["Let ", "me look."]
    whole = await client.invoke("haiku", "x")
    assert stream.reply is not None
    for name in ("text", "content", "tool_uses", "stop_reason", "usage", "key"):
        assert getattr(stream.reply, name) == getattr(whole, name)


SOURCE: Any = {"title": "Guide", "sourceContent": [{"text": "It is red."}], "location": {"web": {"url": "https://a.b"}}}
CITED: Any = {"citationsContent": {"content": [{"text": "It is red."}], "citations": [SOURCE]}}
NEW: Any = {"hologram": {"a": 1}}


async def goes_back(client: BedrockClient, dictated: Dictated, content: Any) -> Any:
    """What is sent of an answer's content, when the conversation goes on."""
    dictated.says(answer("ok"))
    await client.invoke("haiku", "and?", turns=[Turn("user", "x"), Turn("assistant", content)])
    return dictated.requests[-1]["messages"][1]["content"]


async def test_what_boto3_does_not_know_is_kept_and_not_sent_back(dictated: Dictated) -> None:
    client = BedrockClient(endpoint_url=dictated.url)
    located = {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t", "location": NEW}]}}
    dictated.says(answer(NEW, {"reasoningContent": NEW}, "a", CITED, located))
    reply = await client.invoke("haiku", "x")
    assert reply.text == "aIt is red.b"
    assert len(reply.content) == 5
    sent = await goes_back(client, dictated, reply.content)
    assert sent == [
        {"text": "a"}, CITED, {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t"}]}},
    ]  # fmt: skip


async def test_blocks_of_a_stream_go_back_as_those_of_a_whole_answer(dictated: Dictated) -> None:
    client = BedrockClient(endpoint_url=dictated.url)
    dictated.says(
        streamed(
            [("delta", {"reasoningContent": {"signature": "c2ln"}})],
            [("delta", {"text": "It is red."}), ("delta", {"citation": SOURCE})],
            [("start", {"toolResult": {"toolUseId": "u", "type": "s"}}), ("delta", {"toolResult": [{"text": "x"}]})],
            [("start", NEW), ("delta", NEW)],
            [("delta", NEW)],
            [("start", {"image": {"format": "png"}}), ("delta", {"image": {"source": {"bytes": "AAAA"}}})],
        )
    )  # fmt: skip
    stream = client.stream("haiku", "x")
    assert [text async for text in stream] == ["It is red."]
    assert stream.reply is not None
    assert stream.reply.text == "It is red."
    signed, cited, result, *unknown, image = stream.reply.content
    assert result == {"toolResult": {"toolUseId": "u", "type": "s", "content": [{"text": "x"}]}}
    assert image == {"image": {"format": "png", "source": {"bytes": {"$base64": "AAAA"}}}}
    assert len(unknown) == 2
    sent = await goes_back(client, dictated, [signed, cited, *unknown])
    assert sent == [{"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}}, CITED]


async def test_a_stream_gives_the_answers_text_and_nothing_beside_it(dictated: Dictated) -> None:
    client = BedrockClient(endpoint_url=dictated.url)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    said = [
        asks_for({"text": "Sure: "}, tool_use("answer", a=1), tool_use("answer", "use-2", a=2)),
        answer('Sure: {"a": 1}'),
        asks_for({"text": "Let me look."}, tool_use("look")),
    ]
    texts = []
    for response in said:
        dictated.says(response)
        stream = client.stream("nova-lite", "x", output_schema=schema)
        texts.append("".join([text async for text in stream]))
        assert stream.reply is not None
        assert stream.reply.text == texts[-1]
    assert texts == ['{"a": 1}', 'Sure: {"a": 1}', "Let me look."]


async def test_a_reply_reads_the_same_from_the_journal(dictated: Dictated) -> None:
    hidden = {"reasoningContent": {"redactedContent": "aGlkZGVu"}}
    dictated.says(answer(hidden, "text", tool_use("answer", urgent=True)))
    client = BedrockClient(endpoint_url=dictated.url)
    workflow = Workflow(WorkflowConfig(name="kept"))
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="x"))
    result = await workflow.execute()
    assert get_run(result.run_id).rows["ask"].replies == result.rows["ask"].replies
    assert result.rows["ask"].replies[0].content[0] == {
        "reasoningContent": {"redactedContent": {"$base64": "aGlkZGVu"}}
    }


async def test_a_steps_calls_can_be_found_in_awss_own_logs(dictated: Dictated) -> None:
    dictated.says(answer("ok"))
    client = BedrockClient(endpoint_url=dictated.url)
    inner, outer = Workflow("inner"), Workflow(WorkflowConfig(name="nächtlich"))
    inner.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{word}"))
    outer.add_step("sub", inner, map_over="word")
    result = await outer.execute(word=["one"])
    expected = {"workflow": "n_chtlich", "step": "sub_0_.ask", "run_id": result.run_id}
    assert dictated.requests[0]["requestMetadata"].items() >= expected.items()
    [reply] = result.rows["sub"].replies
    assert reply.key == key(Request("one"))  # where it is asked from is no part of what is asked


def test_metadata_is_written_as_bedrock_takes_it() -> None:
    assert request_metadata({"step": "a[0].b!" + "x" * 300}) == {"requestMetadata": {"step": "a_0_.b_" + "x" * 249}}
    assert request_metadata({}) == {}


async def test_tokens_are_counted_by_bedrock_or_estimated_and_labelled(dictated: Dictated) -> None:
    client = BedrockClient(endpoint_url=dictated.url)
    dictated.says({"inputTokens": 7})
    counted = await client.count_tokens("haiku", ["Hi", CachePoint()], system="s", max_tokens=5)
    assert (counted.tokens, counted.is_estimate, counted.reason) == (7, False, "")
    assert dictated.paths == ["/model/anthropic.claude-haiku-4-5-20251001-v1:0/count-tokens"]
    assert dictated.requests[0]["input"]["converse"].keys() == {"messages", "system"}
    dictated.says({"status": 400, "code": "ValidationException", "message": "not supported"})
    refused = await client.count_tokens("sonnet", "x" * 35)
    assert (refused.tokens, refused.is_estimate) == (26, True)
    assert "not supported" in refused.reason
    unknown = await client.count_tokens("haiku-5-5", "x" * 35)
    assert (unknown.is_estimate, unknown.reason) == (True, "Bedrock does not count the tokens of haiku-5-5.")
    assert len(dictated.requests) == 2
