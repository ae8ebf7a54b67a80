"""Text, a stream and a tool by boto3; prints them as JSON."""

from __future__ import annotations

import json
import sys

import boto3

url, model_id = sys.argv[1:]
client = boto3.client("bedrock-runtime", endpoint_url=url)
schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = {"tools": [{"toolSpec": {"name": "weather", "description": "Of a city", "inputSchema": {"json": schema}}}]}


def user(*content: object) -> dict[str, object]:
    """Return a user's message."""
    return {"role": "user", "content": list(content)}


text = client.converse(modelId=model_id, messages=[user({"text": "Hello!"})])
events = client.converse_stream(modelId=model_id, messages=[user({"text": "Hello!"})])["stream"]
pieces = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
asked = [user({"text": "What is the weather?"})]
called = client.converse(modelId=model_id, messages=asked, toolConfig=tools)["output"]["message"]
use = called["content"][0]["toolUse"]
result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": f"21 degrees in {use['input']['city']}"}]}}
told = client.converse(modelId=model_id, messages=[*asked, called, user(result)], toolConfig=tools)
print(
    json.dumps(
        {
            "text": text["output"]["message"]["content"][0]["text"],
            "stream": pieces,
            "called": [use["input"]["city"]],
            "tools": told["output"]["message"]["content"][0]["text"],
        }
    )
)
