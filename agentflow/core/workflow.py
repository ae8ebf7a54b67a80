"""Workflow: steps that are wired by names. Built and validated here, run by the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentflow.core import portal
from agentflow.core.agent import Agent, as_agent
from agentflow.core.config import WorkflowConfig
from agentflow.core.engine import Run
from agentflow.core.errors import DefinitionError
from agentflow.core.events import Event, RunFinished
from agentflow.core.interrupts import prompt_interrupts
from agentflow.core.model import Model
from agentflow.core.nested import WorkflowAgent
from agentflow.core.plan import Plan, compile_plan, run_inputs
from agentflow.core.result import RunResult
from agentflow.core.step import Reference, Step, as_reference


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
        agent: Agent | Callable[..., Any] | Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        depends_on: Step | str | Sequence[Step | str] = (),
        when: Agent | Callable[..., Any] | Step | Reference | None = None,
        map_over: str | None = None,
        optional: str | Sequence[str] = (),
        timeout_seconds: float | None = None,
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
        if not isinstance(step_id, str) or not step_id:
            raise DefinitionError(f"{step_id!r} is no id of a step.", fix="Give the name that other steps use for it.")
        if inputs is not None and not isinstance(inputs, Mapping):
            raise DefinitionError(f"Step {step_id!r}: its inputs are no mapping.", fix="Give inputs={'name': value}.")
        others = [depends_on] if isinstance(depends_on, Step | str) else depends_on
        earlier = tuple(other.step_id if isinstance(other, Step) else other for other in others)
        step = Step(
            step_id,
            WorkflowAgent(agent) if isinstance(agent, Workflow) else as_agent(agent),
            dict(inputs or {}),
            earlier,
            when=None if when is None else as_reference(when) or as_agent(when),  # type: ignore[arg-type]
            map_over=map_over,
            optional=(optional,) if isinstance(optional, str) else tuple(optional),
            timeout_seconds=timeout_seconds,
        )
        self.steps[step_id] = step
        self._plan = None
        return step

    @property
    def inputs(self) -> Mapping[str, bool]:
        """The inputs of a run: the names that are no steps, each with whether it is required."""
        return {name: bool(users) for name, users in run_inputs(self.steps).items()}

    def validate(self) -> None:
        """Check that the workflow can run as it is written. Calls nothing.

        Raises
        ------
        DefinitionError
            With everything that is wrong in `problems`; a `CycleError` where that is steps that wait for each other.
        """
        compile_plan(self.config.name, self.steps)

    _validate_workflow = validate  # the operation runbook's name for it

    def _prepare(self, inputs: Mapping[str, Any], reader: Callable[[Event], None] | None = None) -> Run:
        """Return a run that has everything it needs; nothing was called."""
        if self._plan is None:
            self._plan = compile_plan(self.config.name, self.steps)
        self._plan.check_inputs(inputs)
        run = Run(self._plan, self.config, inputs, reader)
        self.last_result = run.result
        return run

    async def execute(self, /, **inputs: Any) -> RunResult:
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

    def run(self, /, **inputs: Any) -> RunResult:
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

    async def stream(self, /, **inputs: Any) -> AsyncIterator[Event]:
        """Run the workflow and yield its events as they happen; the last one is `RunFinished`.

        Raises
        ------
        DefinitionError, InputError, WorkflowError
            As `execute()`; a `WorkflowError` comes after the last event. Leaving the loop early cancels the run.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def read(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)  # a step's own thread may call a model

        run = asyncio.create_task(self._prepare(inputs, read).execute())
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

    def to_yaml(self, path: Path | str | None = None) -> str:
        """Return the workflow as YAML text, and write it to a file where a path is given.

        Raises
        ------
        DefinitionError
            Something cannot be written, such as a function that has no import path; `problems` lists all of it.
        """
        from agentflow.core.definition import to_yaml

        return to_yaml(self, path)

    @classmethod
    def from_yaml(cls, source: Path | str, *, bedrock_client: Model | None = None) -> Workflow:
        """Return the workflow that is written in a YAML file; `core/definition.py` has the format.

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
        from agentflow.core.definition import from_yaml

        return from_yaml(source, bedrock_client=bedrock_client)

    def __repr__(self) -> str:
        takes = ", ".join(self.inputs) or "nothing"
        return f"Workflow({self.config.name!r}, steps: {', '.join(self.steps) or 'none'}; takes: {takes})"
