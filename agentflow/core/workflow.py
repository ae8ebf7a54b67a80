"""Workflow: steps that are wired by names. Built and validated here, run by the engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core import portal, ports
from agentflow.core.admission import active_workflows
from agentflow.core.agent import Agent, SimpleAgent, as_agent
from agentflow.core.budget import Budget, budgets_in_force, dollars, spent_of
from agentflow.core.config import WorkflowConfig
from agentflow.core.definition.workflows import definition_json, from_yaml, to_yaml
from agentflow.core.engine import Run
from agentflow.core.errors import AgentFlowError, BudgetExceeded, DefinitionError, InputError, mark_interrupted, nearest
from agentflow.core.events import Event, RunFinished, StepScope, current_step
from agentflow.core.explaining.evidence import IN_JOURNAL, InMemory
from agentflow.core.gate import Gate
from agentflow.core.interrupts import Interruptible, exit_if_terminated
from agentflow.core.model import Model
from agentflow.core.nested import WorkflowAgent
from agentflow.core.overview import overview
from agentflow.core.plan import Plan, compile_plan, run_inputs
from agentflow.core.portal import RunHandle
from agentflow.core.quoting.making import as_rows, make_quote
from agentflow.core.quoting.quote import Quote
from agentflow.core.readers import Reader, ReaderThread, signal_taps
from agentflow.core.recording import Recording, Tap
from agentflow.core.result import RunResult
from agentflow.core.resume import Resumption, begin_run, prepare_resumption, workflow_of
from agentflow.core.reuse import open_reuse
from agentflow.core.rows import over_rows
from agentflow.core.step import Reference, Step, as_reference
from agentflow.core.step_parts import WorkflowParts, workflow_parts
from agentflow.core.surroundings import surroundings, tell_of
from agentflow.core.watching import mode_of_environment, nobody_looks, watch
from agentflow.utils.env import setting
from agentflow.utils.threads import function_pool

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.core.explaining.backtest import Backtest


class Workflow:
    """Steps that run as soon as what they need is there.

    Parameters
    ----------
    config : a name, or a `WorkflowConfig`.

    Raises
    ------
    DefinitionError
        `config` is neither.

    Notes
    -----
    Names are the wiring: `{classify}` in a prompt, or a parameter `classify` of a Python step, is the output of the
    step `classify`; a name that is no step is an input of the run.

    Examples
    --------
    >>> workflow = Workflow("greeting")
    >>> _ = workflow.add_step("greet", lambda name: f"Hello {name}")
    >>> _ = workflow.add_step("shout", lambda greet: greet.upper())
    >>> workflow.run(name="Ada").outputs["shout"]
    'HELLO ADA'
    """

    def __init__(self, config: WorkflowConfig | str) -> None:
        self.config = WorkflowConfig(name=config) if isinstance(config, str) else config
        if not isinstance(self.config, WorkflowConfig):
            raise DefinitionError(
                f"Workflow({config!r}): that is no configuration.", fix="Give a name or a WorkflowConfig."
            )
        self.steps: dict[str, Step] = {}
        self.last_result: RunResult | None = None
        self._plan: Plan | None = None
        self._identity: tuple[WorkflowParts, str | None] | None = None
        self._version = 0
        self._inner: list[Workflow] = []
        self._planned: tuple[Any, ...] = ()
        self._readers: dict[Reader, ReaderThread] = {}
        self._delta_readers: set[Reader] = set()
        self._own_taps: list[Tap] = []
        self._gate: Gate | None = None  # that its runs share
        self._stays_failed: Callable[[str, int], bool] = lambda _run_id, _item: False  # where a run goes on; see `Run`
        cap = setting("AGENTFLOW_MAX_ACTIVE_WORKFLOWS")
        self._most_active = cap.whole_number(at_least=1) if cap.value else None
        self._display_mode = mode_of_environment()
        self._looked_up: Mapping[str, Callable[[], Any]] = {}
        tell_of(self)

    def add_step(
        self,
        step_id: str,
        agent: Agent | Workflow | Callable[..., Any],
        inputs: Mapping[str, Any] | None = None,
        *,
        depends_on: Step | str | Sequence[Step | str] = (),
        when: Step | Reference | Callable[..., Any] | None = None,
        map_over: str | Step | Reference | None = None,
        optional: str | Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> Step:
        """Add a step, or replace the one of that id.

        Parameters
        ----------
        step_id : the name that other steps use for its output.
        agent : a `SimpleAgent`, a Python function, another `Workflow`, or any object with the `Agent` protocol.
        inputs : values given by hand, by parameter: a `Step`, `step.field` or `step[0]` is a reference, anything else
            is a literal value. A path of a file, or the bytes of an image, is shown to the model as such.
        depends_on : steps that have to end before this one starts, though it uses nothing of them.
        when : whether the step is wanted: a function, whose parameters are bound by name as those of a step, or a
            `step.field` that counts as true or false. A step that is not wanted is skipped, and so is every step that
            needs it, unless that declares the input as optional.
        map_over : a parameter that is given a list. The step runs once for each item, all at the same time, and its
            output is the list of what they returned, in order. All items run to their end, also where some fail; then
            the step fails, with None in the place of each of those. A step or `step.field` stands for the parameter
            that is bound to it.
        optional : parameters that the step can do without, as are those of a function that have a default: for one
            that is not there, since its step was skipped or failed, it gets the default, or None (no text in a prompt).
        timeout_seconds : the longest that the step, or each item of it, may take; None is no limit of its own.

        Raises
        ------
        DefinitionError
            The id is empty, or an argument is nothing that can be used.
        """
        if not isinstance(step_id, str) or not step_id:
            raise DefinitionError(f"{step_id!r} is no id of a step.", fix="Give the name that other steps use for it.")
        if inputs is not None and not isinstance(inputs, Mapping):
            raise DefinitionError(f"Step {step_id!r}: its inputs are no mapping.", fix="Give inputs={'name': value}.")
        if timeout_seconds is not None and not (
            isinstance(timeout_seconds, int | float) and 0 < timeout_seconds < float("inf")
        ):
            raise DefinitionError(
                f"Step {step_id!r}: timeout_seconds={timeout_seconds!r} is no time.", fix="Give seconds above 0."
            )
        others = [depends_on] if isinstance(depends_on, Step | str) else depends_on
        runs = WorkflowAgent(agent, within=self) if isinstance(agent, Workflow) else as_agent(agent)
        step = Step(
            step_id,
            runs,
            dict(inputs or {}),
            tuple(other.step_id if isinstance(other, Step) else other for other in others),
            None if when is None else as_reference(when) or as_agent(when),  # type: ignore[arg-type]  # no Step any more
            _mapped_parameter(step_id, map_over, runs, inputs or {}),
            (optional,) if isinstance(optional, str) else tuple(optional),
            timeout_seconds,
        )
        self.steps[step_id] = step
        self._plan = None
        self._version += 1
        return step

    def remove_step(self, step_id: str) -> None:
        """Take a step out; steps that use its output take an input of the run of that name instead.

        Raises
        ------
        DefinitionError
            There is no such step.
        """
        if step_id not in self.steps:
            raise DefinitionError(f"There is no step {step_id!r}{nearest(step_id, self.steps)}.")
        del self.steps[step_id]
        self._plan = None
        self._version += 1

    def add_reader(self, reader: Reader, *, deltas: bool = False) -> None:
        """Have every event of this workflow's runs given to a reader, as `reader(event, result)`.

        A reader has a thread of its own: one that is slow or raises neither stops nor slows a run. Its failures are
        counted in `result.reader_failures`, and the first is told in `result.warnings`.

        Parameters
        ----------
        deltas : give it the text of answers while it comes, as `TextDelta`, too. Answers are then streamed, which
            takes more of this machine's time.
        """
        self._readers.setdefault(reader, ReaderThread(reader))
        (self._delta_readers.add if deltas else self._delta_readers.discard)(reader)

    def remove_reader(self, reader: Reader) -> None:
        """Give a reader no more events; does nothing where it is none."""
        self._readers.pop(reader, None)
        self._delta_readers.discard(reader)

    @property
    def inputs(self) -> Mapping[str, bool]:
        """The inputs of a run: the names that are no steps, each with whether it is required."""
        return {name: bool(users) for name, users in run_inputs(self.steps).items()}

    def validate(self, /, **inputs: Any) -> None:
        """Check that the workflow can run as it is written, and with some inputs where any are given. Calls nothing.

        Raises
        ------
        DefinitionError
            With everything that is wrong in `problems`; a `CycleError` where that is steps that wait for each other.
        InputError
            The workflow is right, but not the inputs.
        """
        plan = compile_plan(self.config.name, self.steps)
        if inputs:
            plan.check_inputs(inputs)

    _validate_workflow = validate  # the operation runbook's name for it

    @property
    def plan(self) -> Plan:
        """The plan of the steps as they are now.

        Raises
        ------
        DefinitionError
            As for `validate()`.
        """
        if self._plan is None or (self._inner and self._versions() != self._planned):
            self._plan = compile_plan(self.config.name, self.steps)
            self._identity = None
            self._inner = [step.agent.workflow for step in self.steps.values() if isinstance(step.agent, WorkflowAgent)]
            self._planned = self._versions()
        return self._plan

    def _versions(self) -> tuple[Any, ...]:
        """Return what differs when this workflow, or one that is a step of it, was changed."""
        return (self._version, *(inner._versions() for inner in self._inner))

    @property
    def identity(self) -> tuple[WorkflowParts, str | None]:
        """What the steps are made of, and the definition as JSON where it holds prompts only: what the journal has."""
        self.plan  # noqa: B018 - forgets the identity where a step was changed
        if self._identity is None:
            self._identity = workflow_parts(self.steps), definition_json(self)
        return self._identity

    def quote(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None, /, **inputs: Any) -> Quote:
        """Return what a run, or a run for each row, will cost and how long it will take. Sends and runs nothing.

        Parameters
        ----------
        rows : a DataFrame or a list of dictionaries, a run each: columns bind to inputs by name, others are left out.
        **inputs : the inputs of one run, or beside rows those that are the same in every run.

        Returns
        -------
        Quote
            Low, likely, high and worst dollars, and seconds, of each step and in total, and what they rest on: past
            answers of the workflow's own runs, where the journal has any.

        Raises
        ------
        DefinitionError, InputError
            The workflow or the inputs are wrong, or there are no rows.
        """
        return make_quote(self, as_rows(self.plan, rows, self.with_looked_up(inputs) if rows is None else inputs))

    def _prepare(
        self,
        inputs: Mapping[str, Any],
        tap: Tap | None = None,
        *,
        deltas: bool = False,
        fresh: bool = False,
        samples: int | None = None,
    ) -> Run:
        """Return a run that has everything it needs; nothing was called.

        Parameters
        ----------
        tap : is given every event beside the readers; where `deltas` says so, the text of answers while it comes too.
        """
        plan = self.plan
        inputs = self.with_looked_up(inputs)
        self._check_inputs(plan, inputs)
        if samples is not None:
            return self._sampled(inputs, tap, samples, deltas=deltas)
        own = [tap] if tap else []
        recording = Recording(
            taps=[*self._taps(), *own],
            delta_taps=[*self._delta_taps(), *(own if deltas else ())],
            budgets=self._checked_budgets(self.config.budget_usd),
        )
        run_id = f"r-{os.urandom(6).hex()}"
        needs_more = self.config.journal or self.config.cache
        begin = partial(begin_run, recording, run_id, self, inputs, fresh=fresh) if needs_more else None
        run = Run(
            plan,
            self.config,
            inputs,
            recording,
            run_id=run_id,
            waiting=Interruptible(),
            begin=begin,
            gate=self._gate,
        )
        before, self.last_result = self.last_result, run.result
        if self.config.journal:
            run.result.fingerprints = self.identity[0].fingerprints
        run.result._evidence = IN_JOURNAL if self.config.journal else InMemory(inputs, dict(self.steps), before)
        return run

    def look_up_inputs(self, sources: Mapping[str, Callable[[], Any]]) -> None:
        """Have inputs that a run is not given looked up when it starts; replaces what was said before.

        Parameters
        ----------
        sources : each returns the value of an input, or raises a `LookupError` where there is none.
        """
        self._looked_up = dict(sources)

    @property
    def looked_up(self) -> Mapping[str, Callable[[], Any]]:
        """The inputs that are looked up where a run is not given them."""
        return self._looked_up

    def with_looked_up(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs of a run, with those that are looked up."""
        found = dict(inputs)
        for name, look_up in self._looked_up.items():
            if name not in found and name in self.inputs:
                with suppress(LookupError):
                    found[name] = look_up()
        return found

    def _check_inputs(self, plan: Plan, inputs: Mapping[str, Any]) -> None:
        """Check the inputs of a run; the surroundings may know what to do about one that is missing."""
        try:
            plan.check_inputs(inputs)
        except InputError as error:
            missing = [name for name, users in plan.run_inputs.items() if users and name not in inputs]
            hint = surroundings.input_hint
            hints = [told for name in missing if hint is not None and (told := hint(self, name))]
            if not hints:
                raise
            raise InputError(error.what, fix=" ".join(hints)) from None

    def _sampled(self, inputs: Mapping[str, Any], tap: Tap | None, samples: int, *, deltas: bool) -> Run:
        """Return a run that has several runs of this workflow as the items of its one step."""
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise InputError(f"samples={samples!r} is no number of samples.", fix="Give 1 or more.")
        around = self._sampling()
        run = around._prepare({"row": [dict(inputs)] * samples}, tap, deltas=deltas)
        self.last_result = run.result
        return run

    def _sampling(self) -> Workflow:
        return over_rows(self, f"samples of {self.config.name}", "sample", with_readers=True, cache=False)

    def _checked_budgets(self, limit_usd: Decimal | float | str | None) -> Sequence[Budget]:
        """Return what limits a run's money; an `UnknownPriceError` where no budget can be kept."""
        budgets = _budgets(limit_usd)
        if budgets or budgets_in_force():
            self._check_prices()
        return budgets

    def _check_prices(self) -> None:
        """Raise an `UnknownPriceError` for a step whose model has no known price."""
        for step in self.steps.values():
            if isinstance(step.agent, WorkflowAgent):
                step.agent.workflow._check_prices()
            elif isinstance(step.agent, SimpleAgent):
                step.agent.check_price()

    def _taps(self) -> list[Tap]:
        return [*self._own_taps, *(thread.take for thread in self._readers.values()), *signal_taps()]

    def _delta_taps(self) -> list[Tap]:
        return [thread.take for reader, thread in self._readers.items() if reader in self._delta_readers]

    def nested_run(self, inputs: Mapping[str, Any], parent: StepScope | None) -> Run:
        """Return a run of this workflow as a step of another run, whose journal and result it shares."""
        if parent is None:
            return self._prepare(inputs)
        recording = Recording(parent=parent, budgets=_budgets(self.config.budget_usd))
        return Run(self.plan, self.config, inputs, recording, run_id=parent.run.result.run_id)

    async def _admitted(self, run: Run) -> RunResult:
        """Run as soon as the process may have one more active workflow; one inside of a step has a place already."""
        if self._most_active is None or current_step.get() is not None:
            return await self._execute(run)
        with Interruptible():
            await active_workflows.enter(self._most_active)
        try:
            return await self._execute(run)
        finally:
            active_workflows.leave()

    async def _execute(self, run: Run) -> RunResult:
        try:
            return await run.execute()
        except BudgetExceeded as error:
            error.foretell(await function_pool().run(partial(self._forecast, run.inputs)))
            raise
        finally:
            if run.display is not None:
                run.display.end()

    def _forecast(self, inputs: Mapping[str, Any]) -> str:
        """Return what a whole run is likely to cost, in a sentence; nothing where nobody knows."""
        if not inputs.keys() <= self.inputs.keys():  # of samples
            return ""
        try:
            likely_usd = make_quote(self, [inputs]).likely_usd
        except AgentFlowError:  # the run has ended, and says why
            return ""
        return "" if likely_usd is None else f"All of it is likely to cost ${dollars(likely_usd)}."

    async def _run_here(self, run: Run, *, is_shown: bool = True) -> RunResult:
        """Run on the caller's loop, where signals reach the run."""
        if is_shown and not nobody_looks(self._display_mode) and (task := asyncio.current_task()) is not None:
            cancel = partial(task.get_loop().call_soon_threadsafe, task.cancel)
            watch(run, "execute", cancel, mode=self._display_mode)
        try:
            return await (self._execute(run) if self._most_active is None else self._admitted(run))
        except asyncio.CancelledError as error:
            exit_if_terminated()
            mark_interrupted(error, run.result)
            raise
        finally:
            if run.display is not None:
                run.display.close()

    async def execute(self, /, *, fresh: bool = False, samples: int | None = None, **inputs: Any) -> RunResult:
        """Run the workflow on the caller's event loop.

        Parameters
        ----------
        fresh : ask for every answer, also for those that the cache has, and keep the new ones in their place.
        samples : run it so many times at once, past the cache, to see how much the answers differ: the result is that
            of a workflow whose one step, `sample`, has a run as each of its items; `outputs["sample"]` lists the
            outputs of each, by step.
        **inputs : the run's inputs, by name (`Workflow.inputs` lists them).

        Raises
        ------
        DefinitionError, InputError, JournalError
            The workflow or the inputs are wrong, or the journal cannot be opened; nothing was called.
        WorkflowError
            A step failed or the time was up; its `result` has everything that was finished. A `BudgetExceeded` where
            the next call could pass the budget.
        UnknownPriceError
            There is a budget, and a model whose price is not known; nothing was called.
        asyncio.CancelledError
            The caller's task was cancelled; its `result`, as `last_result`, has everything that was finished.
        """
        return await self._run_here(self._prepare(inputs, fresh=fresh, samples=samples))

    def run(self, /, *, fresh: bool = False, samples: int | None = None, **inputs: Any) -> RunResult:
        """Run the workflow and wait for its end: in a script, a notebook cell or papermill; parameters as `execute`.

        Raises
        ------
        DefinitionError, InputError, JournalError
            The workflow or the inputs are wrong, or the journal cannot be opened; nothing was called.
        WorkflowError
            A step failed or the time was up; its `result` has everything that was finished.
        RunInterrupted
            Ctrl-C or the kernel's stop button; its `result` has everything that was finished.
        """
        run = self._prepare(inputs, fresh=fresh, samples=samples)
        display = watch(run, "run", mode=self._display_mode)
        try:
            return portal.run(partial(self._admitted, run), run.result)
        finally:
            if display is not None:
                display.close()

    def start(self, /, *, fresh: bool = False, samples: int | None = None, **inputs: Any) -> RunHandle:
        """Start a run in the background and return at once; parameters as `execute`.

        Returns
        -------
        RunHandle
            `.result` is what is known so far, `.done` whether it has ended; `.wait()` or `await` waits for the end,
            with the errors of `run()`; `.cancel()` interrupts it.

        Raises
        ------
        DefinitionError, InputError
            The workflow or the inputs are wrong; nothing was called.
        """
        run = self._prepare(inputs, fresh=fresh, samples=samples)
        handle = RunHandle(partial(self._admitted, run), run.result)
        handle.display = watch(run, "start", handle.cancel, mode=self._display_mode)
        handle.begin()
        return handle

    def map(
        self,
        rows: pd.DataFrame | Path | str,
        /,
        *,
        out: Path | str | None = None,
        columns: Mapping[str, str] | None = None,
        budget_usd: Decimal | float | str | None = None,
        max_concurrency: int | None = None,
        max_failures: int | None = None,
        retry_failed: bool = False,
        accept_changes: bool = False,
        progress: bool = True,
        **inputs: Any,
    ) -> pd.DataFrame:
        """Run the workflow for each row of a table, as a job: the same call again goes on where it was stopped.

        A job is the workflow and the content of its rows. What was answered is never asked again; rows that are new or
        were changed are. A row that is equal to one that is known gets a copy, `cached` and without cost. Needs the
        package pyarrow.

        Parameters
        ----------
        rows : a DataFrame, or the path of a .parquet, .csv or .jsonl file (.gz too), also `s3://...`; read in chunks.
        out : a folder of Parquet parts, also `s3://...`, that `pandas.read_parquet` reads at any time; `{date}` in it
            is today. Default a place in the store, one for all tables of which the workflow takes the same columns:
            what it knows of rows stays there, and rows that a table shares with an earlier one are not asked again.
        columns : input of the workflow -> column; same names bind by themselves.
        budget_usd : the most that the job may cost, with all that it has cost before, at Bedrock's list price.
        max_concurrency : the most rows at the same time; default twice what the client has connections.
        max_failures : the job stops where more rows fail; None is no limit.
        retry_failed : run rows again that failed.
        accept_changes : go on with a workflow that was changed: all rows run again, and pay for what is new.
        progress : tell the quote before and the progress meanwhile.
        **inputs : those that are the same in every row.

        Returns
        -------
        DataFrame, one row a row, with its index
            The columns of the input; the outputs, by step, those with fields as `step.field`; `status` (`ok` or
            `failed`)`, error, stop_reason` (Bedrock's word for why an answer was cut off or filtered, none where none
            was)`, attempts, latency_ms` (that its models took, without waiting; where it asked none, that it
            took)`, input_tokens, output_tokens, cost_usd, cached, run_id, item`. A column of the input, or an index,
            whose name is one of these or that of an output is `input_NAME`.

        Raises
        ------
        DefinitionError, InputError, JournalError
            The workflow or the rows are wrong; nothing was called.
        ResumeError
            The workflow was changed since the job was begun; `changed` lists the steps.
        BudgetExceeded, JobStopped
            The budget is used up; or the rows cannot be asked, for want of credentials, say. What is done is kept.
        RunInterrupted
            As for `run()`.
        """
        mapped: pd.DataFrame = ports.load("map_rows")(
            self,
            rows,
            out=out,
            columns=columns,
            constants=inputs,
            budget_usd=budget_usd,
            max_concurrency=max_concurrency,
            max_failures=max_failures,
            retry_failed=retry_failed,
            accept_changes=accept_changes,
            shown=progress,
        )
        return mapped

    async def stream(
        self, /, *, fresh: bool = False, deltas: bool = False, samples: int | None = None, **inputs: Any
    ) -> AsyncIterator[Event]:
        """Run the workflow and yield its events as they happen; the last one is `RunFinished`. Parameters as `execute`.

        Parameters
        ----------
        deltas : yield the text of answers while it comes, as `TextDelta`, too. Answers are then streamed, which takes
            more of this machine's time.

        Raises
        ------
        DefinitionError, InputError, JournalError, WorkflowError
            As `execute()`; a `WorkflowError` comes after the last event. Leaving the loop early cancels the run.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tap(event: Event, _result: RunResult) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)  # a step's own thread may call a model

        run = self._prepare(inputs, tap, deltas=deltas, fresh=fresh, samples=samples)
        running = asyncio.create_task(self._run_here(run, is_shown=False))
        running.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
                if isinstance(event, RunFinished):
                    break
            await running
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait([running])

    async def resume(
        self,
        run_id: str,
        /,
        *,
        accept_changes: bool = False,
        budget_usd: Decimal | float | str | None = None,
        **inputs: Any,
    ) -> RunResult:
        """Go on with a run that was stopped, also in another process that has built the same workflow.

        Finished steps are taken from the journal, Python steps among them; of the others, only calls that were not
        answered are sent, and tools that gave a result before give the same: they may have side effects. A run that has
        ended well is returned as it is.

        Parameters
        ----------
        run_id : as `agentflow.runs()` lists it.
        accept_changes : run the steps that were changed since, and all that need them, again.
        budget_usd : the most that the run may cost, together with what it has cost before; default the workflow's own.
        **inputs : those that the journal does not have, since they cannot be kept, secrets among them.

        Raises
        ------
        RunNotFoundError
            The journal has no such run.
        ResumeError
            The run is still going on, or the workflow was changed; `changed` lists the steps.
        InputError
            An input that the journal does not have was not given.
        WorkflowError, asyncio.CancelledError, JournalError
            As for `execute()`.
        """
        sampling = self._sampling()
        if await workflow_of(run_id) == sampling.config.name:
            return await sampling.resume(run_id, accept_changes=accept_changes, budget_usd=budget_usd, **inputs)
        limit_usd = self.config.budget_usd if budget_usd is None else budget_usd
        budgets = self._checked_budgets(limit_usd)
        resumption: Resumption = await prepare_resumption(self, run_id, inputs, accept_changes=accept_changes)
        self.last_result = resumption.past.result
        if resumption.journal is None:
            return resumption.past.result
        for budget in budgets:
            budget.spent_usd = spent_of(resumption.past.result)
        recording = Recording(
            past=resumption.past,
            again=resumption.again,
            taps=self._taps(),
            delta_taps=self._delta_taps(),
            budgets=budgets,
        )
        recording.journal = resumption.journal
        recording.reuse = await open_reuse(self.config.cache, fresh=False)
        run = Run(
            self.plan,
            self.config,
            resumption.past.inputs,
            recording,
            run_id=run_id,
            waiting=Interruptible(),
            again=resumption.again,
            gate=self._gate,
            stays_failed=self._stays_failed,
        )
        return await self._run_here(run)

    def backtest(self, runs: Any, *, sample: int | None = None, seed: int = 0) -> Backtest:
        """Run the workflow, as it is now, on the recorded inputs of past runs, and compare what comes out.

        Parameters
        ----------
        runs : ids of runs, results, or the DataFrame of `agentflow.runs()` or a part of it. Of a run that was mapped
            over rows with this workflow, each row is a case; else the run is.
        sample : how many cases to take, at random; None takes all.
        seed : of the sample: the same seed takes the same cases.

        Returns
        -------
        Backtest
            Answers that changed, failures that were fixed or are new, cost and time before and after. A case that
            fails is a part of it; one whose inputs were not kept, such as a secret, is skipped.

        Raises
        ------
        RunNotFoundError
            The journal has no such run, or has it no more; nothing was called.
        DefinitionError, InputError, JournalError
            The workflow is wrong, there is nothing to run, or a run has other inputs; nothing was called.
        RunInterrupted
            As for `run()`.
        """
        from agentflow.core.explaining.backtest import backtest

        return backtest(self, runs, sample=sample, seed=seed)

    def to_yaml(self, path: Path | str | None = None) -> str:
        """Return the workflow as YAML text, and write it to a file where a path is given.

        Raises
        ------
        DefinitionError
            Something cannot be written, such as a function that has no import path; `problems` lists all of it.
        """
        return to_yaml(self, path)

    def to_code(self) -> str:
        """Return Python code that builds the same workflow, also in another process; prompts are the same text.

        Functions and classes of a notebook stand in it with their source, where Python still has that; what cannot be
        written is named in a comment, and stands as a function that says so.
        """
        from agentflow.core.definition.code import to_code

        return to_code(self)

    @classmethod
    def from_yaml(cls, source: Path | str, *, bedrock_client: Model | None = None) -> Workflow:
        """Return the workflow that is written in a YAML file; `core/definition/workflows.py` has the format.

        Reading imports the functions that the file names: read only files that you trust.

        Parameters
        ----------
        source : a path; a string is a path if it ends in .yaml, .yml or .json, else YAML text.
        bedrock_client : answers all prompts of the file; default the clients that it describes.

        Raises
        ------
        DefinitionError
            The file cannot be read, or does not describe a workflow; `problems` lists all that is wrong.
        """
        return from_yaml(source, bedrock_client=bedrock_client)

    def __repr__(self) -> str:
        text: str = ports.load("workflow_text")(overview(self))
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("workflow_html")(overview(self))
        return html

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        """Return both at once, so that the estimate is made only once."""
        glance = overview(self)
        return {
            "text/plain": ports.load("workflow_text")(glance),
            "text/html": ports.load("workflow_html")(glance),
        }


def _budgets(limit_usd: Decimal | float | str | None) -> Sequence[Budget]:
    return () if limit_usd is None else (Budget(limit_usd),)


def _mapped_parameter(
    step_id: str, map_over: str | Step | Reference | None, agent: Agent, inputs: Mapping[str, Any]
) -> str | None:
    """Return the parameter that a step is mapped over."""
    reference = as_reference(map_over)
    if reference is None:
        if map_over is None or isinstance(map_over, str):
            return map_over
        raise DefinitionError(
            f"Step {step_id!r}: map_over={map_over!r} is no parameter.",
            fix="Give the name of the parameter that takes an item, and the list itself in inputs.",
        )
    for name in agent.parameters:
        bound = as_reference(inputs[name]) if name in inputs else Reference(name)
        if bound is not None and (bound._step_id, bound._path) == (reference._step_id, reference._path):
            return name
    raise DefinitionError(
        f"Step {step_id!r} has no parameter that is bound to {reference!r}, which it is to be mapped over.",
        fix=f"Give inputs={{'NAME': {reference!r}}} and map_over='NAME', with the parameter that takes an item.",
    )
