"""Where a step's time went: the geometry that the card's bars and the chart both draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise

from agentflow.core.model import Attempt
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow

# Of the axis. Shorter pieces join a neighbour: they are narrower than a pixel, or slivers of no interest.
_RESOLUTION = 1 / 1000
_SLIVER = 1 / 100


class Phase(StrEnum):
    """What a step did at a moment. Where its calls overlap, the first of these that applies is shown."""

    ANSWERING = "model answers"
    FAILED = "failed attempt"
    PAUSE = "pause before the next attempt"
    OTHER = "code or waiting"


# Okabe and Ito's palette, the four of it that have 3:1 against white and against JupyterLab's dark background.
COLOURS = {Phase.ANSWERING: "#0072B2", Phase.FAILED: "#D55E00", Phase.PAUSE: "#8C8C8C", Phase.OTHER: "#009E73"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one phase, in milliseconds from the start of the run."""

    phase: Phase
    start_ms: float
    end_ms: float


def extent_ms(result: RunResult) -> float:
    """Return the length of the run's time axis: its duration, or for one that still runs the last moment known."""
    ends = [_end_ms(result, row) for row in result.rows.values() if row.started_ms is not None]
    return max([result.duration_ms, *ends])


def _end_ms(result: RunResult, row: StepRow) -> float:
    if row.latency_ms is not None:
        return (row.started_ms or 0.0) + row.latency_ms
    pieces = [end for attempt in row.attempts for _, _, end in _pieces(result, attempt)]
    return max([row.started_ms or 0.0, *pieces])


def _pieces(result: RunResult, attempt: Attempt) -> Iterator[tuple[Phase, float, float]]:
    sent = (attempt.started_at - result.started_at) / timedelta(milliseconds=1)
    ended = sent + attempt.latency_ms
    yield Phase.FAILED if attempt.error_code else Phase.ANSWERING, sent, ended
    if attempt.wait_ms:
        yield Phase.PAUSE, ended, ended + attempt.wait_ms


def first_tokens(result: RunResult, row: StepRow) -> list[float]:
    """Return when the first token of each streamed answer came, in milliseconds from the start of the run."""
    return [
        (reply.attempts[-1].started_at - result.started_at) / timedelta(milliseconds=1) + reply.ttft_ms
        for reply in row.paid
        if reply.ttft_ms is not None and reply.attempts
    ]


def spans(result: RunResult, row: StepRow, extent: float) -> list[Span]:
    """Return a step's time as spans without a gap; a step that still runs reaches to the axis' end at `extent`."""
    if row.started_ms is None:
        return []
    start, end = row.started_ms, extent if row.latency_ms is None else row.started_ms + row.latency_ms
    changes: list[tuple[float, Phase, int]] = [(start, Phase.OTHER, 1), (end, Phase.OTHER, -1)]
    for attempt in row.attempts:
        for phase, left, right in _pieces(result, attempt):
            # The clocks of the run and of the attempt may differ a little.
            changes += [(min(max(left, start), end), phase, 1), (min(max(right, start), end), phase, -1)]
    changes.sort(key=lambda change: change[0])

    active: Counter[Phase] = Counter()
    found: list[Span] = []
    for (left, phase, step), (right, _, _) in pairwise(changes):
        active[phase] += step
        if left < right:
            _append(found, Span(next(phase for phase in Phase if active[phase]), left, right), extent)
    return found


def _append(found: list[Span], span: Span, extent: float) -> None:
    """Add a span, or make one of it and the last where they are of one phase or one of them is too short to show."""
    if not found:
        found.append(span)
        return
    last = found[-1]
    if last.phase is span.phase or _is_short(span, extent):
        found[-1] = Span(last.phase, last.start_ms, span.end_ms)
    elif len(found) == 1 and _is_short(last, extent):
        found[-1] = Span(span.phase, last.start_ms, span.end_ms)
    else:
        found.append(span)


def _is_short(span: Span, extent: float) -> bool:
    return span.end_ms - span.start_ms < extent * (_SLIVER if span.phase is Phase.OTHER else _RESOLUTION)
