"""CountTokens by boto3: the same count as the usage of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint import HAIKU, HAIKU_BARE, Endpoint, user

TOOLS = {
    "tools": [
        {"toolSpec": {"name": "weather", "description": "Of a city", "inputSchema": {"json": {"type": "object"}}}}
    ]
}


@pytest.mark.parametrize("model_id", [HAIKU, HAIKU_BARE])
@pytest.mark.parametrize("more", [{}, {"system": [{"text": "Be terse."}]}, {"toolConfig": TOOLS}])
def test_the_count_is_the_usage_of_the_answer(either: Endpoint, model_id: str, more: dict[str, Any]) -> None:
    asked = {"messages": user("How are you today, my friend?"), **more}
    counted = either.client.count_tokens(modelId=model_id, input={"converse": asked})["inputTokens"]
    answered = either.client.converse(modelId=HAIKU, inferenceConfig={"maxTokens": 2}, **asked)["usage"]["inputTokens"]
    assert counted == answered > 0


def test_anthropics_body_is_counted_too(either: Endpoint) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
    counted = either.client.count_tokens(modelId=HAIKU_BARE, input={"invokeModel": {"body": json.dumps(body)}})
    answer = json.loads(either.client.invoke_model(modelId=HAIKU, body=json.dumps(body))["body"].read())
    assert counted["inputTokens"] == answer["usage"]["input_tokens"]


def test_counting_is_free(scripted: Endpoint) -> None:
    scripted.client.count_tokens(modelId=HAIKU_BARE, input={"converse": {"messages": user("Hi")}})
    assert scripted.stats()["requests"] == 0


def test_a_model_that_bedrock_does_not_count_for_is_refused(scripted: Endpoint) -> None:
    with pytest.raises(ClientError, match="The provided model doesn't support counting tokens"):
        scripted.client.count_tokens(modelId="anthropic.claude-haiku-5-5", input={"converse": {"messages": user("Hi")}})
