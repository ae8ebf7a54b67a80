"""A walk through a plan as a run would take it: it renders every prompt, sends none, and runs no function.

What a run is given is known; in the place of each output stands a text of its likely length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import CassetteError
from agentflow.core.model import Estimate, Request
from agentflow.core.nested import WorkflowAgent
from agentflow.core.plan import Plan, PlannedStep
from agentflow.core.quoting.assumption import LOW, Assumption, Evidence, PromptAssumption
from agentflow.core.reuse import AnswerCache
from agentflow.core.step_run import as_items
from agentflow.core.template import StandIn, look_up

_NOTHING: Any = object()  # in the place of an input that was not given


@dataclass(frozen=True, slots=True)
class _Place:
    """Where steps stand: what their paths begin with, how often they run, and what is to be said of that."""

    prefix: str = ""
    times: int = 1
    may_skip: bool = False
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Count:
    """How often a step, or the items of it, run in all rows; whether a run may skip it; what is to be said of it."""

    executions: int = 0
    may_skip: bool = False
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, place: _Place) -> None:
        """Take in that the step runs at a place."""
        self.executions += place.times
        self.may_skip = place.may_skip
        self.notes.update(dict.fromkeys(place.notes))

    def executions_in(self, case: int) -> int:
        """Return how often the step runs in a case; in the lowest it does not where it may be skipped."""
        return 0 if self.may_skip and case == LOW else self.executions


@dataclass(slots=True)
class FunctionTally(_Count):
    """What a function, or any other step that is no prompt, does in all rows."""

    assumption: Assumption


@dataclass(slots=True)
class PromptTally(_Count):
    """What a prompt asks in all rows.

    Attributes
    ----------
    first : the estimate of its first request.
    tokens : estimated input tokens -> how many requests have as many.
    cached : how many requests more have an answer in the cache.
    """

    agent: SimpleAgent
    assumption: PromptAssumption
    first: Estimate
    tokens: Counter[int] = field(default_factory=Counter)
    cached: int = 0

    @property
    def likely_input_tokens(self) -> int:
        """The tokens of all requests, as past ones correct their estimates."""
        factor = self.assumption.input_factor.likely
        return sum(round(tokens * factor) * calls for tokens, calls in self.tokens.items())

    @property
    def likely_output_tokens(self) -> int:
        """The tokens of all answers."""
        return round(self.assumption.output_tokens.likely) * self.executions


Tally: TypeAlias = FunctionTally | PromptTally


class Walk:
    """Goes through plans in one case, and keeps a tally of each step by its path.

    Parameters
    ----------
    case : a position in a `Spread`.
    every_item : whether each item of a list is rendered; else all are taken to be like the first.
    cache : where answers are that a run would be given; None where it asks for all.
    """

    def __init__(self, evidence: Evidence, case: int, *, every_item: bool, cache: AnswerCache | None = None) -> None:
        self.tallies: dict[str, Tally] = {}
        self._evidence = evidence
        self._case = case
        self._every_item = every_item
        self._cache = cache

    def run(self, plan: Plan, inputs: Mapping[str, Any]) -> None:
        """Go through one run.

        Raises
        ------
        InputError
            A prompt cannot be rendered with these inputs.
        """
        self._workflow(plan, inputs, _Place())

    def _workflow(self, plan: Plan, inputs: Mapping[str, Any], place: _Place) -> dict[str, Any]:
        outputs: list[Any] = []
        skippable: list[bool] = []
        for step in plan.steps:
            needed = (skippable[position] for position in step.upstream if position not in step.optional)
            may_skip = place.may_skip or step.when is not None or any(needed)
            skippable.append(may_skip)
            here = place if may_skip == place.may_skip else replace(place, may_skip=may_skip)
            run = self._step if step.map_over is None else self._mapped
            output = run(step, _values(step, outputs, inputs), here)
            outputs.append(self._evidence.outputs.get(place.prefix + step.step_id, output))
        return {step.step_id: output for step, output in zip(plan.steps, outputs, strict=True)}

    def _mapped(self, step: PlannedStep, values: Mapping[str, Any], place: _Place) -> list[Any]:
        name = str(step.map_over)
        given = values.get(name)
        if isinstance(given, StandIn):
            count, basis = self._evidence.items(place.prefix + step.step_id)
            place = replace(place, notes=(*place.notes, basis))
            items: list[Any] = [StandIn(given[: len(given) // max(count, 1)])] * count
        else:
            items = as_items(name, given)
        if self._every_item and any(item is not items[0] for item in items):
            return [self._step(step, {**values, name: item}, place) for item in items]
        together = replace(place, times=place.times * len(items))
        return [self._step(step, {**values, name: item}, together) for item in items[:1]] * len(items)

    def _step(self, step: PlannedStep, values: Mapping[str, Any], place: _Place) -> Any:
        path, agent = place.prefix + step.step_id, step.agent
        if isinstance(agent, WorkflowAgent):
            return self._workflow(agent.workflow.plan, values, replace(place, prefix=f"{path}."))
        if isinstance(agent, SimpleAgent):
            return self._prompt(path, agent, values, place)
        tally = self._function(path, is_used=bool(step.successors))
        tally.add(place)
        return tally.assumption.outputs[self._case]

    def _prompt(self, path: str, agent: SimpleAgent, values: Mapping[str, Any], place: _Place) -> Any:
        """Render a request, count what it is estimated to take, and return what stands for its answer."""
        request = agent.request(values)
        estimate = agent.client.estimate(agent.config.model_type, request)
        tally = self.tallies.get(path)
        if not isinstance(tally, PromptTally):
            tally = PromptTally(agent, self._evidence.prompt(path, agent, estimate), estimate)
            self.tallies[path] = tally
        if (kept := self._kept(agent, request)) is not None:
            tally.cached += place.times
            return kept
        tally.tokens[estimate.input_tokens] += place.times
        tally.add(place)
        return tally.assumption.outputs[self._case]

    def _kept(self, agent: SimpleAgent, request: Request) -> Any:
        """Return the output that the cache has for a request; None where it has none."""
        if self._cache is None:
            return None
        try:
            kept = self._cache.find(*agent.client.identify(agent.config.model_type, request), request)
        except CassetteError:  # the request is not the one that a run makes, where it has a text of likely length
            return None
        return None if kept is None else agent.output_of(kept)

    def _function(self, path: str, *, is_used: bool) -> FunctionTally:
        tally = self.tallies.get(path)
        if not isinstance(tally, FunctionTally):
            tally = self.tallies[path] = FunctionTally(self._evidence.function(path, is_used=is_used))
        return tally


def _values(step: PlannedStep, outputs: Sequence[Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a step's parameters, as the engine does; one that is not there has its default, or is None.

    Raises
    ------
    InputError
        A part of a known value is not there.
    """
    if step.parameters is not None:
        return {name: outputs[position] for name, position in zip(step.parameters, step.upstream, strict=True)}
    values = {}
    for binding in step.bindings:
        value = outputs[binding.position] if binding.position >= 0 else binding.literal
        if binding.run_input is not None:
            value = inputs.get(binding.run_input, _NOTHING)
        if value is not _NOTHING:
            values[binding.name] = look_up(value, binding.path, of=str(binding.step_id))
        elif not binding.has_default:
            values[binding.name] = None
    return values
