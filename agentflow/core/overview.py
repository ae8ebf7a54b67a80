"""A workflow at a glance: what each step uses and asks, how far it is from its last run, and what the next one takes.

Nothing is sent. The figures are those of a quote, with the inputs that are given, else those of the last run; an input
that is neither is counted as empty, and named in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentflow.core.agent import Agent
from agentflow.core.budget import Budget, budgets_in_force
from agentflow.core.errors import AgentFlowError, DefinitionError, described
from agentflow.core.nested import WorkflowAgent
from agentflow.core.quoting.making import make_quote
from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.core.step_overview import Models, StepOverview, step_overview
from agentflow.core.step_states import LastRun, kept_outputs, last_run, stale_steps, step_states
from agentflow.core.template import StandIn

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

__all__ = ["Overview", "StepOverview", "overview"]

Source: TypeAlias = Literal["given", "last run", "not known"]


@dataclass(frozen=True)
class Overview:
    """A workflow at a glance, ready for views.

    Attributes
    ----------
    steps : in the order in which they were added.
    inputs : the inputs of a run, each with where the estimate has its value from.
    problems : what keeps it from running, a sentence each; then there are no estimates.
    notes : what the estimates leave out, or rest on less than they could, a sentence each.
    quote : all figures of the next run; None where no estimate could be made.
    last : the last run, where one is known.
    budget_usd, budget_left_usd : of the tightest budget that the next run would count against; None without one.
    is_cached : whether the next run takes answers that are there before.
    """

    workflow: str
    steps: tuple[StepOverview, ...]
    inputs: Mapping[str, Source] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quote: Quote | None = None
    last: LastRun | None = None
    budget_usd: Decimal | None = None
    budget_left_usd: Decimal | None = None
    is_cached: bool = False

    @property
    def likely_usd(self) -> Decimal | None:
        """The likely dollars of the next run; None where they are not known."""
        return self.quote.likely_usd if self.quote else None

    @property
    def high_usd(self) -> Decimal | None:
        """The dollars where the answers are long; None where they are not known."""
        return self.quote.high_usd if self.quote else None

    @property
    def worst_usd(self) -> Decimal | None:
        """The dollars where every answer is as long as it may be; None where they are not known."""
        return self.quote.worst_usd if self.quote else None

    @property
    def likely_s(self) -> float | None:
        """The likely seconds of the next run; None where they are not known."""
        return self.quote.likely_s if self.quote else None

    @property
    def input_tokens(self) -> int | None:
        """The likely tokens of all requests; None where no estimate could be made."""
        return _sum(step.input_tokens for step in self.steps) if self.quote else None

    @property
    def output_tokens(self) -> int | None:
        """The likely tokens of all answers; None where no estimate could be made."""
        return _sum(step.output_tokens for step in self.steps) if self.quote else None

    @property
    def calls(self) -> int:
        """How many requests are likely, as far as that is known."""
        return _sum(step.calls for step in self.steps)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is not known, and the functions of which nobody knows what they ask."""
        return self.quote.unpriced if self.quote else ()


def overview(workflow: Workflow, /, **inputs: Any) -> Overview:
    """Return a workflow at a glance. Sends and runs nothing, and raises nothing where the workflow is wrong.

    Parameters
    ----------
    **inputs : of the next run, as far as they are known; the others are those of the last run.
    """
    steps, config = workflow.steps, workflow.config
    inputs = workflow.with_looked_up(inputs)
    problems = _problems(workflow)
    past = last_run(workflow)
    known = dict(past.inputs) if past else {}
    sources: dict[str, Source] = {
        name: "given" if name in inputs else "last run" if name in known else "not known" for name in workflow.inputs
    }
    values = {name: inputs.get(name, known.get(name)) for name, source in sources.items() if source != "not known"}
    stale = stale_steps(workflow, past, inputs) if past and not problems else {}
    outputs = kept_outputs(workflow, past, stale) if past else {}
    quote, notes = (None, ()) if problems else _quote(workflow, values, sources, outputs)
    quoted = _by_step(workflow, quote) if quote else {}
    cached = {name for name, parts in quoted.items() if _is_cached(parts)}
    states = step_states(workflow, past, stale, cached)
    models = Models()
    budgets = [*budgets_in_force(), *([] if config.budget_usd is None else [Budget(config.budget_usd)])]
    tightest = min(budgets, key=lambda budget: budget.left_usd, default=None)
    return Overview(
        config.name,
        tuple(step_overview(step, steps, models, states[name], quoted.get(name, ())) for name, step in steps.items()),
        sources,
        tuple(problems),
        notes,
        quote,
        past,
        tightest.limit_usd if tightest else None,
        tightest.left_usd if tightest else None,
        bool(config.cache),
    )


def _problems(workflow: Workflow) -> Sequence[str]:
    """Return what keeps a workflow from running; one without steps is no problem yet."""
    if not workflow.steps:
        return ()
    try:
        workflow.plan  # noqa: B018 - it is compiled
    except DefinitionError as error:
        return error.problems
    except AgentFlowError as error:
        return (str(error),)
    return ()


def _quote(
    workflow: Workflow, values: Mapping[str, Any], sources: Mapping[str, Source], outputs: Mapping[str, Any]
) -> tuple[Quote | None, tuple[str, ...]]:
    """Return the quote of the next run, and what it leaves out; an input that is not known counts as empty."""
    if not workflow.steps:
        return None, ()
    unknown = [name for name, source in sources.items() if source == "not known" and workflow.inputs[name]]
    try:
        quote = make_quote(workflow, [{**dict.fromkeys(unknown, StandIn("")), **values}], outputs)
    except AgentFlowError as error:
        return None, (f"No estimate: {error}",)
    except Exception as error:  # noqa: BLE001 - a client of the user's own need not be able to estimate
        return None, (f"No estimate: {described(error)}",)
    if not unknown or all(step.model is None for step in quote.steps):
        return quote, quote.warnings
    names = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else "")
    given = ", ".join(f"{name}=..." for name in unknown[:5])
    left_out = f"The estimate leaves out {names}, which no run was given yet: quote({given}) counts all."
    return quote, (left_out, *quote.warnings)


def _by_step(workflow: Workflow, quote: Quote) -> Mapping[str, Sequence[StepQuote]]:
    """Return the parts of a quote by step; those of a workflow that is a step are several."""
    parts = iter(quote.steps)
    return {name: list(islice(parts, _leaves(step.agent))) for name, step in workflow.steps.items()}


def _leaves(agent: Agent) -> int:
    return sum(_leaves(step.agent) for step in agent.workflow.steps.values()) if isinstance(agent, WorkflowAgent) else 1


def _is_cached(parts: Sequence[StepQuote]) -> bool:
    asking = [part for part in parts if part.model is not None]
    return bool(asking) and all(part.calls == 0 for part in asking)


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)
