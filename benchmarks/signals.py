"""What logs and metrics cost a step: each sink, and all together, beside none in the same process.

    python benchmarks/signals.py [STEPS]

Steps do nothing, so that what is measured is the engine and the sinks. A figure is the least of several rounds, in
microseconds a step: by the clock until the readers have taken in every event, and of the processor until all is sent,
which is done every few seconds. Lines go to a file; CloudWatch is moto's server in a process of its own. The target is
40 microseconds more a step with all sinks.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from urllib.request import urlopen

from agentflow import Workflow, WorkflowConfig
from agentflow.core.readers import wait_for_readers
from agentflow.ops import signals
from agentflow.utils.logging import PACKAGE, setup_logger

ROUNDS = 7
TARGET = 40.0

LOGS = {"log": "1"}
SINKS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "JSON lines": LOGS,
    "metrics, embedded": {"AGENTFLOW_METRICS": "logs", **LOGS},
    "metrics, by the API": {"AGENTFLOW_METRICS": "cloudwatch"},
    "CloudWatch Logs": {"AGENTFLOW_LOG_GROUP": "/aws/agentflow/bench"},
    "all": {"AGENTFLOW_METRICS": "logs", "AGENTFLOW_LOG_GROUP": "/aws/agentflow/bench", **LOGS},
}


async def nothing() -> int:
    """Do nothing."""
    return 1


def workflow(steps: int) -> Workflow:
    """Return a chain of steps."""
    made = Workflow(WorkflowConfig(name="bench", journal=False))
    for number in range(steps):
        made.add_step(f"s{number}", nothing, depends_on=f"s{number - 1}" if number else ())
    return made


@contextmanager
def sinks(settings: Mapping[str, str]) -> Iterator[None]:
    """Have some sinks until the end of the block."""
    log = logging.getLogger(PACKAGE)
    variables = {name: value for name, value in settings.items() if name.isupper()}
    os.environ.update(variables)
    if "log" in settings:
        setup_logger(PACKAGE)
    try:
        workflow(1).run()  # what is made once, as boto3's client, is made now
        signals.flush()
        yield
    finally:
        signals.flush()
        for name in variables:
            del os.environ[name]
        for handler in log.handlers[:]:
            log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


async def microseconds(made: Workflow, steps: int) -> tuple[float, float]:
    """Return what one run takes a step: by the clock until all is read, of the processor until all is sent."""
    gc.collect()
    gc.disable()
    try:
        began, used = time.perf_counter(), time.process_time()
        await made.execute()
        wait_for_readers()
        took = time.perf_counter() - began
        signals.flush()
        return took / steps * 1e6, (time.process_time() - used) / steps * 1e6
    finally:
        gc.enable()


@contextmanager
def cloudwatch() -> Iterator[None]:
    """Run moto's server, and have boto3 take it for CloudWatch."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            for _ in range(100):
                try:
                    urlopen(url).close()
                    break
                except OSError:
                    time.sleep(0.1)
            os.environ.update(
                AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=url,
                AWS_ENDPOINT_URL_CLOUDWATCH=url,
                AWS_ACCESS_KEY_ID="a",
                AWS_SECRET_ACCESS_KEY="b",  # noqa: S106 - moto takes anything
                AWS_REGION="us-east-1",
            )
            yield
        finally:
            server.terminate()


def main(steps: int) -> None:
    """Print the table."""
    made = workflow(steps)
    least = dict.fromkeys(SINKS, (float("inf"), float("inf")))
    with cloudwatch(), tempfile.TemporaryFile("w", buffering=1) as lines, redirect_stderr(lines):
        for _ in range(ROUNDS):
            for name, settings in SINKS.items():
                with sinks(settings):
                    figures = asyncio.run(microseconds(made, steps))
                    least[name] = min(least[name][0], figures[0]), min(least[name][1], figures[1])
    none_took, none_used = least["none"]
    print(f"{'microseconds a step':<22} {'clock':>8} {'ratio':>7} {'more':>8} {'processor':>12} {'more':>8}")
    for name, (took, used) in least.items():
        by_clock = f"{took:>8.1f} {took / none_took:>6.1f}x {took - none_took:>8.1f}"
        print(f"{name:<22} {by_clock} {used:>12.1f} {used - none_used:>8.1f}")
    print(f"\nall sinks cost {least['all'][0] - none_took:.1f} microseconds more a step; the target is {TARGET:g}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
