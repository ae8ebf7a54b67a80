"""A run as lines of a log, where nobody looks at a page: one for each change of a step, and one every ten seconds."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agentflow.core.events import (
    AttemptFinished,
    Event,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepMapped,
    StepSkipped,
    StepStarted,
)
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.core.watching import RUN_LOG, Watched
from agentflow.notebook.page import Page
from agentflow.views.format import count, duration, explain, money, plural, spoken
from agentflow.views.outputs import one_line

PAUSE_SECONDS = 0.1  # a step that begins and ends meanwhile has one line
NEWS_SECONDS = 10.0
END_SECONDS = 5.0  # how long the caller waits for the last lines
MOST_WAITING = 100_000  # events; of more the oldest have no line
_PART_CHARS = 200
_ENDED = frozenset({StepStatus.OK, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})


class LogDisplay:
    """Writes the lines of one run to the log, or to standard error where no log takes them.

    Parameters
    ----------
    page : where its card is shown at the end of the cell; None outside of a notebook.
    """

    wants_deltas = False
    is_on_page = False

    def __init__(self, watched: Watched, page: Page | None = None) -> None:
        self.result = watched.result
        self._name = watched.name
        self._page = page
        self._events: deque[Event] = deque(maxlen=MOST_WAITING)
        self._begun = self._told_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="agentflow-log", daemon=True)
        self._thread.start()

    def take(self, event: Event, _result: RunResult) -> None:
        """Take an event in."""
        self._events.append(event)

    def end(self) -> None:
        """Take in that the run has ended."""
        self._ended.set()

    def close(self) -> None:
        """Write the last lines, before the caller goes on."""
        self.end()
        self._thread.join(END_SECONDS)

    def end_of_cell(self, *, is_shown: bool, ends_as_line: bool) -> None:
        """Show the run's card where the cell does not show the same result itself."""
        result = self.result
        if self._page is None or is_shown or ends_as_line or not result.run_id or not self._ended.is_set():
            return
        self._page.show({"text/html": result._repr_html_(), "text/plain": repr(result)})

    def _serve(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._ended.wait(PAUSE_SECONDS)
            lines = [f"agentflow run {self.result.run_id}  {line}" for line in self._lines()]
            if lines:
                self._told_at = time.monotonic()
                _write(lines)

    def _lines(self) -> Iterator[str]:
        """Return the lines of what has happened since the last time."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        ends = (event for event in events if isinstance(event, StepFinished | StepFailed))
        ended = {event.step_id for event in ends if event.item is None}
        for event in events:
            begins = isinstance(event, StepStarted | StepMapped)
            if getattr(event, "item", None) is not None or (begins and event.step_id in ended):  # type: ignore[union-attr]  # those have one
                continue
            if (word := _WORDS.get(type(event))) is not None and (told := word(self.result, event)) is not None:
                yield told
        if not events and time.monotonic() - self._told_at >= NEWS_SECONDS:
            yield self._news()

    def _news(self) -> str:
        rows = self.result.rows.values()
        ended = sum(row.status in _ENDED for row in rows)
        running = [_so_far(row) for row in rows if row.status is StepStatus.RUNNING]
        shown = ", ".join(running[:5]) + (f" and {count(len(running) - 5)} more" if len(running) > 5 else "")
        took = duration((time.monotonic() - self._begun) * 1000)
        return "  ".join(["running", f"{ended}/{plural(len(rows), 'step')}", took, *_paid(self.result), shown])


def _so_far(row: StepRow) -> str:
    if row.items is None:
        return row.step
    return f"{row.step} {count(sum(item.status in _ENDED for item in row.items))}/{count(len(row.items))}"


def _paid(thing: RunResult | StepRow) -> list[str]:
    rows = thing.rows.values() if isinstance(thing, RunResult) else [thing]
    return [money(thing.cost_usd)] if any(row.replies for row in rows) else []


def _run_started(result: RunResult, event: RunStarted) -> str:
    return f"{result.workflow}  {'goes on' if event.resumed else 'started'}  {plural(len(event.step_ids), 'step')}"


def _step_started(_result: RunResult, event: StepStarted) -> str:
    return f"{event.step_id}  running"


def _step_mapped(_result: RunResult, event: StepMapped) -> str:
    return f"{event.step_id}  running  {plural(event.items, 'item')}"


def _attempt_failed(_result: RunResult, event: AttemptFinished) -> str | None:
    attempt = event.attempt
    if attempt.error_code is None:
        return None
    pause = f", next in {duration(attempt.wait_ms)}" if attempt.wait_ms else ""
    return f"{event.step_id}  attempt {attempt.number} failed  {attempt.error_code}{pause}"


def _step_ended(result: RunResult, event: StepFinished | StepFailed | StepSkipped | StepCancelled) -> str:
    row = result.rows[event.step_id]
    parts = [event.step_id, row.status.value]
    if row.latency_ms is not None:
        parts.append(duration(row.latency_ms))
    if (usage := row.usage) is not None:
        parts.append("cached" if row.cached else f"in {count(usage.input_tokens)} out {count(usage.output_tokens)}")
    parts += _paid(row)
    if row.items is not None:
        parts.append(f"{plural(len(row.items), 'item')}")
    why = explain(row.error)[0] if row.error is not None else row.reason
    return "  ".join([*parts, *([one_line(why, _PART_CHARS)] if why else [])])


def _run_finished(result: RunResult, event: RunFinished) -> str:
    rows = result.rows.values()
    ok = sum(row.status is StepStatus.OK for row in rows)
    cached = sum(row.cached is True for row in rows)
    steps = f"{ok}/{plural(len(rows), 'step')}" + (f" ({cached} cached)" if cached else "")
    word = "done" if event.status == "ok" else spoken(event.status)
    return "  ".join([word, steps, duration(result.duration_ms), *_paid(result)])


_WORDS: Mapping[type, Callable[[RunResult, Any], str | None]] = {
    RunStarted: _run_started,
    StepStarted: _step_started,
    StepMapped: _step_mapped,
    AttemptFinished: _attempt_failed,
    StepFinished: _step_ended,
    StepFailed: _step_ended,
    StepSkipped: _step_ended,
    StepCancelled: _step_ended,
    RunFinished: _run_finished,
}


def _write(lines: Sequence[str]) -> None:
    """Write lines to standard error at once, unless there is a log: that has records of all runs."""
    shown = ["  ".join(one_line(part, _PART_CHARS) for part in line.split("  ")) for line in lines]
    if not (RUN_LOG.isEnabledFor(logging.INFO) and RUN_LOG.hasHandlers()):
        print("\n".join(shown), file=sys.stderr, flush=True)
