"""What goes to Bedrock for a request, and the key that tells one request from another."""

from typing import Any

import pytest

from agentflow import BedrockClient
from agentflow.core.content import Attachment
from agentflow.core.errors import InputError, InvalidRequestError
from agentflow.core.model import Request, Turn
from agentflow.models.call import Call
from agentflow.models.converse import request_body, request_key
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


async def test_turns_that_do_not_alternate_are_refused_in_bedrocks_words(scripted: Endpoint) -> None:
    with pytest.raises(InvalidRequestError, match="must alternate"):
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
