"""A hundred thousand calls through one client: its memory stays flat."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from agentflow import BedrockClient
from agentflow.models.limiting.lanes import lanes
from tests.endpoint import Endpoint

CALLS = 100_000
AT_ONCE = 1_000
MOST_MB = 8  # what the second half may add


@pytest.mark.soak
async def test_memory_is_flat_over_a_hundred_thousand_calls(scripted: Endpoint) -> None:
    scripted.follow(text="done")
    client = BedrockClient(endpoint_url=scripted.url, max_connections=32)
    process, half = psutil.Process(), 0
    for sent in range(0, CALLS, AT_ONCE):
        await asyncio.gather(*(client.invoke("haiku", f"call {sent + number}") for number in range(AT_ONCE)))
        if sent + AT_ONCE == CALLS // 2:
            half = process.memory_info().rss
    grown_mb = (process.memory_info().rss - half) / 1024**2
    assert grown_mb < MOST_MB
    [lane] = lanes.all()
    assert (lane.in_flight, lane.waiting, lane.reserved_tokens) == (0, 0, 0)
