"""What a quote takes: of 10,000 rows, and from a journal with 100,000 answers.

`python benchmarks/quote.py` writes a journal into a folder of its own in the current one and removes it afterwards.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.events import RunFinished, RunStarted, StepFinished, StepMapped, StepStarted
from agentflow.core.journal import RunRecord
from agentflow.core.model import Attempt, Reply, Request, Usage
from agentflow.store.journal import SqliteJournal, journal
from agentflow.store.statistics import CALLS

ROWS = 10_000
ANSWERS = 100_000
TEXT = "A customer writes that the printer in the hall does not print. " * 15  # about 1 kB


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        os.environ["AGENTFLOW_HOME"] = folder
        rows = [{"ticket": f"{number} {TEXT[: 200 + number % 800]}"} for number in range(ROWS)]
        print(f"{'seconds':<58}{'value':>10}")
        print(f"{f'quote of {ROWS:,} rows, 3 prompts each':<58}{_seconds_of_quote(rows):>10.2f}")
        for name, runs, each in (("a run over a list", 1, ANSWERS), ("runs of one answer", ANSWERS // 10, 1)):
            _fill(name, runs, each)
            seconds = min(_seconds_of_reading(name) for _ in range(3))
            print(f"{f'reading {runs * each:,} answers, {name}':<58}{seconds:>10.3f}")


def _seconds_of_quote(rows: list[dict[str, str]]) -> float:
    workflow, client = Workflow("triage"), BedrockClient("us-east-1")
    for step, prompt in (
        ("classify", "Classify this ticket: {ticket}"),
        ("reply", "Reply to this ticket about {classify}: {ticket}"),
        ("check", "Is this a good reply to {ticket}? {reply}"),
    ):
        workflow.add_step(step, SimpleAgent(AgentConfig(name=step, max_tokens=400), client, prompt_template=prompt))
    begin = time.perf_counter()
    workflow.quote(rows)
    return time.perf_counter() - begin


def _seconds_of_reading(workflow: str) -> float:
    begin = time.perf_counter()
    work = journal().past_work(workflow)
    seconds = time.perf_counter() - begin
    if len(work.calls) != CALLS:
        raise RuntimeError(f"{len(work.calls)} calls were read, not {CALLS}")
    return seconds


def _fill(workflow: str, runs: int, each: int) -> None:
    kept: SqliteJournal = journal()
    kept.open()
    now = datetime.now(UTC)
    for number in range(runs):
        record = RunRecord(f"{workflow} {number}", workflow, now, ("ask",), {}, {}, None)
        run = kept.begin(record, print)
        run.write(RunStarted(record.run_id, workflow, ("ask",), now, 0.0))
        run.write(StepMapped("ask", each, 0.0))
        for item in range(each):
            run.write(StepStarted("ask", 0.0, item))
            run.note_answer("ask", item, Request(TEXT), _reply(now))
            run.write(StepFinished("ask", "It is the printer.", 1.0, item))
        run.write(RunFinished("ok", None, 1.0))
        run.close()
    kept.flush(300)


def _reply(now: datetime) -> Reply:
    attempt = Attempt(1, now, 800.0, http_status=200)
    words = ("It is the printer.", "haiku", "us.haiku", "us-east-1", "end_turn", Usage(300, 20), 800.0, None, 0.0, 0.0)
    return Reply(*words, (attempt,), Decimal("0.0004"), Decimal("0.0004"), "2026-11-01", None)


if __name__ == "__main__":
    main()
