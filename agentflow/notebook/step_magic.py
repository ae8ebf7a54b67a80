"""The `%%step` magic: a cell's body as the prompt of a step."""

from __future__ import annotations

import argparse
from typing import Any

from IPython.core.error import UsageError

from agentflow.core.agent import SimpleAgent
from agentflow.core.config import AgentConfig
from agentflow.core.errors import AgentFlowError, UnknownModelError, nearest
from agentflow.core.output_types import is_output_type
from agentflow.core.result import RunResult
from agentflow.core.step import Reference, Step
from agentflow.core.step_parts import workflow_parts
from agentflow.core.surroundings import untold
from agentflow.core.template import literal_text, parse_reference
from agentflow.core.workflow import Workflow
from agentflow.notebook.options import USAGE, step_options
from agentflow.notebook.report import Change
from agentflow.notebook.reporting import step_report
from agentflow.notebook.running import run_up_to
from agentflow.notebook.state import CellStep, KernelState, kernel_state


def step_magic(line: str, cell: str | None = None) -> RunResult | None:
    """Make a step of a prompt: `%%step NAME --model MODEL`, and the prompt below. No model is called without `--run`.

    In the prompt, `{name}` is the output of the step `name`, a variable that `--input name` declares, else an input of
    the run; `{name.field}` and `{name[0]}` are parts of it, `{{name}}` is the text `{name}`. All other braces are text.

    --model MODEL          such as haiku, sonnet, nova-lite, or a Bedrock id; `%agentflow models` lists them
    --system TEXT|VAR      the system prompt, or a variable that has it now
    --input VAR ...        variables of the kernel that the prompt uses, read when a run starts; run(VAR=...) goes first
    --tool FUNC ...        functions that the model may call
    --output SCHEMA        "urgent: bool, product: str", or a pydantic model or dataclass of the kernel
    --max-tokens N         the most tokens of an answer
    --temperature T        0 to 1
    --workflow NAME        default: the workflow that was made last
    --when STEP[.FIELD]    run it only where that is true
    --run                  run it now, with the steps that it needs
    --literal              names that are neither steps nor inputs are text, as in LaTeX
    """
    from IPython.display import display

    if cell is None:
        raise UsageError(f"%%step is the first line of a cell, and the prompt is below it: {USAGE}")
    state = kernel_state()
    options = step_options(line)
    body = state.cells.body("%%step", line, cell)
    try:
        workflow, change = define(state, options, line, body)
        display(step_report(state, workflow, options.name, change))  # type: ignore[no-untyped-call]
    except UnknownModelError as error:
        raise UsageError(f"%%step {options.name}: {error.what} `%agentflow models` lists them.") from None
    except AgentFlowError as error:
        raise UsageError(f"%%step {options.name}: {error}") from None
    return run_up_to(state, workflow, options.name) if options.run else None


def define(state: KernelState, options: argparse.Namespace, line: str, body: str) -> tuple[Workflow, Change]:
    """Add the step of a cell, or replace the one of that name, and return its workflow and what that changed.

    Raises
    ------
    UsageError, DefinitionError
        The step cannot be made; nothing was changed.
    """
    name = options.name
    inputs, config = _checked(state, options, body)
    workflow, is_new = state.workflow(options.workflow)
    agent = prompt_agent(state, workflow, options, config, body)
    before, made_before = workflow.steps.get(name), state.cell_steps(workflow).get(name)
    fingerprint = workflow_parts(workflow.steps).fingerprints.get(name)
    step = workflow.add_step(name, agent, when=_condition(workflow, options.when, name))
    try:
        same = workflow_parts(workflow.steps).fingerprints[name] == fingerprint
        if before is not None and same:
            workflow.steps[name] = step = before  # so that nothing counts as changed
        workflow.plan  # noqa: B018 - it is compiled, which finds loops
    except AgentFlowError:
        _put_back(workflow, name, before)
        raise
    state.keep(workflow, CellStep(step, inputs, state.cells.current, line, body))
    if is_new:
        print(f"A workflow {workflow.config.name!r} was made for the steps of this notebook.")
    unchanged = same and made_before is not None and made_before.inputs == inputs
    return workflow, "new" if before is None else "unchanged" if unchanged else "changed"


def trial(state: KernelState, options: argparse.Namespace, body: str) -> Workflow:
    """Return a copy of the workflow with the step in it; the workflow itself stays as it is. Errors as for `define`."""
    inputs, config = _checked(state, options, body)
    workflow, _ = state.workflow(options.workflow)
    with untold():
        copy = Workflow(workflow.config)
    copy.steps = dict(workflow.steps)
    agent = prompt_agent(state, workflow, options, config, body)
    copy.add_step(options.name, agent, when=_condition(workflow, options.when, options.name))
    copy.look_up_inputs({**workflow.looked_up, **state.readers(inputs)})
    copy.plan  # noqa: B018 - it is compiled, which finds loops
    return copy


def _checked(state: KernelState, options: argparse.Namespace, body: str) -> tuple[tuple[str, ...], AgentConfig]:
    """Return the inputs that are variables, and the settings of the prompt."""
    if not body.strip():
        raise UsageError(f"%%step {options.name}: the prompt is empty. Write it below the first line of the cell.")
    return tuple(_variables(state, "--input", options.input)), _config(state, options)


def prompt_agent(
    state: KernelState, workflow: Workflow, options: argparse.Namespace, config: AgentConfig, body: str
) -> SimpleAgent:
    """Return what the step runs; a `DefinitionError` or `UsageError` where it cannot be."""
    name, inputs = options.name, options.input
    prompt = literal_text(body, {*workflow.steps, *inputs} - {name}) if options.literal else body
    agent = SimpleAgent(config, state.client_of(workflow), prompt_template=prompt)
    agent.check()
    for given in inputs:
        if given not in agent.parameters:
            raise UsageError(
                f"%%step {name}: --input {given}: no {{{given}}} in the prompt{nearest(given, agent.parameters)}."
            )
    return agent


def _put_back(workflow: Workflow, name: str, before: Step | None) -> None:
    if before is None:
        workflow.remove_step(name)
    else:
        workflow.steps[name] = before


def _config(state: KernelState, options: argparse.Namespace) -> AgentConfig:
    settings: dict[str, Any] = {
        "model_type": options.model,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "system": _system(state, options.system),
        "output_type": _output(state, options.output),
        "tools": tuple(_variables(state, "--tool", options.tool).values()) or None,
    }
    return AgentConfig(name=options.name, **{name: value for name, value in settings.items() if value is not None})


def _variables(state: KernelState, option: str, names: list[str]) -> dict[str, Any]:
    """Return variables of the kernel by name; an expression is no name."""
    found = {}
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"%%step: {option} {name}: that is no plain name. Give the name of a variable.")
        if name not in state.variables:
            raise UsageError(
                f"%%step: {option} {name}: the kernel has no variable {name!r}{nearest(name, _names(state))}. "
                f"Run the cell that defines it first."
            )
        found[name] = state.variables[name]
    return found


def _names(state: KernelState) -> list[str]:
    return [name for name in state.variables if not name.startswith("_")]


def _system(state: KernelState, given: str | None) -> str | None:
    value = state.variables.get(given, given) if given and given.isidentifier() else given
    if value is not None and not isinstance(value, str):
        raise UsageError(f"%%step: --system {given}: the variable is of type {type(value).__name__}, and no text.")
    return value


def _output(state: KernelState, given: str | None) -> Any:
    if given is None or not given.isidentifier():
        return given
    if is_output_type(found := state.variables.get(given)):
        return found
    types = [name for name, value in state.variables.items() if is_output_type(value)]
    raise UsageError(
        f"%%step: --output {given}: the kernel has no pydantic model or dataclass of that name{nearest(given, types)}. "
        'Define it first, or write the fields: --output "urgent: bool, product: str".'
    )


def _condition(workflow: Workflow, given: str | None, name: str) -> Reference | None:
    if given is None:
        return None
    path = parse_reference(given)
    reference = Reference(str(path[0]), path[1:]) if path else None
    if reference is None or repr(reference) != given:
        raise UsageError(f"%%step {name}: --when {given}: write STEP or STEP.FIELD.")
    if reference._step_id not in workflow.steps:
        raise UsageError(
            f"%%step {name}: --when {given}: workflow {workflow.config.name!r} has no step "
            f"{reference._step_id!r}{nearest(reference._step_id, workflow.steps)}."
        )
    return reference
