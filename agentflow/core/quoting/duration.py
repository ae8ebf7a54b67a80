"""How long what was tallied takes: steps wait for each other, for a free connection, and for the workflow's limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from agentflow.core.config import WorkflowConfig
from agentflow.core.nested import WorkflowAgent
from agentflow.core.plan import Plan
from agentflow.core.quoting.walk import FunctionTally, PromptTally, Tally


def steps_at_once(config: WorkflowConfig, runs: int) -> int | None:
    """Return how many steps of some runs, which all go on at the same time, may; None where there is no limit."""
    limit = config.max_concurrency if config.enable_parallel else 1
    return None if limit is None else limit * runs


def step_seconds(tally: Tally, case: int, at_once: int | None) -> float | None:
    """Return how long a step would take alone; None where that is not known.

    Parameters
    ----------
    at_once : how many steps may run at the same time; None is no limit.
    """
    if not tally.executions:
        return 0.0
    if tally.assumption.seconds is None:
        return None
    one, executions = tally.assumption.seconds[case], tally.executions_in(case)
    lanes = min((limit for limit in (at_once, _connections(tally)) if limit is not None), default=executions)
    return max(one, one * executions / lanes) if executions else 0.0


def total_seconds(plan: Plan, tallies: Mapping[str, Tally], case: int, at_once: int | None) -> float | None:
    """Return how long all runs take, from the first start to the last end; None where a prompt's time is not known.

    That is at least the longest way through one run, and at least all work over how much of it is done at once. What
    is not known of a function counts as nothing, beside something that is. The limits of workflows that are steps are
    left out.
    """
    tallies = {path: tally for path, tally in tallies.items() if tally.executions}  # the others are in the cache
    if tallies and all(tally.assumption.seconds is None for tally in tallies.values()):
        return None
    work: dict[str, float] = {}  # seconds of each step, one execution after the other
    for path, tally in tallies.items():
        if tally.assumption.seconds is not None:
            work[path] = tally.assumption.seconds[case] * tally.executions_in(case)
        elif isinstance(tally, FunctionTally):
            work[path] = 0.0
        else:
            return None
    of_client: defaultdict[int, float] = defaultdict(float)  # seconds, of all its connections together
    for path, tally in tallies.items():
        if isinstance(tally, PromptTally) and (connections := _connections(tally)) is not None:
            of_client[id(tally.agent.client)] += work[path] / connections
    every = sum(work.values()) / at_once if at_once is not None else 0.0
    return max(_longest_way(plan, tallies, case), every, *of_client.values())


def _connections(tally: Tally) -> int | None:
    """Return how many calls a prompt's client sends at once, where it says so."""
    return getattr(tally.agent.client, "max_connections", None) if isinstance(tally, PromptTally) else None


def _longest_way(plan: Plan, tallies: Mapping[str, Tally], case: int, prefix: str = "") -> float:
    """Return the seconds of the longest chain of steps that wait for each other; the items of a list run together."""
    ends: list[float] = []
    for step in plan.steps:
        path = prefix + step.step_id
        if isinstance(step.agent, WorkflowAgent):
            own = _longest_way(step.agent.workflow.plan, tallies, case, f"{path}.")
        else:
            tally = tallies.get(path)
            seconds = tally.assumption.seconds if tally is not None and tally.executions_in(case) else None
            own = seconds[case] if seconds is not None else 0.0
        ends.append(own + max((ends[needed] for needed in step.upstream), default=0.0))
    return max(ends)
