"""What bad input gets: Bedrock's own errors, and the server stays up."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint, text_of, user

PATH = f"/model/{HAIKU.replace(':', '%3A')}/converse"


def refusal(endpoint: Endpoint, **request: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        endpoint.say("Hello!", **request)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def post(endpoint: Endpoint, body: bytes, *, path: str = PATH, **headers: str) -> tuple[int, str, dict[str, Any]]:
    """Send what boto3 would not, and return status, error type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, response.headers.get("x-amzn-ErrorType", "").partition(":")[0], answer


@pytest.mark.parametrize(
    ("request_", "wording"),
    [
        ({"modelId": "us.nobody.nothing-v1:0"}, "The provided model identifier is invalid."),
        ({"modelId": f"mars.{HAIKU_BARE}"}, "The provided model identifier is invalid."),
        ({"modelId": HAIKU_BARE}, f"model ID {HAIKU_BARE} with on-demand throughput isn\u2019t supported."),
        ({"inferenceConfig": {"maxTokens": 64_001}}, "The maximum tokens you requested exceed the model limit"),
        ({"inferenceConfig": {"temperature": 1.5}}, "Member must have value less than or equal to 1"),
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": user("a") + user("b")}, "A conversation must alternate between user and assistant roles."),
        ({"messages": [{"role": "assistant", "content": [{"text": "a"}]}]}, "must start with a user message"),
        ({"messages": [{"role": "narrator", "content": [{"text": "a"}]}]}, "Member must satisfy enum value set: ["),
        ({"messages": user("  ")}, "The text field in the ContentBlock object at messages.0.content.0 is blank."),
        ({"messages": [{"role": "user", "content": []}]}, "The content field in the Message object at messages.0"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": b"GIF8"}}}]}]},
         "The provided image does not match the specified image format"),
        ({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}}}},
         "is not a JSON object"),
    ],
)  # fmt: skip
def test_bedrock_would_refuse_it_in_these_words(scripted: Endpoint, request_: dict[str, Any], wording: str) -> None:
    code, message, status = refusal(scripted, **request_)
    assert (code, status) == ("ValidationException", 400)
    assert wording in message


CALL = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}}
OTHER = {"toolResult": {"toolUseId": "t2", "content": [{"text": "rainy"}]}}
EMPTY = {"toolResult": {"toolUseId": "t1", "content": [], "status": "error"}}


@pytest.mark.parametrize(
    ("called", "answered", "wording"),
    [
        ([CALL], [{"text": "a"}], "Expected toolResult blocks at messages.2.content for the following Ids: t1"),
        ([CALL], [OTHER], "Expected toolResult blocks at messages.2.content for the following Ids: t1"),
        (
            [CALL],
            [RESULT, OTHER],
            "The number of toolResult blocks at messages.2.content exceeds the number of toolUse",
        ),
        ([{"text": "a"}], [RESULT], "The number of toolResult blocks at messages.2.content exceeds the number of"),
        ([CALL], [EMPTY], "The content field at messages.2.content.0.toolResult cannot be empty when status value is"),
    ],
)
def test_tool_results_must_answer_the_calls_before_them(
    scripted: Endpoint, called: list[Any], answered: list[Any], wording: str
) -> None:
    tools = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}
    messages = [*user("?"), {"role": "assistant", "content": called}, {"role": "user", "content": answered}]
    code, message, _ = refusal(scripted, messages=messages, toolConfig=tools)
    assert code == "ValidationException"
    assert message.startswith(wording)


@pytest.mark.parametrize("schema", [{}, {"type": "array"}, {"$ref": "#/$defs/A"}, {"anyOf": []}, ["type"]])
def test_the_input_of_a_tool_must_be_an_object(scripted: Endpoint, schema: Any) -> None:
    tools = [{"toolSpec": {"name": name, "inputSchema": {"json": given}}} for name, given in
             (("good", {"type": "object"}), ("bad", schema))]  # fmt: skip
    code, message, _ = refusal(scripted, toolConfig={"tools": tools})
    assert code == "ValidationException"
    assert message == (
        "The value at toolConfig.tools.1.toolSpec.inputSchema.json.type must be one of the following: object."
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "SerializationException"),
        (b'{"messages": [', "SerializationException"),
        (b"[" * 100_000, "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"messages": "hello"}', "SerializationException"),
        (b'{"messages": [{"role": "user", "content": [{"text": "\\ud800"}]}]}', "SerializationException"),
        (b'{"messages": [{"role": "user", "content": [{"text": 5}]}]}', "SerializationException"),
        (b'{"messages": [{"role": "user", "content": [{"text": "a"}]}], "inferenceConfig": {"maxTokens": true}}',
         "SerializationException"),
        (b'{"messages": [{"role": "user", "content": [{"text": "a"}]}], "inferenceConfig": {"maxTokens": 0}}',
         "ValidationException"),
        (b'{"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}', "ValidationException"),
        (b'{"messages": [{"content": [{}]}]}', "ValidationException"),
        (b'{"messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "?"}}}]}]}',
         "SerializationException"),
    ],
)  # fmt: skip
def test_a_malformed_body_is_refused_and_the_server_stays_up(scripted: Endpoint, body: bytes, code: str) -> None:
    status, error_type, answer = post(scripted, body)
    assert (status, error_type) == (400, code)
    assert answer["message"]
    assert text_of(scripted.say("still here")) == "still here"


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": ...}, "Malformed input request: #: required key [max_tokens] not found, please reformat"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, 'first message must use the "user" role'),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "n", "input": {}}]},
                    {"role": "user", "content": "b"},
                ]
            },
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
        ),
    ],
)
def test_a_wrong_anthropic_body_is_refused(scripted: Endpoint, change: dict[str, Any], wording: str) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    sent = {name: value for name, value in {**body, **change}.items() if value is not ...}
    with pytest.raises(ClientError, match="ValidationException") as caught:
        scripted.client.invoke_model(modelId=HAIKU, body=json.dumps(sent))
    assert wording in caught.value.response["Error"]["Message"]


def test_a_body_over_25_mb_is_refused(scripted: Endpoint) -> None:
    status, error_type, answer = post(scripted, b" " * 25_000_001)
    assert (status, error_type) == (400, "ValidationException")
    assert "25000000" in answer["message"]


@pytest.mark.parametrize("path", ["/", "/model/x/embed", "/foundation-models"])
def test_an_unknown_path_is_an_unknown_operation(scripted: Endpoint, path: str) -> None:
    assert post(scripted, b"{}", path=path)[:2] == (404, "UnknownOperationException")


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example:8723"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""}, {"Origin": "null"},
                {"Origin": "http://127.0.0.1:8888"}]
)  # fmt: skip
@pytest.mark.parametrize("path", [PATH, "/_config"])
def test_no_web_page_can_call_it(scripted: Endpoint, headers: dict[str, str], path: str) -> None:
    status, _, answer = post(scripted, b"{}", path=path, **headers)
    assert status == 403
    assert "no web page" in answer["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]", "[::1]:8723"])
def test_a_program_on_this_machine_can(scripted: Endpoint, host: str) -> None:
    body = json.dumps({"messages": user("Hello!")}).encode()
    assert post(scripted, body, Host=host)[0] == 200


def test_statistics_count_answers_errors_and_billed_tokens(scripted: Endpoint) -> None:
    before = scripted.stats()
    usage = scripted.say("one two three")["usage"]
    refusal(scripted, modelId="nope.nope")
    after = scripted.stats()
    assert after["requests"] - before["requests"] == 2
    assert after["answers"] - before["answers"] == 1
    assert after["errors"]["ValidationException"] - before["errors"].get("ValidationException", 0) == 1
    assert after["billed"]["input_tokens"] - before["billed"]["input_tokens"] == usage["inputTokens"] == 6
    assert after["billed"]["output_tokens"] - before["billed"]["output_tokens"] == usage["outputTokens"] == 3
    assert after["by_model"][HAIKU_BARE] - before["by_model"].get(HAIKU_BARE, 0) == 1
    assert after["in_flight"] == 0
