"""Runs in every state that a view has to show, built from events as the engine emits them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from agentflow.core.errors import StepError, ThrottledError
from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepStarted,
)
from agentflow.core.model import Attempt, Reply, Usage
from agentflow.core.result import RunResult

BEGIN = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HAIKU = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
HOSTILE = "<script>alert(1)</script><b>bold</b> & \"quoted\" 'too' $x_1$ {name}"


class Claims(BaseModel):
    """What a structured step returns."""

    claims: list[str]
    confidence: float


def reply(
    attempts: Sequence[Attempt] = (),
    *,
    model: str = "Claude Haiku 4.5",
    tokens: tuple[int, int] = (1920, 400),
    paid: str | None = "0.0031",
    listed: str | None = "0.0031",
    stop_reason: str = "end_turn",
    cached: int = 0,
) -> Reply:
    return Reply(
        text="",
        model=model,
        model_id=HAIKU,
        region="eu-west-1",
        stop_reason=stop_reason,
        usage=Usage(input_tokens=tokens[0], output_tokens=tokens[1], cache_read_tokens=cached),
        latency_ms=attempts[-1].latency_ms if attempts else 1.0,
        ttft_ms=312.0,
        queue_ms=2.0,
        retry_wait_ms=0.0,
        attempts=tuple(attempts),
        cost_usd=None if paid is None else Decimal(paid),
        bedrock_usd=None if listed is None else Decimal(listed),
        price_date="2026-11-01",
        request_id="r-1",
    )


class Play:
    """Applies events to a result; times are seconds from the start of the run."""

    def __init__(self, *steps: str, workflow: str = "triage") -> None:
        self.result = RunResult()
        self.result.apply(RunStarted("7f3a9c21", workflow, steps, BEGIN, 100.0))

    def start(self, step: str, at: float) -> None:
        self.result.apply(StepStarted(step, 100.0 + at))

    def attempt(self, step: str, at: float, took: float, *, error: str | None = None, wait: float = 0.0) -> Attempt:
        number = len(self.result.rows[step].attempts) + 1
        sent = BEGIN + timedelta(seconds=at)
        attempt = Attempt(number, sent, took * 1000, error_code=error, wait_ms=wait * 1000)
        self.result.apply(AttemptFinished(step, attempt, HAIKU))
        return attempt

    def answer(self, step: str, at: float, took: float, output: Any = "", **replied: Any) -> None:
        attempt = self.attempt(step, at, took)
        self.result.apply(CallFinished(step, reply([attempt], **replied)))
        self.finish(step, at + took, output)

    def finish(self, step: str, at: float, output: Any) -> None:
        self.result.apply(StepFinished(step, output, 100.0 + at))

    def fail(self, step: str, at: float, error: Exception) -> None:
        self.result.apply(StepFailed(step, error, 100.0 + at))

    def cancel(self, step: str, at: float) -> None:
        self.result.apply(StepCancelled(step, 100.0 + at))

    def end(self, status: Any, at: float, error: Exception | None = None) -> RunResult:
        self.result.apply(RunFinished(status, error, 100.0 + at))
        return self.result


def empty() -> RunResult:
    return Play(workflow="nothing yet").end("ok", 0.0)


def single() -> RunResult:
    play = Play("greet", workflow="greeting")
    play.start("greet", 0.0)
    play.finish("greet", 0.0004, "Hello Ada")
    return play.end("ok", 0.0006)


def finished() -> RunResult:
    """All that went well: a function, an answer after three attempts, parallel steps, structured outputs."""
    play = Play("load", "extract", "summarise", "judge")
    play.start("load", 0.0)
    play.finish("load", 0.34, {"article": "The council approved the plan on Monday.", "länge": 40})
    play.start("extract", 0.34)
    play.attempt("extract", 0.35, 0.12, error="ThrottlingException", wait=0.8)
    play.attempt("extract", 1.27, 0.2, error="ThrottlingException", wait=1.1)
    play.answer("extract", 2.57, 1.24, Claims(claims=["The plan was approved."], confidence=0.9))
    for step, took, text in [
        ("summarise", 1.9, "The council approved the plan on Monday, although two members\nvoted against it."),
        ("judge", 0.7, "fair"),
    ]:
        play.start(step, 3.82)
        play.answer(step, 3.83, took, text, tokens=(450, 160), paid="0.00031", listed="0.00031")
    return play.end("ok", 5.75)


def failed() -> RunResult:
    play = Play("extract", "summarise", "judge", "publish")
    play.start("extract", 0.0)
    play.answer("extract", 0.01, 1.3, ["one claim", "another claim"])
    play.start("summarise", 1.32)
    play.start("judge", 1.32)
    play.attempt("summarise", 1.33, 0.4, error="ThrottlingException", wait=0.9)
    play.attempt("summarise", 2.63, 0.3, error="ThrottlingException")
    error = ThrottledError(
        "Bedrock refused summarise: too many tokens a minute for Claude Haiku 4.5 in eu-west-1 <quota>.",
        fix="Run again in a minute, lower max_concurrency, or ask for the quota 'Cross-region tokens per minute'.",
        code="ThrottlingException",
    )
    play.fail("summarise", 2.95, error)
    play.cancel("judge", 2.96)
    return play.end("failed", 2.97, StepError("summarise", error))


def running() -> RunResult:
    play = Play("load", "extract", "reply")
    play.start("load", 0.0)
    play.finish("load", 0.5, None)
    play.start("extract", 0.5)
    play.attempt("extract", 0.51, 0.2, error="ServiceUnavailableException", wait=0.7)
    return play.result


def interrupted() -> RunResult:
    play = Play("extract", "summarise", "judge")
    play.start("extract", 0.0)
    play.answer("extract", 0.01, 0.9, "done")
    play.start("summarise", 0.92)
    play.cancel("summarise", 2.4)
    return play.end("interrupted", 2.41)


def local() -> RunResult:
    play = Play("draft")
    play.start("draft", 0.0)
    play.answer(
        "draft",
        0.004,
        2.2,
        "A small model wrote this.",
        model="local · SmolLM2-135M",
        paid="0",
        listed="0.00031",
        stop_reason="max_tokens",
    )
    return play.end("ok", 2.21)


def price_unknown() -> RunResult:
    play = Play("known", "unknown")
    play.start("known", 0.0)
    play.answer("known", 0.0, 0.4, "a", cached=10_240)
    play.start("unknown", 0.4)
    play.answer("unknown", 0.4, 0.5, "b", model="some.new-model-v1:0", paid=None, listed=None)
    return play.end("ok", 0.9)


def hostile() -> RunResult:
    play = Play(HOSTILE, "frame", workflow=HOSTILE)
    play.start(HOSTILE, 0.0)
    play.answer(HOSTILE, 0.0, 0.2, HOSTILE * 3 + "\x1b[2J\ud800", model=HOSTILE)
    play.start("frame", 0.2)
    play.fail("frame", 0.3, ValueError(HOSTILE))
    return play.end("failed", 0.3, StepError("frame", ValueError(HOSTILE)))


def many(steps: int = 60) -> RunResult:
    names = [f"classify_{number:02}" for number in range(steps)]
    play = Play(*names, workflow="sixty tickets")
    for number, name in enumerate(names):
        at = number * 0.11
        play.start(name, at)
        if number % 13 == 7:
            play.attempt(name, at, 0.2, error="ThrottlingException", wait=0.5)
            at += 0.7
        play.answer(name, at, 0.4 + number % 7 / 10, f"label {number}", tokens=(200 + number, 12), paid="0.00026")
    return play.end("ok", 8.0)


def long_output() -> RunResult:
    play = Play("write")
    play.start("write", 0.0)
    play.answer("write", 0.0, 61.0, "A sentence that goes on. " * 2000)
    return play.end("ok", 125.0)


STATES = {
    "empty": empty,
    "single": single,
    "finished": finished,
    "failed": failed,
    "running": running,
    "interrupted": interrupted,
    "local": local,
    "price_unknown": price_unknown,
    "hostile": hostile,
    "many": many,
    "long_output": long_output,
}
