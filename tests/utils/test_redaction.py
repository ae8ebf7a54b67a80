"""Debug logs of a real call hold no key, signature, prompt or answer."""

import os
import subprocess
import sys

from tests.endpoint import Endpoint

SCRIPT = """
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


def test_a_call_leaks_nothing_into_debug_logs(scripted: Endpoint) -> None:
    scripted.follow(text="planted-answer")
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_SESSION_TOKEN": "planted-token",
    }
    command = [sys.executable, "-c", SCRIPT, scripted.url]
    logs = subprocess.run(command, env=os.environ | keys, capture_output=True, text=True, check=True).stderr
    assert "botocore.endpoint" in logs
    assert "[redacted]" in logs
    assert "planted" not in logs
    assert "Signature=" not in logs.replace("Signature=[redacted]", "")
