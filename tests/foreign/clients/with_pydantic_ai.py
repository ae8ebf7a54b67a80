"""Text, a stream and a tool by Pydantic AI; prints them as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from pydantic_ai import Agent
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider

url, model_id = sys.argv[1:]
cities: list[str] = []
agent = Agent(BedrockConverseModel(model_id, provider=BedrockProvider(base_url=url, region_name="us-east-1")))


@agent.tool_plain
def weather(city: str) -> str:
    """Return the weather of a city."""
    cities.append(city)
    return f"21 degrees in {city}"


async def main() -> None:
    """Print what was answered."""
    async with agent.run_stream("Hello!") as streamed:
        pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]
    text = (await agent.run("Hello!")).output
    tools = (await agent.run("What is the weather?")).output
    print(json.dumps({"text": text, "stream": pieces, "tools": tools, "called": cities}))


asyncio.run(main())
