"""The metrics of runs, in the namespace `AgentFlow`: what there is, and how it is gathered.

Every execution, request or run gives a sample; a rate is the average of samples of 0 and 100 (percent). So the average
of a rate over processes and periods is exact, as the operation runbook's alarm on `WorkflowFailureRate` needs it.

Each metric is published with no dimension, since CloudWatch never adds up over dimensions, and once more with one:
`Workflow`, the name of the workflow, or `ModelId`, the id or profile that was asked. Each of these is a metric on the
bill: 0.30 dollars a month for each of the first 10,000, in the hours in which there is data (US East;
https://aws.amazon.com/cloudwatch/pricing/). W workflows and M models are 7 + 7 W + 9 + 9 M + 1 metrics: 9.90 dollars
a month for one of each, 23.70 for 5 workflows on 3 models. Runs, steps and users are no dimensions for that reason.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from agentflow.core.events import (
    AttemptFinished,
    CallFinished,
    Event,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
)
from agentflow.core.model import ABANDONED
from agentflow.models.faults import THROTTLE_CODES
from agentflow.models.limiting.lanes import lanes
from agentflow.ops.places import Placed

NAMESPACE = "AgentFlow"

Unit: TypeAlias = Literal["Count", "Percent", "Milliseconds", "None"]

# Name -> unit and meaning; the statistic that makes sense of it stands first.
METRICS: Mapping[str, tuple[Unit, str]] = {
    # with Workflow
    "WorkflowSuccess": ("Count", "Sum: runs that ended well"),
    "WorkflowFailure": ("Count", "Sum: runs that failed or reached their budget; an interrupted run is neither"),
    "WorkflowFailureRate": ("Percent", "Average: failed runs of all that ended"),
    "WorkflowDuration": ("Milliseconds", "Average, p95: of a run"),
    "AgentExecutionTime": ("Milliseconds", "Average, p95: of a step, or an item of it, with its retries"),
    "AgentErrorRate": ("Percent", "Average: executions that failed of all"),
    "AgentRetryRate": ("Percent", "Average: executions that had to ask again, of those that asked a model"),
    # with ModelId
    "BedrockLatency": ("Milliseconds", "Average, p95: of an answered request, without queueing and retries"),
    "QueueTime": ("Milliseconds", "Average, p95: that an answered call waited for its quota and for a connection"),
    "InputTokens": ("Count", "Sum: billed"),
    "OutputTokens": ("Count", "Sum: billed"),
    "TokenUsage": ("Count", "Sum: both, and those read from and written to the prompt cache"),
    "CostUSD": ("None", "Sum: dollars; calls at an unknown price are left out"),
    "ThrottlingRate": ("Percent", "Average: requests that were throttled of all"),
    "ModelErrorRate": ("Percent", "Average: requests that failed otherwise of all"),
    "LimiterHeadroom": ("Percent", "Minimum: of a quota that may be asked for at once; where a quota is known"),
    # with neither
    "ActiveWorkflows": ("Count", "Maximum: runs that go on in a process"),
}  # fmt: skip

Dimension: TypeAlias = tuple[str, str] | None  # name and value
Samples: TypeAlias = dict[Dimension, dict[str, Counter[float]]]  # metric -> value -> how often


class Meter:
    """Gathers the samples of all runs of the process. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: Samples = {}
        self._active: Counter[str] = Counter()  # by run
        self._takes: Mapping[type[Event], Callable[[Placed, Any], None]] = {
            RunStarted: self._run_started,
            RunFinished: self._run_finished,
            StepFinished: self._step_ended,
            StepFailed: self._step_ended,
            AttemptFinished: self._attempt_finished,
            CallFinished: self._call_finished,
        }

    def take(self, place: Placed) -> None:
        """Take in what an event says."""
        if take := self._takes.get(type(place.event)):
            with self._lock:
                take(place, place.event)

    @property
    def active(self) -> int:
        """How many runs go on."""
        return self._active.total()

    def drain(self) -> Samples:
        """Return the samples since the last time, with those of now."""
        with self._lock:
            if self._samples or self._active:
                self._add(None, ActiveWorkflows=self.active)
                for lane in lanes.all():
                    if (headroom := lane.headroom()) is not None:
                        self._add(("ModelId", lane.key.model_id), LimiterHeadroom=round(100 * headroom, 1))
            drained, self._samples = self._samples, {}
        return drained

    def _add(self, dimension: Dimension, **values: float) -> None:
        metrics = self._samples.get(dimension)
        if metrics is None:
            metrics = self._samples[dimension] = defaultdict(Counter)
        for name, value in values.items():
            metrics[name][value] += 1

    def _run_started(self, place: Placed, _event: RunStarted) -> None:
        if place.counts:
            self._active[place.root.run_id + place.prefix] = 1
            self._add(None, ActiveWorkflows=self.active)

    def _run_finished(self, place: Placed, event: RunFinished) -> None:
        if not place.counts:
            return
        self._active.pop(place.root.run_id + place.prefix, None)
        if event.status == "interrupted":
            return
        failed = event.status != "ok"
        self._add(
            ("Workflow", place.inner.workflow),
            WorkflowSuccess=int(not failed),
            WorkflowFailure=int(failed),
            WorkflowFailureRate=100 * failed,
            WorkflowDuration=_three_digits(place.inner.duration_ms),
        )

    def _step_ended(self, place: Placed, event: StepFinished | StepFailed) -> None:
        row = place.row(event.step_id, event.item)
        if row is None or row.inner is not None or (event.item is None and row.items is not None):
            return  # its items, or its own steps, are the executions
        dimension = ("Workflow", place.inner.workflow)
        failed = 100 * (type(event) is StepFailed)
        self._add(dimension, AgentExecutionTime=_three_digits(row.latency_ms or 0.0), AgentErrorRate=failed)
        if attempts := row.own_attempts:
            self._add(dimension, AgentRetryRate=100 * any(attempt.number > 1 for attempt in attempts))

    def _attempt_finished(self, _place: Placed, event: AttemptFinished) -> None:
        code = event.attempt.error_code
        if code == ABANDONED:  # nobody knows how it ended
            return
        throttled = code is not None and code.lower() in THROTTLE_CODES
        failed = code is not None and not throttled
        self._add(("ModelId", event.model_id), ThrottlingRate=100 * throttled, ModelErrorRate=100 * failed)

    def _call_finished(self, _place: Placed, event: CallFinished) -> None:
        reply, usage = event.reply, event.reply.usage
        if reply.origin is not None:
            return
        dimension = ("ModelId", reply.model_id)
        self._add(
            dimension,
            BedrockLatency=_three_digits(reply.latency_ms),
            QueueTime=_three_digits(reply.queue_ms),
            InputTokens=usage.input_tokens,
            OutputTokens=usage.output_tokens,
            TokenUsage=sum(
                (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
            ),
        )
        if reply.cost_usd is not None:
            self._add(dimension, CostUSD=float(reply.cost_usd))


def _three_digits(milliseconds: float) -> float:
    """Round a time, so that equal ones can be counted together."""
    return float(f"{max(milliseconds, 0.0):.3g}")


def without_dimension(samples: Samples) -> Samples:
    """Return the samples of each metric over all dimensions."""
    summed: dict[str, Counter[float]] = defaultdict(Counter)
    for metrics in samples.values():
        for name, values in metrics.items():
            summed[name].update(values)
    return {None: summed} if summed else {}


def dimension_value(text: str) -> str:
    """Return a text as CloudWatch takes it for the value of a dimension: 1 to 1,024 printable ASCII characters."""
    printable = "".join(char if char.isprintable() else "?" for char in text.strip())
    ascii_only = printable.encode("ascii", "backslashreplace").decode()
    return ascii_only.lstrip(":")[:1024] or "unnamed"
