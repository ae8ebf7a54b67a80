"""What a live view shows of a run at one moment, as plain values: the widget and the HTML draw the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from statistics import median
from typing import Any

from agentflow.core.agent import SimpleAgent
from agentflow.core.events import AttemptFinished, Event, NestedEvent, StepFinished, StepStarted, TextDelta
from agentflow.core.plan import Plan
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus, total_usd
from agentflow.core.watching import Watched
from agentflow.views.format import count, duration, explain, in_out, money, plural
from agentflow.views.outputs import encodable, one_line

MOST_CHIPS = 30  # steps that are drawn one by one, and items that are
MOST_LINES = 6  # running steps that are shown with their text
TEXT_CHARS = 2_000  # of an answer, and of what was printed: the end of it
_NOTE_CHARS = 200
_QUEUED_AFTER_MS = 300.0  # a request that is not sent by then waits for a turn
_ENDED = frozenset({StepStatus.OK, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})

Place = tuple[str, int | None]


class LiveState:
    """Follows one run. `take` is called by the run, `snapshot` by whoever draws."""

    def __init__(self, watched: Watched) -> None:
        self.is_new = True  # since the last snapshot
        self._watched = watched
        self._begun = time.monotonic()
        self._texts: dict[Place, str] = {}
        self._levels = _levels(watched.plan) if len(watched.plan.steps) <= MOST_CHIPS else []
        self._models = {
            step.step_id: step.agent.config.model_type or "fast"
            for step in watched.plan.steps
            if isinstance(step.agent, SimpleAgent)
        }
        self._statuses: dict[str, StepStatus] = {}
        self._said = ""

    def take(self, event: Event) -> None:
        """Take an event in, on any thread: the rows have all but the text that comes."""
        self.is_new = True
        place: Place | None = None
        while type(event) is NestedEvent:
            place = place or (event.step_id, event.item)
            event = event.event
        if type(event) is TextDelta:
            place = place or (event.step_id, event.item)
            self._texts[place] = (self._texts.get(place, "") + event.text)[-TEXT_CHARS:]
        elif (
            type(event) is StepFinished
            or type(event) is StepStarted
            or (type(event) is AttemptFinished and event.attempt.error_code)
        ):
            self._texts.pop(place or (event.step_id, event.item), None)

    def snapshot(self) -> dict[str, Any]:
        """Return what is to be shown now."""
        self.is_new = False
        result, plan = self._watched.result, self._watched.plan
        rows = result.rows
        elapsed_ms = (time.monotonic() - self._begun) * 1000
        statuses = {step: rows[step].status if step in rows else StepStatus.NOT_RUN for step in plan.step_ids}
        counts = {status.value: found for status in StepStatus if (found := _count(statuses, status))}
        self._say(statuses)
        ended = sum(status in _ENDED for status in statuses.values())
        return {
            "name": self._watched.name,
            "run": result.run_id,
            "status": result.status,
            "elapsed_ms": round(elapsed_ms),
            "facts": [list(fact) for fact in self._facts(result, elapsed_ms)],
            "ended": ended,
            "of": len(statuses),
            "counts": counts,
            "levels": [[[encodable(step), statuses[step]] for step in level] for level in self._levels],
            "lines": list(islice(self._lines(result, elapsed_ms), MOST_LINES)),
            "said": self._said,
        }

    def _say(self, statuses: Mapping[str, StepStatus]) -> None:
        """Word the newest changes of steps, for those who listen."""
        changed = [(step, status) for step, status in statuses.items() if self._statuses.get(step) is not status]
        if self._statuses and changed:
            told = ", ".join(f"{step} {status.value}" for step, status in changed[:3])
            self._said = f"{told} and {plural(len(changed) - 3, 'more')}" if len(changed) > 3 else told
        self._statuses = dict(statuses)

    def _facts(self, result: RunResult, elapsed_ms: float) -> Iterator[tuple[str, str]]:
        rows = list(result.rows.values())
        if any(row.replies for row in rows):
            yield "paid so far", money(result.cost_usd)
        if self._watched.budgets:
            tightest = min(self._watched.budgets, key=lambda budget: budget.left_usd)
            limit = money(tightest.limit_usd).removeprefix("$")  # between two of them JupyterLab would see a formula
            yield "of the budget", f"{money(tightest.spent_usd)} of {limit}"
        attempts = [attempt for row in rows for attempt in row.attempts]
        if attempts:
            yield "tokens in / out", in_out(result.usage)
            yield "attempts", count(len(attempts))
        if throttled := sum((attempt.error_code or "").startswith("Throttl") for attempt in attempts):
            yield "throttled", count(throttled)
        if waiting := sum(self._is_queued(part, elapsed_ms) for row in rows for part in row.items or (row,)):
            yield "waiting for a turn", count(waiting)

    def _is_queued(self, row: StepRow, elapsed_ms: float) -> bool:
        """Tell whether a step's request waits for the quota or a connection."""
        return (
            row.status is StepStatus.RUNNING
            and row.items is None
            and row.step in self._models
            and not row.own_pending
            and not row.own_attempts
            and elapsed_ms - (row.started_ms or 0.0) > _QUEUED_AFTER_MS
        )

    def _lines(self, result: RunResult, elapsed_ms: float) -> Iterator[dict[str, Any]]:
        """Return what is to be said of single steps: those that run, then those that failed."""
        rows = list(result.rows.values())
        for row in rows:
            if row.items is not None and row.status in {StepStatus.RUNNING, StepStatus.FAILED}:
                yield self._line(row, elapsed_ms) | {"bar": _bar(row, elapsed_ms)}
                if len(row.items) <= MOST_CHIPS:
                    yield from (self._line(item, elapsed_ms) for item in row.items if item.status is StepStatus.RUNNING)
            elif row.status is StepStatus.RUNNING:
                yield self._line(row, elapsed_ms)
        for row in rows:
            if row.status is StepStatus.FAILED and row.items is None:
                yield self._line(row, elapsed_ms)

    def _line(self, row: StepRow, elapsed_ms: float) -> dict[str, Any]:
        is_running = row.status is StepStatus.RUNNING
        took_ms = elapsed_ms - (row.started_ms or 0.0) if is_running else row.latency_ms
        return {
            "key": row.step if row.item is None else f"{row.step}[{row.item}]",
            "status": row.status.value,
            "model": self._models.get(row.step, ""),
            "took_ms": round(took_ms or 0.0),
            "note": one_line(self._note(row, elapsed_ms), _NOTE_CHARS),
            "text": encodable(self._texts.get((row.step, row.item), "")),
            "printed": encodable(row.printed[-TEXT_CHARS:]),
        }

    def _note(self, row: StepRow, elapsed_ms: float) -> str:
        """Say how a step fares, where there is more to say than that it runs."""
        if row.error is not None:
            return explain(row.error)[0]
        if row.inner is not None:
            ended = sum(inner.status in _ENDED for inner in row.inner.rows.values())
            return f"{ended} of {plural(len(row.inner.rows), 'step')}"
        if self._is_queued(row, elapsed_ms):
            return "waits for the quota or a free connection"
        if row.own_attempts and row.own_attempts[-1].error_code is not None:
            return _retried(row)
        return plural(len(row.own_tool_calls), "tool call") if row.own_tool_calls else ""


def _retried(row: StepRow) -> str:
    last = row.own_attempts[-1]
    if row.own_pending:
        waited = f" and a pause of {duration(last.wait_ms)}" if last.wait_ms else ""
        return f"attempt {last.number + 1}, after {last.error_code}{waited}"
    pause = f": the next one after {duration(last.wait_ms)}" if last.wait_ms else ""
    return f"attempt {last.number} failed with {last.error_code}{pause}"


def _bar(row: StepRow, elapsed_ms: float) -> dict[str, Any]:
    """Return how the items of a mapped step fare, and what the rest of them will take."""
    items = row.items or []
    ended = [item for item in items if item.status in _ENDED]
    failed = sum(item.status is StepStatus.FAILED for item in items)
    running = sum(item.status is StepStatus.RUNNING for item in items)
    told = [f"{count(len(ended))} of {plural(len(items), 'item')}"]
    told += [f"{count(running)} running"] if running else []
    told += [f"{count(failed)} failed"] if failed else []
    times = [item.latency_ms for item in ended if item.latency_ms is not None]
    left = len(items) - len(ended)
    if times:
        told.append(f"p50 {duration(median(times))}")
    if times and left:
        forecast = duration((elapsed_ms - (row.started_ms or 0.0)) / len(ended) * left)
        costs = total_usd(item.cost_usd for item in ended if item.replies)
        dollars = f" and {money(costs / len(ended) * left)}" if costs else ""
        told.append(f"about {forecast}{dollars} left")
    return {"ended": len(ended), "failed": failed, "of": len(items), "told": " · ".join(told)}


def _count(statuses: Mapping[str, StepStatus], sought: StepStatus) -> int:
    return sum(status is sought for status in statuses.values())


def _levels(plan: Plan) -> list[list[str]]:
    """Return the steps in columns, each step right of those that it waits for."""
    depths: list[int] = []
    for step in plan.steps:  # in an order in which they can run
        depths.append(max((depths[position] + 1 for position in step.upstream), default=0))
    levels: list[list[str]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for step, depth in zip(plan.steps, depths, strict=True):
        levels[depth].append(step.step_id)
    return levels
