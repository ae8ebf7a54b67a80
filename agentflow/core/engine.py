"""One run of a workflow: steps start when their inputs are there; timeouts, cancellation and failures end it.

The engine keeps, for every step, the count of steps that it still waits for. Tasks, the workers, take what is ready.
Before a worker starts a step it makes sure that others stand by for the rest, as many as there are at work: so steps
that wait for something soon have a task each, and steps that wait for nothing run one after the other in a few tasks.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from agentflow.core.budget import Budget
from agentflow.core.config import WorkflowConfig
from agentflow.core.errors import AgentFlowError, ItemsFailedError, StepError, WorkflowError, WorkflowTimeoutError
from agentflow.core.events import (
    OrderTaken,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepMapped,
    StepScope,
    StepSkipped,
    current_step,
)
from agentflow.core.gate import Gate
from agentflow.core.journal import ITEMS
from agentflow.core.orders import Order
from agentflow.core.outputs import NotKept, Stored, gathered
from agentflow.core.plan import Binding, Condition, Plan, PlannedStep
from agentflow.core.printing import begin_capture, end_capture
from agentflow.core.recording import Recording
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepStatus
from agentflow.core.step_run import FAILED, REFUSED, StepRunner, as_items
from agentflow.core.template import look_up
from agentflow.core.watching import Display
from agentflow.utils.threads import function_pool

GRACE_SECONDS = 0.25  # how long a stopped step may take to clean up; after that nobody waits for it
_NO_LIMIT = _NEVER = 1_000_000_000
_MISSING: Any = object()  # in the place of an output that is not there

_abandoned: set[asyncio.Task[None]] = set()  # tasks that nobody waits for; the loop alone would not keep them alive


@dataclass(slots=True)
class _Mapped:
    """A mapped step that runs: its values and list, what its items returned, and how many have not ended."""

    position: int
    values: dict[str, Any]
    items: list[Any]
    outputs: list[Any]
    left: int
    failures: dict[int, BaseException] = field(default_factory=dict)


class Run:
    """One run of a plan.

    Parameters
    ----------
    recording : takes the events; where its result has rows already, the run goes on where it was stopped.
    waiting : a context in which the run waits for its steps.
    begin : called before anything else; opens the journal.
    again : steps that have ended before the run was stopped, and are to run again.
    gate : says how many steps may be at work, where several runs share that; default the configuration.
    stays_failed : says whether an item, by its run and its position, that failed before the run was stopped is left as
        it is; default none is.
    """

    def __init__(
        self,
        plan: Plan,
        config: WorkflowConfig,
        inputs: Mapping[str, Any],
        recording: Recording,
        *,
        run_id: str,
        waiting: AbstractContextManager[None] | None = None,
        begin: Callable[[], Awaitable[None]] | None = None,
        again: Iterable[str] = (),
        gate: Gate | None = None,
        stays_failed: Callable[[str, int], bool] = lambda _run_id, _item: False,
    ) -> None:
        self.run_id = run_id
        self.result = recording.result
        self._plan = plan
        self._config = config
        self.inputs = inputs
        self.display: Display | None = None
        self._recording = recording
        self._waiting = waiting or nullcontext()
        self._begin = begin
        self._again = set(again)
        self._runner = StepRunner(recording, config.large_output_bytes)
        self._needs = [len(step.upstream) for step in plan.steps]
        self._outputs: list[Any] = [_MISSING] * len(plan.steps)
        self._lost: dict[int, str] = {}  # position -> why the step is skipped; empty where it cannot run for a failure
        self._careful = False  # whether a step's inputs may be lacking or stored, or outputs are not kept
        self._users: list[int] = []  # position -> steps that still need its output, where outputs are not kept
        self._gate = gate
        self._stays_failed = stays_failed
        self._limit = (config.max_concurrency or _NO_LIMIT) if config.enable_parallel else 1
        self._ready: deque[int] | list[int] = deque() if config.enable_parallel else []
        if isinstance(self._ready, deque):
            self._push, self._pop = self._ready.append, self._ready.popleft
        else:  # one after the other, in the order of the plan
            self._push, self._pop = partial(heapq.heappush, self._ready), partial(heapq.heappop, self._ready)
        self._items: deque[tuple[_Mapped, int]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = 0
        self._standing_by = 0
        self._failure: StepError | None = None
        self._is_over = False
        self._starts_nothing = False
        self._is_cancelled = False
        self._time_is_up = False
        self._own_error: BaseException | None = None
        self._end_of_wait: asyncio.Future[None] | None = None

    @property
    def plan(self) -> Plan:
        """What it runs."""
        return self._plan

    @property
    def budgets(self) -> Sequence[Budget]:
        """What limits its money."""
        return self._recording.budgets

    def read_along(self, display: Display) -> None:
        """Have a display read the run; before it begins."""
        self.display = display
        self._recording.read_along(display)

    async def execute(self) -> RunResult:
        """Run all steps.

        Raises
        ------
        WorkflowError
            A step failed, or the time was up.
        JournalError
            The journal cannot be opened; nothing was called.
        """
        if self._begin is not None:
            await self._begin()
        self._runner.emit = self._recording.direct_emit()
        if self._recording.parent is not None:
            return await self._execute()
        self._take_orders()
        if self._gate is not None:
            self._gate.watchers.append(self._set_limit)
            self._set_limit(self._gate.limit)
        begin_capture()
        try:
            return await self._execute()
        finally:
            end_capture()
            if self._gate is not None:
                self._gate.watchers.remove(self._set_limit)
            self._recording.close()

    async def _execute(self) -> RunResult:
        emit, plan, resumed = self._runner.emit, self._plan, bool(self.result.rows)
        if resumed:
            self._again |= self._not_kept()
        again = tuple(self._again)
        emit(RunStarted(self.run_id, plan.name, plan.step_ids, datetime.now(UTC), time.perf_counter(), resumed, again))
        try:
            await self._run_steps(resumed=resumed)
        except asyncio.CancelledError:
            emit(RunFinished("interrupted", None, time.perf_counter()))
            raise
        if (refused := self._runner.refused) is not None and not self._time_is_up:
            self._cancel_rows("the budget was reached before its end")
            exceeded = refused.of_run(self.result, is_kept=self._config.journal)
            emit(RunFinished("budget_exceeded", exceeded, time.perf_counter()))
            raise exceeded
        error: AgentFlowError | None = self._timeout_error() if self._time_is_up else self._failure
        emit(RunFinished("failed" if error else "ok", error, time.perf_counter()))
        if error:
            raise WorkflowError(plan.name, error, self.result)
        return self.result

    def _on_time_up(self) -> None:
        self._time_is_up = not self._is_over
        self._end()

    def _timeout_error(self) -> WorkflowTimeoutError:
        hung = [repr(row.step) for row in self.result.rows.values() if row.status is StepStatus.CANCELLED]
        where = f", in step {', '.join(hung)}" if hung else ""
        return WorkflowTimeoutError(
            f"The run took longer than its {self._config.timeout_seconds:g} s{where}.",
            fix="Raise timeout_seconds in its WorkflowConfig (or AGENTFLOW_TIMEOUT), or make the step shorter.",
        )

    # Orders

    def _take_orders(self) -> None:
        """Have what other processes tell the run done, on its event loop."""
        if self._recording.journal is not None:
            on_loop = asyncio.get_running_loop().call_soon_threadsafe
            self._recording.journal.take_orders(lambda order: on_loop(self._obey, order))

    def _obey(self, order: Order) -> None:
        if self._is_over:
            return
        refusal = ""
        if order.what != "stop" and not self._config.enable_parallel:
            refusal = "the workflow runs its steps one after the other (enable_parallel=False)"
        self._runner.emit(OrderTaken(order, time.perf_counter(), refusal))
        if order.what == "stop":
            self._is_cancelled = True
            self._end()
        elif order.value is not None and not refusal:
            (self._gate.change if self._gate else self._set_limit)(order.value)

    def _set_limit(self, limit: int) -> None:
        """Have another number of workers at most, from now on; those at work end what they are at."""
        self._limit = limit
        if self._workers:
            self._call_workers()

    # Workers

    async def _run_steps(self, *, resumed: bool) -> None:
        if not self._config.keep_outputs:
            self._users = [len(step.successors) or _NEVER for step in self._plan.steps]
            self._careful = True
        first = [position for position, needs in enumerate(self._needs) if needs == 0]
        if resumed:
            self._take_over()
            first = [position for position in first if self._needs[position] == 0]
        self._ready.extend(first)  # in order, and so a heap too
        self._call_workers()
        try:
            await asyncio.sleep(0)
            if not self._is_over and self._workers:  # a run that waits for nothing needs neither a timer nor signals
                await self._wait()
        finally:
            if self._workers:
                await self._stop()
        if self._own_error is not None:
            raise self._own_error
        if self._is_cancelled:
            raise asyncio.CancelledError(f"The run was {self.result.how_interrupted}.")

    async def _wait(self) -> None:
        """Wait until the run is over, or its time is up."""
        loop = asyncio.get_running_loop()
        self._end_of_wait = loop.create_future()
        timer = loop.call_later(self._config.timeout_seconds, self._on_time_up)
        try:
            with self._waiting:
                await self._end_of_wait
        finally:
            timer.cancel()

    def _call_workers(self) -> None:
        """Have as many workers stand by as there are at work, as far as there is work and the limit allows."""
        at_work = self._workers - self._standing_by
        wanted = min(len(self._ready) + len(self._items), at_work or 1) - self._standing_by
        loop = asyncio.get_running_loop()
        for _ in range(min(wanted, self._limit - self._workers)):
            self._standing_by += 1
            self._workers += 1
            self._tasks.add(loop.create_task(self._work()))

    async def _work(self) -> None:
        """Run what is ready, until nothing is."""
        self._standing_by -= 1
        try:
            await self._run_ready()
        except asyncio.CancelledError:
            if not self._is_over:  # a step has cancelled its own task, which ends the run like a cancellation of it
                self._is_cancelled = True
                self._end()
            raise
        except BaseException as error:  # noqa: BLE001 - the engine's own: what a step raises never comes here
            self._own_error = self._own_error or error
            self._end()
        finally:
            self._workers -= 1
            if self._workers == 0:
                self._end()

    async def _run_ready(self) -> None:
        ready, items, needs, outputs = self._ready, self._items, self._needs, self._outputs
        steps, run, push, pop = self._plan.steps, self._runner.run, self._push, self._pop
        while (ready or items) and not self._starts_nothing and self._workers <= self._limit:
            if self._standing_by * 2 < self._workers and len(ready) + len(items) > 1:
                self._call_workers()
            if items:
                await self._run_item(*items.popleft())
                continue
            position = pop()
            step = steps[position]
            if step.parameters is None or self._careful:
                await self._run_with_care(step, position)
                continue
            # What follows is what `_run_with_care` and `_finish` come to for most steps, without their cost.
            values = {name: outputs[source] for name, source in zip(step.parameters, step.upstream, strict=True)}
            output = await run(step, values)
            if output is FAILED or output is REFUSED:
                self._fail(position)
                continue
            outputs[position] = output
            if type(output) is Stored:
                self._careful = True
            for successor in step.successors:
                needs[successor] -= 1
                if needs[successor] == 0:
                    push(successor)

    def _end(self) -> None:
        """Let the run end: there is nothing more to wait for."""
        self._is_over = self._starts_nothing = True
        if self._end_of_wait is not None and not self._end_of_wait.done():
            self._end_of_wait.set_result(None)

    async def _stop(self) -> None:
        """Cancel what still runs, give it a moment to clean up, and write down what did not end."""
        running = {task for task in self._tasks if not task.done()}
        self._is_over = self._starts_nothing = self._runner.stopped = True
        for task in running:
            task.cancel()
        _, stubborn = await asyncio.wait(running, timeout=GRACE_SECONDS)
        for task in stubborn:
            _abandoned.add(task)
            task.add_done_callback(_abandoned.discard)
        self._cancel_rows()

    def _cancel_rows(self, reason: str = "") -> None:
        """Write down what did not end."""
        at = time.perf_counter()
        for row in self.result.rows.values():
            if row.status is StepStatus.RUNNING:
                for item in row.items or ():
                    if item.status is StepStatus.RUNNING:
                        self._runner.emit(StepCancelled(row.step, at, item.item, reason))
                self._runner.emit(StepCancelled(row.step, at, None, reason))

    # The steps that need more than their inputs' outputs

    async def _run_with_care(self, step: PlannedStep, position: int) -> None:
        """Run a step that may lack an input or be unwanted, is mapped, has a time limit, inputs or literals."""
        reason = self._lost.pop(position, None)
        if reason is not None:
            self._skip(position, reason)
            return
        try:
            if step.when is not None and not await self._is_wanted(step, step.when):
                self._skip(position, "its condition does not hold")
                return
            values = await self._values(step.bindings if step.parameters is None else step.short_bindings())
            items = as_items(step.map_over, values[step.map_over]) if step.map_over else None
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a condition or a lookup raises fails the step
            self._runner.fail(step.step_id, None, error)
            self._fail(position, error)
            return
        if items is not None:
            self._start_items(position, values, items)
            return
        output = await self._runner.run(step, values)
        if output is FAILED or output is REFUSED:
            self._fail(position)
        else:
            self._finish(position, output)

    async def _is_wanted(self, step: PlannedStep, when: Condition) -> bool:
        current_step.set(StepScope(step.step_id, None, self._recording))
        values = await self._values(when.bindings)
        return bool(values["when"] if when.agent is None else await when.agent.run(values))

    async def _values(self, bindings: Iterable[Binding]) -> dict[str, Any]:
        """Return the values of parameters; one that is not there has its default, or is None."""
        values = {}
        for binding in bindings:
            if binding.position >= 0:
                value = self._outputs[binding.position]
                if type(value) is Stored:
                    value = await function_pool().run(value.load)
            elif binding.run_input is None:
                value = binding.literal
            else:
                value = self.inputs.get(binding.run_input, _MISSING)
            if value is not _MISSING:
                path = binding.path
                values[binding.name] = look_up(value, path, of=str(binding.step_id)) if path else value
            elif not binding.has_default:
                values[binding.name] = None
        return values

    # What follows from the end of a step

    def _finish(self, position: int, output: Any) -> None:
        """Let the successors of a step have its output."""
        self._outputs[position] = output
        if type(output) is Stored:
            self._careful = True
        for successor in self._plan.steps[position].successors:
            self._release(successor)
        if self._users:
            self._drop_outputs(position)

    def _fail(self, position: int, error: BaseException | None = None) -> None:
        """Take in that a step failed: it ends the run, or what needs the step."""
        if self._runner.refused is not None:
            self._starts_nothing = True  # and what is on its way ends: it is paid for
            return
        step = self._plan.steps[position]
        cause = error or self.result.rows[step.step_id].error
        if self._failure is None and cause is not None:
            self._failure = StepError(step.step_id, cause)
        if self._config.on_error == "fail":
            self._ready.clear()
            self._items.clear()
            self._end()
        else:
            self._lose(position, "")

    def _skip(self, position: int, reason: str) -> None:
        """Leave a step out; without a reason it is not skipped, but cannot run."""
        step_id = self._plan.steps[position].step_id
        if reason:
            self._runner.emit(StepSkipped(step_id, reason, time.perf_counter()))
        self._lose(position, reason and f"it needs {step_id!r}, which was skipped")

    def _lose(self, position: int, reason: str) -> None:
        """Let the successors of a step go without its output; those that need it will not run."""
        self._careful = True
        for successor in self._plan.steps[position].successors:
            if position not in self._plan.steps[successor].optional:
                self._lost[successor] = reason and self._lost.get(successor, reason)
            self._release(successor)
        if self._users:
            self._drop_outputs(position)

    def _release(self, position: int) -> None:
        """Count one of the steps that a step waits for as ended."""
        self._needs[position] -= 1
        if self._needs[position] == 0:
            self._push(position)

    def _drop_outputs(self, position: int) -> None:
        """Forget the outputs that no step needs any longer."""
        for needed in self._plan.steps[position].upstream:
            self._users[needed] -= 1
            if self._users[needed] == 0:
                self._outputs[needed] = None
                self.result.drop_output(self._plan.steps[needed].step_id)

    # Mapped steps

    def _start_items(self, position: int, values: dict[str, Any], items: list[Any]) -> None:
        step_id = self._plan.steps[position].step_id
        self._runner.emit(StepMapped(step_id, len(items), time.perf_counter()))
        mapped = _Mapped(position, values, items, [None] * len(items), len(items))
        for index, row in enumerate(self.result.rows[step_id].items or ()):
            if row.status is StepStatus.OK and not isinstance(row.kept_output, NotKept):  # from before a resume
                mapped.outputs[index] = row.kept_output
                mapped.left -= 1
            elif row.status is StepStatus.FAILED and row.error and self._stays_failed(self.run_id, index):
                mapped.failures[index] = row.error
                mapped.left -= 1
            else:
                self._items.append((mapped, index))
        if mapped.left == 0:
            self._finish_items(mapped)

    async def _run_item(self, mapped: _Mapped, index: int) -> None:
        step = self._plan.steps[mapped.position]
        output = await self._runner.run(step, mapped.values | {str(step.map_over): mapped.items[index]}, index)
        if output is REFUSED:
            self._starts_nothing = True
            return
        if output is FAILED:
            row = self.result.row(step.step_id, index)
            mapped.failures[index] = row.error or RuntimeError("the item failed")
        else:
            mapped.outputs[index] = output
        mapped.left -= 1
        if mapped.left == 0:
            self._finish_items(mapped)

    def _finish_items(self, mapped: _Mapped) -> None:
        step_id, position = self._plan.steps[mapped.position].step_id, mapped.position
        if mapped.failures:
            error = ItemsFailedError(mapped.failures, of=len(mapped.items))
            self._runner.fail(step_id, None, error)
            self._outputs[position] = gathered(mapped.outputs)  # for steps that can do without
            self._fail(position, error)
            return
        output = gathered(mapped.outputs)
        self._runner.finish(step_id, output, ITEMS)
        self._finish(position, output)

    # A run that goes on

    def _not_kept(self) -> set[str]:
        """Return the steps that ended before the run was stopped, but whose outputs the journal does not have."""
        found = set()
        for row in self.result.rows.values():
            outputs = [part.kept_output for part in (row, *(row.items or ()))]
            missing = [output for output in outputs if isinstance(output, NotKept)]
            if row.status is StepStatus.OK and missing:
                found.add(row.step)
                self.result.warnings.append(f"Step {row.step!r} ran again, since {missing[0].reason}.")
        return found

    def _take_over(self) -> None:
        """Take the outputs of the steps that have ended before the run was stopped."""
        rows = [self.result.rows[step.step_id] for step in self._plan.steps]
        ended = [
            position
            for position, row in enumerate(rows)
            if row.status in {StepStatus.OK, StepStatus.SKIPPED} and row.step not in self._again
        ]
        for position in ended:  # all of them first: none is to run when the steps before it are counted as ended
            self._needs[position] -= _NEVER
        for position in ended:
            row = rows[position]
            if row.status is StepStatus.OK:
                self._finish(position, row.kept_output)
            else:
                self._lose(position, f"it needs {row.step!r}, which was skipped")
