"""Text, a stream and a tool by langchain-aws; prints them as JSON."""

from __future__ import annotations

import json
import sys

from langchain_aws import ChatBedrockConverse
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

url, model_id = sys.argv[1:]
model = ChatBedrockConverse(model=model_id, endpoint_url=url)


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"21 degrees in {city}"


asked = HumanMessage("What is the weather?")
with_tools = model.bind_tools([weather])
called = with_tools.invoke([asked])
results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
print(
    json.dumps(
        {
            "text": model.invoke("Hello!").text,
            "stream": [chunk.text for chunk in model.stream("Hello!") if chunk.text],
            "called": [call["args"]["city"] for call in called.tool_calls],
            "tools": with_tools.invoke([asked, called, *results]).text,
        }
    )
)
