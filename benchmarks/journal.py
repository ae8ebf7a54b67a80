"""What the journal costs: the writer's CPU time a step, and how long an answer takes to be durable.

`python benchmarks/journal.py` writes into a folder of its own in the current one and removes it afterwards.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from agentflow.core.events import RunFinished, RunStarted, StepFinished, StepStarted
from agentflow.core.journal import RunRecord
from agentflow.core.model import Attempt, Reply, Request, Usage
from agentflow.store.journal import SqliteJournal
from agentflow.store.run import SqliteRun
from agentflow.store.writer import Writer

STEPS = 20_000
THREADS = 64
ANSWERS = 20  # of each thread


class TimedWriter(Writer):
    """Notes the CPU time of its thread."""

    cpu_seconds = 0.0

    def _serve(self) -> None:
        begin = time.thread_time()
        try:
            super()._serve()
        finally:
            self.cpu_seconds += time.thread_time() - begin


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        print(f"{'events':<58}{'value':>10}")
        put, encode, cpu, durable = events(Path(folder, "events"))
        print(f"{'write(), microseconds an event on the loop':<58}{put:>10.2f}")
        print(f"{'encode_quickly(), microseconds an output on the loop':<58}{encode:>10.2f}")
        print(f"{'writer, microseconds of CPU a step':<58}{cpu:>10.2f}")
        print(f"{f'{STEPS:,} steps durable after, ms':<58}{durable:>10.1f}")
        print(f"\n{f'keep_answer() on {THREADS} threads':<38}{'median ms':>10}{'p99 ms':>10}{'longest ms':>12}")
        for name, busy, together in (
            ("64 in flight", idle, False),
            ("64 in flight, 10,000 steps a second", a_loop, False),
            ("64 in flight, one thread of pure CPU", spin, False),
            ("64 answered at the same instant", idle, True),
        ):
            took = answers(Path(folder, name), busy, together=together)
            cuts = statistics.quantiles(took, n=100)
            print(f"{name:<38}{cuts[49]:>10.2f}{cuts[98]:>10.2f}{max(took):>12.2f}")


def events(folder: Path) -> tuple[float, float, float, float]:
    """Write a run of plain steps as fast as the writer takes them."""
    journal = SqliteJournal(folder)
    writer = journal._writer = TimedWriter(journal._database, heartbeat_seconds=5.0)
    journal.open()
    run = begin(journal, [f"step_{number}" for number in range(STEPS)])
    names = [f"step_{number}" for number in range(STEPS)]
    outputs = [f"the output of step {number}" for number in range(STEPS)]
    start = time.perf_counter()
    encoded = [run.encode_quickly(output) for output in outputs]
    encode = time.perf_counter() - start
    started = [StepStarted(name, time.perf_counter()) for name in names]
    finished = [StepFinished(name, output, time.perf_counter()) for name, output in zip(names, outputs, strict=True)]
    putting = 0.0
    start = time.perf_counter()
    for first, second, output in zip(started, finished, encoded, strict=True):
        before = time.perf_counter()
        run.write(first)
        run.write(second, output)
        putting += time.perf_counter() - before
    run.write(RunFinished("ok", None, time.perf_counter()))
    run.close()
    journal.flush(60)
    durable = time.perf_counter() - start
    journal.close()
    return (
        putting / STEPS / 2 * 1e6,
        encode / STEPS * 1e6,
        writer.cpu_seconds / STEPS * 1e6,
        durable * 1000,
    )


def answers(folder: Path, busy: Callable[[SqliteRun, threading.Event], None], *, together: bool) -> list[float]:
    """Keep answers from many threads, and return the milliseconds that each took."""
    journal = SqliteJournal(folder)
    journal.open()
    run = begin(journal, ["ask", "work"])
    took: list[float] = []
    barrier = threading.Barrier(THREADS)
    done = threading.Event()

    def ask() -> None:
        for number in range(ANSWERS):
            time.sleep(random.uniform(0.02, 0.08))  # noqa: S311 - the model thinks
            if together:
                barrier.wait()
            start = time.perf_counter()
            run.keep_answer("ask", None, Request("a question " * 100), replace(reply(), key=f"key {number}"))
            took.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    beside = threading.Thread(target=busy, args=(run, done))
    beside.start()
    for thread in threads:
        thread.join()
    done.set()
    beside.join()
    journal.close()
    return took


def idle(_run: SqliteRun, done: threading.Event) -> None:
    """Do nothing."""
    done.wait()


def a_loop(run: SqliteRun, done: threading.Event) -> None:
    """Write 10,000 steps a second."""
    while not done.wait(0.001):
        for number in range(10):
            run.write(StepStarted("work", time.perf_counter()))
            run.write(StepFinished("work", number, time.perf_counter()), run.encode_quickly(number))


def spin(_run: SqliteRun, done: threading.Event) -> None:
    """Hold Python's lock as much as one thread can."""
    while not done.is_set():
        pass


def begin(journal: SqliteJournal, step_ids: list[str]) -> SqliteRun:
    """Begin a run."""
    now = datetime.now(UTC)
    run = journal.begin(RunRecord("r-1", "benchmark", now, tuple(step_ids), {}, {}, None), print)
    run.write(RunStarted("r-1", "benchmark", tuple(step_ids), now, time.perf_counter()))
    run.wait_until_durable()
    return run


def reply() -> Reply:
    """Return an answer of a usual length."""
    attempt = Attempt(1, datetime.now(UTC), 900.0, http_status=200, request_id="0b1c")
    return Reply(
        text="an answer " * 100,
        model="Claude Haiku 4.5",
        model_id="us.anthropic.claude-haiku-4-5-20251001-v1:0",
        region="us-east-1",
        stop_reason="end_turn",
        usage=Usage(300, 250),
        latency_ms=900.0,
        ttft_ms=None,
        queue_ms=0.1,
        retry_wait_ms=0.0,
        attempts=(attempt,),
        cost_usd=Decimal("0.00155"),
        bedrock_usd=Decimal("0.00155"),
        price_date="2026-11-01",
        request_id="0b1c",
    )


if __name__ == "__main__":
    main()
