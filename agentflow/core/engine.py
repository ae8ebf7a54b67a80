"""One run of a workflow: steps start when their inputs are there; timeouts, cancellation and failures end it.

The engine keeps, for every step, the count of inputs that are still missing. Tasks, the workers, take the steps that
are ready. Before a worker starts a step it makes sure that others stand by for the rest: so there are hardly more tasks
than steps that wait for something, and steps that wait for nothing run one after the other in a few tasks.
"""

from __future__ import annotations

import asyncio
import heapq
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from agentflow.core.config import WorkflowConfig
from agentflow.core.errors import AgentFlowError, StepError, WorkflowError, WorkflowTimeoutError
from agentflow.core.events import (
    Event,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepScope,
    StepStarted,
    current_step,
)
from agentflow.core.model import Reply, Request
from agentflow.core.plan import Plan, PlannedStep
from agentflow.core.result import RunResult, StepStatus
from agentflow.core.template import look_up

STANDING_BY = 8  # workers that were called and have not begun; each that begins calls the next


class _StepFailed(Exception):  # noqa: N818 - ends the task group, and is never seen outside
    """A step failed, and the run is to stop."""


class Run:
    """One run of a plan.

    Parameters
    ----------
    reader : is given each event, after the result has taken it in.
    """

    def __init__(
        self,
        plan: Plan,
        config: WorkflowConfig,
        inputs: Mapping[str, Any],
        reader: Callable[[Event], None] | None = None,
    ) -> None:
        self.result = RunResult()
        self._plan = plan
        self._config = config
        self._inputs = inputs
        self._reader = reader
        self._needs = [step.needs for step in plan.steps]
        self._ready: list[int] = []
        self._workers = 0
        self._standing_by = 0
        self._limit = (config.max_concurrency or len(plan.steps)) if config.enable_parallel else 1
        self._failure: StepError | None = None

    async def execute(self) -> RunResult:
        """Run all steps.

        Raises
        ------
        WorkflowError
            A step failed, or the time was up.
        """
        run_id = f"r-{uuid.uuid4().hex[:8]}"
        self.emit(RunStarted(run_id, self._plan.name, self._plan.step_ids, datetime.now(UTC), time.perf_counter()))
        error: AgentFlowError | None
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                await self._run_steps()
            error = self._failure
        except TimeoutError:
            error = self._timeout_error()
        except asyncio.CancelledError:
            self.emit(RunFinished("interrupted", None, time.perf_counter()))
            raise
        self.emit(RunFinished("failed" if error else "ok", error, time.perf_counter()))
        if error:
            raise WorkflowError(self._plan.name, error, self.result)
        return self.result

    async def _run_steps(self) -> None:
        self._ready = [position for position, needs in enumerate(self._needs) if needs == 0]
        try:
            async with asyncio.TaskGroup() as group:
                self._call_workers(group)
        except* _StepFailed:
            pass  # self._failure has it

    def _call_workers(self, group: asyncio.TaskGroup) -> None:
        """Have workers stand by for the steps that are ready, as far as the limit allows."""
        wanted = min(len(self._ready), STANDING_BY) - self._standing_by
        for _ in range(min(wanted, self._limit - self._workers)):
            self._standing_by += 1
            self._workers += 1
            group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Run steps that are ready, until none is."""
        self._standing_by -= 1
        while self._ready:
            step = self._plan.steps[heapq.heappop(self._ready)]
            if self._ready:
                self._call_workers(group)
            if await self._run_step(step):
                for successor in step.successors:
                    self._needs[successor] -= 1
                    if self._needs[successor] == 0:
                        heapq.heappush(self._ready, successor)
        self._workers -= 1

    async def _run_step(self, step: PlannedStep) -> bool:
        """Run one step and return whether it finished."""
        step_id = step.step_id
        current_step.set(StepScope(step_id, None, self))
        self.emit(StepStarted(step_id, time.perf_counter()))
        try:
            output = await step.agent.run(self._values(step))
        except GeneratorExit:
            raise
        except BaseException as error:  # whatever a step raises fails the step, and never ends the loop
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                self.emit(StepCancelled(step_id, time.perf_counter()))
                raise
            self.emit(StepFailed(step_id, error, time.perf_counter()))
            self._failure = self._failure or StepError(step_id, error)
            if self._config.on_error == "fail":
                raise _StepFailed from error
            return False
        self.emit(StepFinished(step_id, output, time.perf_counter()))
        return True

    def _values(self, step: PlannedStep) -> dict[str, Any]:
        """Return the values of a step's parameters; an optional one that was not given is left out."""
        values = {}
        for binding in step.bindings:
            if binding.step_id is not None:
                value = self.result.outputs[binding.step_id]
                values[binding.name] = look_up(value, binding.path, of=binding.step_id) if binding.path else value
            elif binding.run_input is None:
                values[binding.name] = binding.literal
            elif binding.run_input in self._inputs:
                values[binding.name] = self._inputs[binding.run_input]
        return values

    def _timeout_error(self) -> WorkflowTimeoutError:
        hung = [repr(row.step) for row in self.result.rows.values() if row.status is StepStatus.CANCELLED]
        where = f", in step {', '.join(hung)}" if hung else ""
        return WorkflowTimeoutError(
            f"The run took longer than its {self._config.timeout_seconds:g} s{where}.",
            fix="Raise timeout_seconds in its WorkflowConfig (or AGENTFLOW_TIMEOUT), or make the step shorter.",
        )

    @property
    def replays(self) -> bool:
        """Whether `recall` may find answers."""
        return False

    def recall(self, scope: StepScope, key: str) -> Reply | None:
        """Return an answer that a step was given before the run was stopped."""

    def wait_until_durable(self) -> bool:
        """Block until the journal holds all that has happened so far."""
        return True

    def keep_answer(self, scope: StepScope, key: str, request: Request, reply: Reply) -> None:
        """Block until the journal holds an answer."""

    def emit(self, event: Event) -> None:
        """Put an event into the run's stream."""
        self.result.apply(event)
        if self._reader is not None:
            self._reader(event)


def _is_cancelled() -> bool:
    """Return whether the current task was cancelled; else a `CancelledError` is of something that the step awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
