"""How well many calls at once use the time: boto3 on threads of its own, the client, and a job over rows.

    make bench      or      python benchmarks/calls.py [--calls 2000] [--in-flight 64]

Each asks a scripted endpoint, in a process of its own, for the same number of answers that take 0.2 s. The ideal is
(calls / in flight), rounded up, times 0.2 s. The job has its journal on, and counts with its quote and its output.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.local.handle import LocalBedrock
from agentflow.local.launch import EndpointProcess

SECONDS = 0.2
ROUNDS = 3
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PROMPT = "Summarise this support ticket in two sentences and name the product: the shop is down, and so is our mood. "

Ask = Callable[[Sequence[str]], object]  # has all prompts answered


def boto3_threads(endpoint: LocalBedrock, in_flight: int) -> Ask:
    """Return what asks boto3, on as many threads."""
    client = endpoint.new_client(connections=in_flight)
    pool = ThreadPoolExecutor(in_flight)

    def ask(prompt: str) -> Any:
        message = {"role": "user", "content": [{"text": prompt}]}
        return client.converse(modelId=HAIKU, messages=[message], inferenceConfig={"maxTokens": 100})

    return lambda prompts: list(pool.map(ask, prompts))


def client(endpoint: LocalBedrock, in_flight: int) -> Ask:
    """Return what asks the client, outside of a run."""
    bedrock = BedrockClient("us-east-1", endpoint_url=endpoint.url, max_connections=in_flight)

    async def ask(prompts: Sequence[str]) -> None:
        await asyncio.gather(*(bedrock.invoke(HAIKU, prompt, max_tokens=100) for prompt in prompts))

    return lambda prompts: asyncio.run(ask(prompts))


def job(endpoint: LocalBedrock, in_flight: int) -> Ask:
    """Return what runs a workflow of one prompt over the rows of a table."""
    bedrock = BedrockClient("us-east-1", endpoint_url=endpoint.url, max_connections=in_flight)
    workflow = Workflow("calls")
    ask_model = AgentConfig(name="ask", model_type=HAIKU, max_tokens=100)
    workflow.add_step("ask", SimpleAgent(ask_model, bedrock, prompt_template="{text}"))

    def ask(prompts: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            rows = workflow.map(pd.DataFrame({"text": list(prompts)}), out=Path(folder, "out"), progress=False)
        if set(rows["status"]) != {"ok"}:
            raise RuntimeError(f"some rows failed: {rows['error'].dropna().iloc[0]}")

    return ask


def measure(ask: Ask, calls: int) -> tuple[float, float]:
    """Return the least seconds of a few rounds, and their processor's time a call in milliseconds."""
    ask([f"{PROMPT}warm"])
    best, cpu_ms = math.inf, math.inf
    for turn in range(ROUNDS):
        prompts = [f"{PROMPT}{turn} {number}" for number in range(calls)]
        began, used = time.perf_counter(), time.process_time()
        ask(prompts)
        best = min(best, time.perf_counter() - began)
        cpu_ms = min(cpu_ms, (time.process_time() - used) / calls * 1000)
    return best, cpu_ms


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure many calls at once.")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args(arguments)
    ideal = math.ceil(options.calls / options.in_flight) * SECONDS
    process = EndpointProcess("--model", "scripted")
    try:
        endpoint = LocalBedrock(process.url)
        endpoint.script(text="Fine.", latency_ms=1000 * SECONDS)
        print(f"{options.calls:,} calls, {options.in_flight} in flight: {ideal:.2f} s at best")
        for name, way in (("boto3 on threads", boto3_threads), ("client", client), ("job over rows", job)):
            with tempfile.TemporaryDirectory() as home:
                os.environ["AGENTFLOW_HOME"] = home
                seconds, cpu_ms = measure(way(endpoint, options.in_flight), options.calls)
            print(f"{name:<18}{seconds:>7.2f} s{ideal / seconds:>7.0%}{cpu_ms:>9.2f} ms of the processor a call")
    finally:
        process.stop()


if __name__ == "__main__":
    main()
