"""From a step to what its cell shows of it: what it binds to, what it is likely to cost, what is stale now."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from decimal import Decimal

from agentflow.core.agent import SimpleAgent
from agentflow.core.graph import downstream_of
from agentflow.core.model import DEFAULT_MAX_TOKENS
from agentflow.core.output_types import fields_of
from agentflow.core.overview import Overview, StepOverview, overview
from agentflow.core.template import Path
from agentflow.core.workflow import Workflow
from agentflow.notebook.backend import backend_words
from agentflow.notebook.report import Bound, Change, StepReport
from agentflow.notebook.state import KernelState
from agentflow.notebook.values import size_words
from agentflow.views.format import count, money
from agentflow.views.outputs import one_line


def step_report(state: KernelState, workflow: Workflow, name: str, change: Change) -> StepReport:
    """Return what the cell of a step shows. Nothing is sent."""
    agent = workflow.steps[name].agent
    assert isinstance(agent, SimpleAgent)  # noqa: S101 - a cell makes no other
    seen = overview(workflow)
    steps = {step.step: step for step in seen.steps}
    step = steps[name]
    return StepReport(
        step=name,
        workflow=workflow.config.name,
        change=change,
        model=(agent.config.model_type or "fast, the default", step.model_id or ""),
        place=backend_words(agent.client),
        settings=tuple(_settings(agent, step)),
        bound=tuple(_bound(state, workflow, agent)),
        estimate=_estimate(step),
        total=_total(seen),
        stale=_stale(name, steps),
        notes=(*_misspelt(workflow, name, agent, state), *seen.problems, *_priceless(step)),
        orphans=state.why_gone(workflow),
    )


def _settings(agent: SimpleAgent, step: StepOverview) -> Iterator[str]:
    config = agent.config
    if config.system:
        yield f"system prompt ({size_words(config.system).removeprefix('text, ')})"
    if config.output_class:
        yield f"answer with {', '.join(fields_of(config.output_class))}"
    if config.tools:
        yield f"tools {', '.join(agent.tools)}"
    if config.temperature is not None:
        yield f"temperature {config.temperature:g}"
    if config.max_tokens != DEFAULT_MAX_TOKENS:
        yield f"at most {config.max_tokens:,} tokens of answer"
    if step.is_conditional:
        yield f"only when {', '.join(name for name, edge in step.upstream.items() if edge == 'when')} says so"


def _bound(state: KernelState, workflow: Workflow, agent: SimpleAgent) -> Iterator[Bound]:
    made = state.cell_steps(workflow)
    declared = {given for step in made.values() for given in step.inputs}
    for path in dict.fromkeys(agent.references):
        first = str(path[0])
        placeholder = f"{{{written(path)}}}"
        if first in workflow.steps:
            yield Bound(placeholder, f"step {first}")
        elif first not in declared:
            hint = f"; the kernel has one: --input {first} binds it" if first in state.variables else ""
            yield Bound(placeholder, f"input of the run: run({first}=...)", hint.removeprefix("; "))
        elif first in state.variables:
            yield Bound(placeholder, "variable of the kernel", size_words(state.variables[first]))
        else:
            yield Bound(placeholder, "variable of the kernel", "not defined now")


def written(path: Path) -> str:
    """Return a reference as it is written between braces."""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return f"{path[0]}{parts}"


def _estimate(step: StepOverview) -> tuple[str, ...]:
    if step.state == "cached":
        return ("cached: the next run pays nothing for it",)
    if step.input_tokens is None:
        return ()
    told = [f"{count(step.input_tokens)} tokens in, {count(step.output_tokens)} out"]
    if step.likely_usd is not None:
        told.append(f"likely {money(step.likely_usd)}, at most {money(step.worst_usd)}")
    return tuple(told)


def _total(seen: Overview) -> str:
    if len(seen.steps) < 2 or seen.quote is None or seen.likely_usd is None:
        return ""
    left = f", budget left {money(max(seen.budget_left_usd, Decimal(0)))}" if seen.budget_left_usd is not None else ""
    return f"likely {money(seen.likely_usd)}, at most {money(seen.worst_usd)}{left}"


def _stale(name: str, steps: Mapping[str, StepOverview]) -> dict[str, str]:
    """Return the steps that are not up to date any more: this one, and those that need it."""
    upstream = {step: list(told.upstream) for step, told in steps.items()}
    affected = [name, *downstream_of([name], upstream)]
    return {step: one_line(steps[step].why, 120) for step in affected if steps[step].state == "stale"}


def _misspelt(workflow: Workflow, name: str, agent: SimpleAgent, state: KernelState) -> Iterator[str]:
    """Warn of an input of the run whose name is close to a step's."""
    declared = {given for step in state.cell_steps(workflow).values() for given in step.inputs}
    for used in agent.parameters:
        others = [step for step in workflow.steps if step != name]
        if used in workflow.steps or used in declared:
            continue
        if close := difflib.get_close_matches(used, others, n=1, cutoff=0.6):
            yield f"{{{used}}} is no step, so it is an input of the run. Did you mean {{{close[0]}}}?"


def _priceless(step: StepOverview) -> Iterator[str]:
    if step.input_tokens is not None and step.likely_usd is None and step.state != "cached":
        yield "The price of this model is not known: give it in a file that AGENTFLOW_PRICES names."
