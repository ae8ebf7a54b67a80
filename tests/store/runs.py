"""Runs for the tests of the store: a fresh result beside what goes into a journal."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentflow.core.errors import AgentFlowError
from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    NestedEvent,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepMapped,
    StepSkipped,
    StepStarted,
)
from agentflow.core.journal import Encoded, RunRecord
from agentflow.core.model import ABANDONED, Attempt, Reply, Request, Usage
from agentflow.core.result import RunResult
from agentflow.store.codec import encode
from agentflow.store.journal import SqliteJournal
from agentflow.store.records import located
from agentflow.store.run import SqliteRun


def attempt(number: int = 1, *, error: str | None = None, at: float = 0.0) -> Attempt:
    moment = datetime(2026, 11, 24, 9, 30, tzinfo=UTC) + timedelta(seconds=at)
    return Attempt(number, moment, 12.5, error_code=error, http_status=None if error == ABANDONED else 200)


def reply(*attempts: Attempt, text: str = "yes", usd: str | None = "0.0012", key: str = "k") -> Reply:
    return Reply(
        text=text,
        model="Claude Haiku 4.5",
        model_id="us.anthropic.claude-haiku-4-5-20251001-v1:0",
        region="us-east-1",
        stop_reason="end_turn",
        usage=Usage(100, 20, cache_read_tokens=3),
        latency_ms=12.5,
        ttft_ms=None,
        queue_ms=0.5,
        retry_wait_ms=0.0,
        attempts=attempts or (attempt(),),
        cost_usd=None if usd is None else Decimal(usd),
        bedrock_usd=None if usd is None else Decimal(usd),
        price_date="2026-11-01",
        request_id="q-1",
        key=key,
    )


def taken_over(run_id: str, *step_ids: str) -> RunRecord:
    """What the journal is told of a run that goes on."""
    return RunRecord(run_id, "triage", datetime.now(UTC), step_ids or ("a",), {}, {}, None)


class Recorded:
    """A run that is written as the engine writes it, with the fresh result and what it was told."""

    def __init__(
        self,
        journal: SqliteJournal,
        *step_ids: str,
        run_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        started_at: datetime | None = None,
    ) -> None:
        self.run_id = run_id or f"r-{uuid.uuid4().hex[:8]}"
        self.result = RunResult()
        self.problems: list[str] = []
        self.started_at = started_at or datetime.now(UTC)
        record = RunRecord(
            self.run_id, "triage", self.started_at, step_ids, inputs or {}, dict.fromkeys(step_ids, "f"), "{}"
        )
        self.run: SqliteRun = journal.begin(record, self.problems.append)
        self.put(RunStarted(self.run_id, "triage", step_ids, self.started_at, time.perf_counter()))

    def put(self, event: Event, encoded: Encoded | None = None) -> None:
        self.result.apply(event)
        inner = located(event)[1]
        if isinstance(inner, StepFinished) and encoded is None:
            encoded = encode(inner.output)
        self.run.write(event, encoded)

    def step(self, step_id: str, output: Any, item: int | None = None) -> None:
        self.put(StepStarted(step_id, time.perf_counter(), item))
        self.put(StepFinished(step_id, output, time.perf_counter(), item))

    def answer(self, step_id: str, answered: Reply, item: int | None = None) -> bool:
        kept = self.run.keep_answer(step_id, item, Request("why?"), answered)
        for sent in answered.attempts:
            self.put(AttemptFinished(step_id, sent, answered.model_id, item))
        self.put(CallFinished(step_id, answered, item))
        return kept

    def end(self, status: Any = "ok", error: AgentFlowError | None = None) -> None:
        self.put(RunFinished(status, error, time.perf_counter()))
        self.run.close()


def rich_run(journal: SqliteJournal) -> Recorded:
    """A run with everything: retries, a mapped step, a nested workflow, steps that failed or did not run."""
    run = Recorded(journal, "ask", "each", "sub", "bad", "never", "stopped", "unmet", inputs={"topic": "tea"})
    run.put(StepStarted("ask", time.perf_counter()))
    run.answer("ask", reply(attempt(1, error="ThrottlingException"), attempt(2, at=1)))
    run.put(StepFinished("ask", {"answer": (1, 2)}, time.perf_counter()))
    run.put(StepStarted("each", time.perf_counter()))
    run.put(StepMapped("each", 3, time.perf_counter()))
    run.step("each", "first", 0)
    run.put(StepStarted("each", time.perf_counter(), 1))
    run.answer("each", reply(usd=None), 1)
    run.put(StepFailed("each", ValueError("no such thing"), time.perf_counter(), 1))
    run.step("each", "third", 2)
    run.put(StepFinished("each", ["first", None, "third"], time.perf_counter()), Encoded("items", ""))
    run.put(StepStarted("sub", time.perf_counter()))
    before: tuple[Event, ...] = (
        RunStarted("r-inner", "inner", ("classify", "count"), run.started_at, time.perf_counter()),
        StepStarted("classify", time.perf_counter()),
        AttemptFinished("classify", attempt(1, error="ServiceUnavailable"), "some-model"),
    )
    for event in before:
        run.put(NestedEvent("sub", None, event))
    answered = reply(attempt(2, at=2), key="inner")
    run.run.keep_answer("sub.classify", None, Request("inner?"), answered)
    for event in (
        AttemptFinished("classify", answered.attempts[0], answered.model_id),
        CallFinished("classify", answered),
        StepFinished("classify", "urgent", time.perf_counter()),
        StepSkipped("count", "not wanted", time.perf_counter()),
        RunFinished("ok", None, time.perf_counter()),
    ):
        run.put(NestedEvent("sub", None, event))
    run.put(StepFinished("sub", {"classify": "urgent"}, time.perf_counter()))
    run.put(StepStarted("bad", time.perf_counter()))
    run.put(StepStarted("stopped", time.perf_counter()))
    run.put(StepFailed("bad", AgentFlowError("It broke.", fix="Mend it."), time.perf_counter()))
    run.put(StepCancelled("stopped", time.perf_counter()))
    run.put(StepSkipped("never", "`when` is false", time.perf_counter()))
    run.end("failed", AgentFlowError("Step 'bad' failed: It broke.", fix="Mend it."))
    return run


def open_journal(folder: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(folder, **options)
    journal.open()
    return journal
