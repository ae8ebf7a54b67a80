"""How fast the local endpoint is: scripted calls, the first streamed event, and the small model beside xllamacpp.

    make bench      or      python benchmarks/endpoint.py [--yardstick SERVER.py] [--seconds 3]

The clients are two processes with raw sockets, so that what is measured is the server; on two CPUs they take their
share of them. `--yardstick` measures another server's script beside ours, started with `--port`. The small model's
figures are tokens a second of four answers at once, by the endpoint and by the library's own call without it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from agentflow.local.handle import LocalBedrock
from agentflow.local.launch import EndpointProcess
from agentflow.local.llama import SLOTS

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PROMPT = "Summarise this support ticket in two sentences and name the product: the shop is down, and so is our mood."
CLIENTS, CONNECTIONS = 2, 16
FIRST_EVENTS = 300
TOKENS = 96
ANSWERS = 2 * SLOTS  # of the small model, a round


def request(port: int, operation: str) -> bytes:
    """Return the bytes of one call."""
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": PROMPT}]}], "inferenceConfig": {}}).encode()
    head = (
        f"POST /model/{HAIKU.replace(':', '%3A')}/{operation} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connection(port: int, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    call, answered = request(port, "converse"), 0
    while time.monotonic() < end:
        writer.write(call)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"no answer: {head!r}")
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        answered += 1
    writer.close()
    return answered


async def _connections(port: int, end: float) -> int:
    return sum(await asyncio.gather(*(_connection(port, end) for _ in range(CONNECTIONS))))


def client(port: int, seconds: float) -> int:
    """Return how many calls one client process has had answered."""
    return asyncio.run(_connections(port, time.monotonic() + seconds))


def throughput(port: int, seconds: float) -> tuple[float, float]:
    """Return the calls a second, and the server's CPU time a call in milliseconds."""
    [server] = {entry.pid for entry in psutil.net_connections("tcp") if _listens(entry, port)}
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
        pool.starmap(client, [(port, 0.3)] * CLIENTS)  # warm
        began, used = time.monotonic(), _cpu_seconds(server)
        calls = sum(pool.starmap(client, [(port, seconds)] * CLIENTS))
        return calls / (time.monotonic() - began), (_cpu_seconds(server) - used) / calls * 1000


def _cpu_seconds(process_id: int) -> float:
    times = psutil.Process(process_id).cpu_times()
    return float(times.user + times.system)


def _listens(entry: object, port: int) -> bool:
    return getattr(entry, "status", "") == psutil.CONN_LISTEN and getattr(entry, "laddr", (0, 0))[1] == port


def first_event_ms(port: int) -> float:
    """Return the median of the milliseconds from a request to its first streamed event."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(FIRST_EVENTS):
            began, received = time.perf_counter(), b""
            connection.sendall(request(port, "converse-stream"))
            while b"messageStart" not in received:
                received += connection.recv(65_536)
            times.append((time.perf_counter() - began) * 1000)
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65_536)
    return statistics.median(times)


@contextmanager
def other_server(script: Path) -> Iterator[int]:
    """Run another server's script until the end of the block, whose value is its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(script), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - the script is the developer's
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
        process.terminate()


@contextmanager
def by_endpoint() -> Iterator[Callable[[int], int]]:
    """Give a function that has the small model answer one prompt by the endpoint, and returns the answer's tokens."""
    process = EndpointProcess("--model", "smollm2")
    converse = LocalBedrock(process.url).client.converse

    def say(number: int) -> int:
        messages = [{"role": "user", "content": [{"text": f"{number} {PROMPT}"}]}]
        settings = {"maxTokens": TOKENS, "temperature": 0.0}
        tokens: int = converse(modelId=HAIKU, messages=messages, inferenceConfig=settings)["usage"]["outputTokens"]
        return tokens

    try:
        yield say
    finally:
        process.stop()


@contextmanager
def by_library() -> Iterator[Callable[[int], int]]:
    """Give the same by the library's own call."""
    from agentflow.local.llama import LlamaModel
    from agentflow.local.weights import fetch_smollm2

    model = LlamaModel(fetch_smollm2())

    def say(number: int) -> int:
        messages = [{"role": "user", "content": f"{number} {PROMPT}"}]
        body = {"messages": messages, "max_tokens": TOKENS, "temperature": 0.0}
        tokens: int = model._server.handle_chat_completions(body)["usage"]["completion_tokens"]
        return tokens

    try:
        yield say
    finally:
        model.close()


def small_model(rounds: int) -> tuple[float, float]:
    """Return the small model's tokens a second by the endpoint and by the library, in turns: the machine is noisy."""
    with by_endpoint() as ours, by_library() as theirs, ThreadPoolExecutor(SLOTS) as pool:
        tokens, seconds = {ours: 0, theirs: 0}, {ours: 0.0, theirs: 0.0}
        for number in range(rounds + 1):
            for say in (ours, theirs) if number % 2 else (theirs, ours):
                began = time.monotonic()
                written = sum(pool.map(say, range(number * ANSWERS, (number + 1) * ANSWERS)))
                if number:  # the first round warms
                    tokens[say] += written
                    seconds[say] += time.monotonic() - began
        return tokens[ours] / seconds[ours], tokens[theirs] / seconds[theirs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure the local endpoint.")
    parser.add_argument("--yardstick", type=Path, help="another server's script, measured beside ours")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)

    ours = EndpointProcess("--model", "scripted")
    port = int(ours.url.rpartition(":")[2])
    for number in range(options.rounds):
        calls, cpu_ms = throughput(port, options.seconds)
        line = f"round {number + 1}: {calls:>7,.0f} scripted Converse calls a second, {cpu_ms:.3f} ms of CPU each"
        if options.yardstick:
            with other_server(options.yardstick) as other:
                calls, cpu_ms = throughput(other, options.seconds)
            line += f"; {options.yardstick.name}: {calls:>7,.0f}, {cpu_ms:.3f} ms"
        print(line)
    print(f"first streamed event: {first_event_ms(port):.2f} ms (median of {FIRST_EVENTS})")
    ours.stop()
    rate, library = small_model(2 * options.rounds)
    print(f"small model: {rate:.0f} tokens a second, by the library's own call {library:.0f}: {rate / library:.2f}")


if __name__ == "__main__":
    main()
