"""Debug logs of real calls hold no key, signature, prompt or answer, and neither do the errors that they end in."""

import logging
import os
import subprocess
import sys

import pytest

from agentflow.utils.redaction import LOGGERS, redact_dependencies, redacted
from tests.endpoint import Endpoint

CALL = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
import boto3
import agentflow.models.bedrock_client
client = boto3.client("bedrock-runtime", endpoint_url=sys.argv[1], region_name="us-east-1")
messages = [{"role": "user", "content": [{"text": "the planted-prompt, it's \\"quoted\\""}]}]
ask = {"messages": messages, "system": [{"text": "planted-system"}]}
model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
client.converse(modelId=model, **ask)
list(client.converse_stream(modelId=model, **ask)["stream"])
"""

# The key goes to a host of Amazon's name, and no further than this machine: the proxy is a closed port.
BEARER_CALL = """
import asyncio, logging
logging.basicConfig(level=logging.DEBUG)
from agentflow import BedrockClient
try:
    asyncio.run(BedrockClient("us-east-1").invoke("haiku", "planted-prompt", system="planted-system"))
except Exception as error:
    logging.getLogger("mine").exception("failed: %s", error)
"""

ERROR_CALL = """
import asyncio, logging, sys
logging.basicConfig(level=logging.DEBUG)
from agentflow import BedrockClient
try:
    asyncio.run(BedrockClient("us-east-1", endpoint_url=sys.argv[1]).invoke("haiku", "planted-prompt"))
except Exception as error:
    print(type(error).__name__)
"""

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "planted-secret",
    "AWS_SESSION_TOKEN": "planted-token",
}


def logs_of(script: str, *arguments: str, **environment: str) -> str:
    """Return what a program writes to standard error."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.soak
def test_a_call_leaks_nothing_into_debug_logs(scripted: Endpoint) -> None:
    scripted.follow(text="planted-answer")
    logs = logs_of(CALL, scripted.url, **KEYS)
    assert "botocore.endpoint" in logs
    assert "[redacted]" in logs
    assert "planted" not in logs
    assert "Signature=" not in logs.replace("Signature=[redacted]", "")


def test_a_bearer_key_leaks_nowhere() -> None:
    logs = logs_of(
        BEARER_CALL,
        AWS_BEARER_TOKEN_BEDROCK="planted-bedrock-api-key",
        HTTPS_PROXY="http://127.0.0.1:9",
        AGENTFLOW_MAX_RETRIES="0",
    )
    assert "The proxy on the way" in logs
    assert "botocore.endpoint" in logs
    assert "planted-bedrock-api-key" not in logs
    assert "planted-system" not in logs


@pytest.mark.soak
def test_a_refusal_leaks_nothing(scripted: Endpoint) -> None:
    scripted.follow(errors=[{"code": "ValidationException", "message": "no"}])
    logs = logs_of(ERROR_CALL, scripted.url, **KEYS)
    assert "botocore.parsers" in logs
    assert "planted" not in logs


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer planted",
        "Invalid header value b'Bearer planted-bedrock-api-key\\n'",
        "{'Authorization': b'AWS4-HMAC-SHA256 Credential=a, Signature=planted'}",
        "{'X-Amz-Security-Token': 'planted'}",
        "x-amz-security-token:planted",
        "{'body': b'{\"messages\": \"planted\"}'}",
        "Response body:\nb'planted'",
    ],
)
def test_secrets_are_taken_out_of_a_text(text: str) -> None:
    assert "planted" not in redacted(text)


@pytest.mark.parametrize("text", ["Bearer authorization requires an HTTPS endpoint", "Signature expired: 2026", "a: b"])
def test_other_text_is_left(text: str) -> None:
    assert redacted(text) == text


def test_the_text_of_a_logged_exception_is_redacted(caplog: pytest.LogCaptureFixture) -> None:
    redact_dependencies()
    error = ValueError("Authorization: Bearer planted")
    with caplog.at_level(logging.DEBUG, logger=LOGGERS[0]):
        logging.getLogger(LOGGERS[0]).debug("failed", exc_info=error)
    assert "ValueError" in caplog.text
    assert "planted" not in caplog.text
