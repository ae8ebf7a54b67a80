"""Ten minutes under load with every fault on: the endpoint stays up, its accounts add up, and its memory is flat."""

from __future__ import annotations

import contextlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from agentflow.local.refusals import REFUSALS
from tests.endpoint import HAIKU, Endpoint, running, text_of

SECONDS = float(os.environ.get("AGENTFLOW_SOAK_SECONDS", "600"))  # less for a try
CLIENTS = 32
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
STREAM_CODES = ("InternalServerException", "ModelStreamErrorException", "ThrottlingException")

FAULTS: list[dict[str, Any]] = [
    *({"fault": name, "probability": 0.004} for name in REFUSALS),
    *({"fault": "stream_error", "code": code, "after_pieces": 2, "probability": 0.01} for code in STREAM_CODES),
    {"fault": "latency", "delay_ms": {"lognormal": [5, 1]}},
    {"fault": "slow_first_token", "delay_ms": {"uniform": [0, 50]}, "probability": 0.1},
    {"fault": "stalled_stream", "after_pieces": 2, "delay_ms": 5_000, "probability": 0.005},
    {"fault": "cut_stream", "after_pieces": 2, "probability": 0.02},
    {"fault": "short_stream", "after_pieces": 1, "probability": 0.02},
    {"fault": "bad_checksum", "after_pieces": 1, "probability": 0.02},
    {"fault": "reset", "probability": 0.01},
    {"fault": "reset", "after_work": True, "probability": 0.01},
    {"fault": "region_down", "from_seconds": SECONDS / 20, "until_seconds": SECONDS / 16},  # once all clients call
]
QUOTAS = {"us.*": {"tokens_per_minute": 2_000_000, "requests_per_minute": 60_000}}


@pytest.mark.soak
def test_every_fault_under_load() -> None:
    with running("--port", "0", "--model", "scripted") as endpoint:
        endpoint.faults(*FAULTS, seed=1)
        endpoint.quotas(QUOTAS)
        server = psutil.Process(endpoint.process.pid)
        start, sizes = time.monotonic(), list[int]()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(call_until, endpoint, seed, start + SECONDS) for seed in range(CLIENTS)]
            while not all(client.done() for client in clients):
                time.sleep(SECONDS / 100)
                sizes.append(server.memory_info().rss)
            assert sum(client.result() for client in clients) > CLIENTS
        endpoint.faults()
        endpoint.quotas({})
        assert text_of(endpoint.say("still here")) == "still here"
        stats = endpoint.stats()
        assert stats["in_flight"] == 0
        kinds = {rule["fault"] for rule in FAULTS}
        assert kinds <= stats["faults"].keys() or SECONDS < 60
        told = stats["answers"] + stats["refused"] + stats["abandoned"]
        assert told <= stats["requests"] <= told + broken_off(stats)
        # The first fifth fills the prompt cache; the last 100,000 billed requests, which are remembered, take 15 MB.
        early, late = sizes[len(sizes) // 5 : len(sizes) // 2], sizes[-len(sizes) // 5 :]
        assert max(late) - max(early) < 20_000_000, sizes


def broken_off(stats: Any) -> int:
    kinds = ("cut_stream", "short_stream", "bad_checksum", "reset")
    return sum(stats["faults"].get(kind, 0) for kind in kinds)


def call_until(endpoint: Endpoint, seed: int, end: float) -> int:
    """Call as a client with little patience until a time, and return how often."""
    chance, calls = random.Random(seed), 0
    client = endpoint.new_client(connections=1, read_timeout_seconds=2)
    while time.monotonic() < end:
        calls += 1
        # Every sixth has a prompt that is cached, every twentieth a large one.
        text = "word " * (chance.choice([5] * 14 + [2_000] * 5 + [50_000]))
        content = [{"text": f"{chance.random()} {text}"}]
        system = [{"text": "rule " * 1_500}, {"cachePoint": {"type": "default"}}] if calls % 6 == 0 else []
        request = {"modelId": chance.choice([HAIKU, SONNET]), "messages": [{"role": "user", "content": content}]}
        with contextlib.suppress(ClientError, BotoCoreError, HTTPError, ParserError, OSError):
            if chance.random() < 0.5:
                client.converse(**request, system=system, inferenceConfig={"maxTokens": 20})
            else:
                events = client.converse_stream(**request, system=system, inferenceConfig={"maxTokens": 20})["stream"]
                leave_after = chance.choice([10_000] * 9 + [2])  # every tenth hangs up
                for number, _ in enumerate(events):
                    if number == leave_after:
                        events.close()
                        break
    return calls
