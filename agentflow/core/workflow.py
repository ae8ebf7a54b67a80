"""Workflow: steps that are wired by names. Built and validated here, run by the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentflow.core import portal
from agentflow.core.agent import Agent, as_agent
from agentflow.core.config import WorkflowConfig
from agentflow.core.engine import Binding, Plan, PlannedStep, Run
from agentflow.core.errors import CycleError, DefinitionError, InputError, nearest
from agentflow.core.events import Event, RunFinished
from agentflow.core.graph import execution_order
from agentflow.core.interrupts import prompt_interrupts
from agentflow.core.result import RunResult
from agentflow.core.template import Path


class Reference:
    """The output of a step, or a part of it: what `step.field` and `step[0]` give."""

    __slots__ = ("_path", "_step_id")

    def __init__(self, step_id: str, path: Path = ()) -> None:
        self._step_id = step_id
        self._path = path

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, part: str | int) -> Reference:
        return Reference(self._step_id, (*self._path, part))

    def __repr__(self) -> str:
        parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self._path)
        return f"{self._step_id}{parts}"


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a workflow. As a value of another step's `inputs` it stands for its output; `step.field` for a part.

    A field of the output that is called like an attribute of this class is reached as `step["inputs"]`.
    """

    step_id: str
    agent: Agent
    inputs: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, part: str | int) -> Reference:
        return Reference(self.step_id)[part]


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

    def add_step(
        self,
        step_id: str,
        agent: Agent | Callable[..., Any],
        inputs: Mapping[str, Any] | None = None,
        *,
        depends_on: Sequence[Step | str] = (),
    ) -> Step:
        """Add a step, or replace the one of that id.

        Parameters
        ----------
        step_id : the name that other steps use for its output.
        agent : a `SimpleAgent`, a Python function, or any object with the `Agent` protocol.
        inputs : values given by hand, by parameter: a `Step`, `step.field` or `step[0]` is a reference, anything else
            is a literal value.
        depends_on : steps that have to end before this one starts, though it uses nothing of them.

        Raises
        ------
        DefinitionError
            The id is empty, or the agent is nothing that can be run.
        """
        if not step_id:
            raise DefinitionError("A step needs an id.", fix="Other steps use its output by that name.")
        earlier = tuple(other.step_id if isinstance(other, Step) else other for other in depends_on)
        step = Step(step_id, as_agent(agent), dict(inputs or {}), earlier)
        self.steps[step_id] = step
        self._plan = None
        return step

    @property
    def inputs(self) -> Mapping[str, bool]:
        """The inputs of a run: the names that are no steps, each with whether it is required."""
        names: dict[str, bool] = {}
        for step in self.steps.values():
            for name, required in step.agent.parameters.items():
                if name not in step.inputs and name not in self.steps:
                    names[name] = names.get(name, False) or required
        return names

    def validate(self) -> None:
        """Check that the workflow can run as it is written. Calls nothing.

        Raises
        ------
        DefinitionError
            With everything that is wrong in `problems`; a `CycleError` where that is steps that wait for each other.
        """
        problems: list[str] = []
        if not self.steps:
            problems.append(f"Workflow {self.config.name!r} has no steps: add one with add_step.")
        for step in self.steps.values():
            problems += self._problems(step)
        try:
            execution_order(self._upstream())
        except CycleError as error:
            if not problems:
                raise
            problems += error.problems
        if problems:
            raise DefinitionError(" ".join(problems), problems=problems)

    _validate_workflow = validate  # the operation runbook's name for it

    def _problems(self, step: Step) -> list[str]:
        """Return what is wrong with one step."""
        problems = []
        try:
            step.agent.check()
        except DefinitionError as error:
            problems.append(f"Step {step.step_id!r}: {error}")
        parameters = step.agent.parameters
        problems += [
            f"Step {step.step_id!r} uses nothing called {name!r}{nearest(name, parameters)}: "
            f"its inputs are {', '.join(parameters) or 'none'}."
            for name in step.inputs
            if name not in parameters
        ]
        referred = [value for value in map(_reference, step.inputs.values()) if value is not None]
        needed = [*(reference._step_id for reference in referred), *step.depends_on]
        problems += [
            f"Step {step.step_id!r} needs step {name!r}, which the workflow does not have{nearest(name, self.steps)}."
            for name in needed
            if name not in self.steps
        ]
        return problems

    def _bindings(self, step: Step) -> list[Binding]:
        """Return where each parameter of a step comes from: given by hand, a step of that name, an input of the run."""
        bindings = []
        for name, required in step.agent.parameters.items():
            if name in step.inputs:
                value = step.inputs[name]
                if reference := _reference(value):
                    bindings.append(Binding(name, step_id=reference._step_id, path=reference._path))
                else:
                    bindings.append(Binding(name, literal=value))
            elif name in self.steps:
                bindings.append(Binding(name, step_id=name))
            else:
                bindings.append(Binding(name, run_input=name, required=required))
        return bindings

    def _upstream(self) -> dict[str, dict[str, None]]:
        """Return step -> the steps it needs, in a fixed order and each once."""
        return {
            step.step_id: dict.fromkeys(
                name
                for name in (*(binding.step_id for binding in self._bindings(step)), *step.depends_on)
                if name is not None and name in self.steps
            )
            for step in self.steps.values()
        }

    def _compile(self) -> Plan:
        """Return the validated plan of the steps, made again only after a step was added."""
        if self._plan is None:
            self.validate()
            upstream = self._upstream()
            order = execution_order(upstream)
            position = {step_id: index for index, step_id in enumerate(order)}
            successors: list[list[int]] = [[] for _ in order]
            for step_id in order:
                for needed in upstream[step_id]:
                    successors[position[needed]].append(position[step_id])
            self._plan = Plan(
                name=self.config.name,
                steps=tuple(
                    PlannedStep(
                        step_id,
                        self.steps[step_id].agent,
                        tuple(self._bindings(self.steps[step_id])),
                        tuple(successors[position[step_id]]),
                        len(upstream[step_id]),
                    )
                    for step_id in order
                ),
                step_ids=tuple(self.steps),
            )
        return self._plan

    def _check_inputs(self, given: Mapping[str, Any]) -> None:
        """Raise an `InputError` for inputs that are missing, or that nothing uses."""
        expected = self.inputs
        problems = []
        for step in self.steps.values():
            for binding in self._bindings(step):
                name = binding.run_input
                if name is not None and binding.required and name not in given:
                    problems.append(
                        f"Step {step.step_id!r} needs {{{name}}}, which is neither a step nor an input of this run"
                        f"{nearest(name, {*self.steps, *given} - {step.step_id})}."
                    )
        for name in given:
            if name in self.steps:
                problems.append(f"{name!r} is a step: its value cannot be given as an input.")
            elif name not in expected:
                takes = ", ".join(expected) or "no inputs"
                problems.append(f"No step uses an input {name!r}{nearest(name, expected)}: the workflow takes {takes}.")
        if problems:
            missing = [name for name, required in expected.items() if required and name not in given]
            call = f"run({', '.join(f'{name}=...' for name in expected if name in given or name in missing)})"
            raise InputError(" ".join(problems), fix=f"Call {call}, or correct the name.")

    def _prepare(self, inputs: Mapping[str, Any], reader: Callable[[Event], None] | None = None) -> Run:
        """Return a run that has everything it needs; nothing was called."""
        plan = self._compile()
        self._check_inputs(inputs)
        run = Run(plan, self.config, inputs, reader)
        self.last_result = run.result
        return run

    async def execute(self, **inputs: Any) -> RunResult:
        """Run the workflow on the caller's event loop.

        Parameters
        ----------
        **inputs : the run's inputs, by name (`Workflow.inputs` lists them).

        Raises
        ------
        DefinitionError, InputError
            The workflow or the inputs are wrong; nothing was called.
        WorkflowError
            A step failed or the time was up; its `result` has everything that was finished.
        asyncio.CancelledError
            The caller's task was cancelled; `last_result` has everything that was finished.
        """
        run = self._prepare(inputs)
        with prompt_interrupts():
            return await run.execute()

    def run(self, **inputs: Any) -> RunResult:
        """Run the workflow and wait for its end: in a script, a notebook cell or papermill.

        Raises
        ------
        DefinitionError, InputError
            The workflow or the inputs are wrong; nothing was called.
        WorkflowError
            A step failed or the time was up; its `result` has everything that was finished.
        RunInterrupted
            Ctrl-C or the kernel's stop button; its `result` has everything that was finished.
        """
        run = self._prepare(inputs)
        return portal.run(run.execute, run.result)

    async def stream(self, **inputs: Any) -> AsyncIterator[Event]:
        """Run the workflow and yield its events as they happen; the last one is `RunFinished`.

        Raises
        ------
        DefinitionError, InputError, WorkflowError
            As `execute()`; a `WorkflowError` comes after the last event. Leaving the loop early cancels the run.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        run = asyncio.create_task(self._prepare(inputs, events.put_nowait).execute())
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, RunFinished):
                    break
            await run
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait([run])

    def __repr__(self) -> str:
        takes = ", ".join(self.inputs) or "nothing"
        return f"Workflow({self.config.name!r}, steps: {', '.join(self.steps) or 'none'}; takes: {takes})"


def _reference(value: Any) -> Reference | None:
    """Return the reference that an input is, None where it is a literal."""
    if isinstance(value, Step):
        return Reference(value.step_id)
    return value if isinstance(value, Reference) else None
