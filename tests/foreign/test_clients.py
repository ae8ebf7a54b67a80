"""Clients of Bedrock that are not ours run unchanged against the local endpoint, from an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import HAIKU, Endpoint, user

HERE = Path(__file__).parent
BIN = HERE.parents[1] / ".venv-foreign" / "bin"
WEATHER = {"tool_calls": [{"name": "weather", "input": {"city": "Oslo"}}]}
SCRIPT = {
    "rules": [
        {"prompt": "the tool answered: .*21 degrees in Oslo", "replies": ["It is 21 degrees in Oslo."]},
        {"prompt": "weather", "replies": [WEATHER]},
    ],
    "text": "Hello from the endpoint!",
}
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not BIN.exists(), reason="there is no .venv-foreign: `make test-foreign` makes it"),
]


@pytest.fixture
def endpoint(scripted: Endpoint) -> Endpoint:
    scripted.follow(**SCRIPT)
    return scripted


def run(*command: str) -> Any:
    """Run a program of the foreign environment and return the JSON that it prints last."""
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**kept, **keys, "AWS_DEFAULT_REGION": "us-east-1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("client", ["boto3", "langchain", "strands", "pydantic_ai"])
def test_a_client_gets_text_a_stream_and_the_answer_after_a_tool(endpoint: Endpoint, client: str) -> None:
    said = run("python", str(HERE / "clients" / f"with_{client}.py"), endpoint.url, HAIKU)
    assert said["text"] == "Hello from the endpoint!"
    assert "".join(said["stream"]) == "Hello from the endpoint!"
    assert len(said["stream"]) > 1
    assert said["called"] == ["Oslo"]
    assert said["tools"] == "It is 21 degrees in Oslo."
    assert endpoint.stats()["errors"] == {}


def test_the_aws_cli_gets_text_and_a_tool_call(endpoint: Endpoint) -> None:
    def converse(text: str, *more: str) -> Any:
        asked = ("--model-id", HAIKU, "--messages", json.dumps(user(text)), "--endpoint-url", endpoint.url)
        return run("aws", "bedrock-runtime", "converse", *asked, *more)["output"]["message"]["content"]

    assert converse("Hello!") == [{"text": "Hello from the endpoint!"}]
    [block] = converse("What is the weather?", "--tool-config", json.dumps(TOOLS))
    assert block["toolUse"]["input"] == {"city": "Oslo"}


def test_the_aws_cli_reads_the_control_plane_and_the_quotas(endpoint: Endpoint) -> None:
    models = run("aws", "bedrock", "list-foundation-models", "--by-provider", "amazon", "--endpoint-url", endpoint.url)
    assert "amazon.nova-lite-v1:0" in {model["modelId"] for model in models["modelSummaries"]}
    asked = ("list-service-quotas", "--service-code", "bedrock", "--endpoint-url", endpoint.url)
    assert run("aws", "service-quotas", *asked)["Quotas"][0]["QuotaCode"] == "L-58BE175A"
