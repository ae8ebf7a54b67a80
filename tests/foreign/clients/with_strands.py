"""Text, a stream and a tool by Strands Agents; prints them as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from strands import Agent, tool
from strands.models import BedrockModel

url, model_id = sys.argv[1:]
cities: list[str] = []


@tool
def weather(city: str) -> str:
    """Return the weather of a city.

    Args:
        city: Its name.
    """
    cities.append(city)
    return f"21 degrees in {city}"


def agent(*, streaming: bool) -> Agent:
    """Return an agent that prints nothing."""
    model = BedrockModel(model_id=model_id, endpoint_url=url, streaming=streaming)
    return Agent(model=model, tools=[weather], callback_handler=None)


async def pieces() -> list[str]:
    """Return the pieces of a streamed answer."""
    return [event["data"] async for event in agent(streaming=True).stream_async("Hello!") if "data" in event]


print(
    json.dumps(
        {
            "text": str(agent(streaming=False)("Hello!")).strip(),
            "stream": asyncio.run(pieces()),
            "tools": str(agent(streaming=True)("What is the weather?")).strip(),
            "called": cities,
        }
    )
)
