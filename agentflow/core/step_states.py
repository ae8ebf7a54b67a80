"""How far a workflow's steps are from its last run: as that left them, or changed since, so that they are stale."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentflow.core import ports
from agentflow.core.agent import FunctionAgent
from agentflow.core.errors import AgentFlowError, message_of
from agentflow.core.explaining.changes import part_changes, same
from agentflow.core.graph import downstream_of
from agentflow.core.journal import Journal, PastRun
from agentflow.core.outputs import NotKept, Stored
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts, fingerprint
from agentflow.core.step_row import StepRow, StepStatus

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

State: TypeAlias = Literal["cached", "stale", "not run", "ok", "failed", "running", "skipped", "cancelled"]
Told: TypeAlias = tuple[State, str]

_MOST_KINDS = 2  # of changes that are named


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a workflow.

    Attributes
    ----------
    inputs : what it was given, as far as that is still to be had.
    parts : what its steps were made of; empty where nobody knows.
    """

    result: RunResult
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, StepParts] = field(default_factory=dict)


def last_run(workflow: Workflow) -> LastRun | None:
    """Return the last run of this process, else the newest of the journal; None where there was none. Never raises."""
    result = workflow.last_result
    if result is not None and result.workflow not in {"", workflow.config.name}:  # a run of samples is one of another
        return None
    try:
        if result is None:
            past = _newest(workflow)
        else:
            past = None if result._evidence is None else result._evidence.past_run(result)
    except AgentFlowError:  # the journal cannot be read, or has it no more
        past = None
    if past is None:
        return None if result is None else LastRun(result)
    result = result or past.result
    inputs = {name: value for name, value in past.inputs.items() if not isinstance(value, NotKept)}
    return LastRun(result, inputs, past.parts)


def _newest(workflow: Workflow) -> PastRun | None:
    journal: Journal = ports.load("journal")()
    return journal.newest_run(workflow.config.name) if workflow.config.journal and workflow.steps else None


def step_states(
    workflow: Workflow, last: LastRun | None, stale: Mapping[str, str], cached: Collection[str]
) -> Mapping[str, Told]:
    """Return the state of each step, with why.

    Parameters
    ----------
    stale : the steps that are, each with why.
    cached : the steps whose answers the next run is given.
    """
    states: dict[str, Told] = {}
    for name in workflow.steps:
        row = last.result.rows.get(name) if last else None
        if name in cached and (row is None or row.status is not StepStatus.RUNNING):
            states[name] = "cached", "its answers are kept: the next run pays nothing for it"
        elif row is None:
            states[name] = "not run", "" if last is None else "new since the last run"
        elif row.status is not StepStatus.NOT_RUN and name in stale:
            states[name] = "stale", stale[name]
        else:
            states[name] = _left(row)
    return states


def _left(row: StepRow) -> Told:
    """Return how a run left a step."""
    state: State = row.status.value
    return state, message_of(row.error) if row.error is not None else row.reason


def stale_steps(workflow: Workflow, last: LastRun, inputs: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the steps that were changed, or use what was, each with what changed; none while the last run goes on.

    Parameters
    ----------
    inputs : of the next run, as far as they are known to be other ones than those of the last.
    """
    if last.result.status == "running":
        return {}
    now = workflow.identity[0].steps
    fresh = {
        name: value for name, value in inputs.items() if name not in last.inputs or not same(last.inputs[name], value)
    }
    changed = {}
    for name, parts in now.items():
        before = last.parts.get(name)
        kinds = dict.fromkeys(_changes(before, parts, fresh)) if before is not None else ()
        if kinds:
            more = len(kinds) - _MOST_KINDS
            told = ", ".join(islice(kinds, _MOST_KINDS)) + (f" and {more} more" if more > 0 else "")
            changed[name] = f"{told} changed"
    plan = workflow.plan
    upstream = {step.step_id: [plan.steps[position].step_id for position in step.upstream] for step in plan.steps}
    below = downstream_of(changed, upstream)
    return {**{name: f"uses {needed}, which is stale" for name, needed in below.items()}, **changed}


def _changes(before: StepParts, parts: StepParts, inputs: Mapping[str, Any]) -> Iterator[str]:
    if before != parts and fingerprint(before) != fingerprint(parts):
        yield from (reason.kind for reason in part_changes(before, parts) if reason.kind)
    for source in parts.wiring.values():
        if source[0] == "input" and source[1] in inputs:
            yield f"input {source[1]}"


def kept_outputs(workflow: Workflow, last: LastRun, stale: Collection[str]) -> Mapping[str, Any]:
    """Return what steps that call no model by a prompt returned, where they would be given the same once more."""
    outputs = {}
    for name, step in workflow.steps.items():
        row = last.result.rows.get(name)
        if row is None or row.status is not StepStatus.OK or name in stale or not isinstance(step.agent, FunctionAgent):
            continue
        if name in last.parts and not isinstance(row.kept_output, Stored | NotKept):  # a large one is not read for this
            outputs[name] = row.kept_output
    return outputs
