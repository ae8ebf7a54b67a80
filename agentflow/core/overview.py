"""A workflow at a glance: what each step uses and asks, how far it is from its last run, and what the next one takes.

Nothing is sent. The figures are those of a quote, with the inputs that are given, else those of the last run; an input
that is neither is counted as empty, and named in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.budget import Budget, budgets_in_force
from agentflow.core.errors import AgentFlowError, DefinitionError, described
from agentflow.core.model import Request
from agentflow.core.nested import RowAgent, WorkflowAgent
from agentflow.core.plan import Binding, step_bindings
from agentflow.core.quoting.making import make_quote
from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.core.step import Reference, Step
from agentflow.core.step_parts import Kind
from agentflow.core.step_row import total_usd
from agentflow.core.step_states import LastRun, State, Told, kept_outputs, last_run, stale_steps, step_states
from agentflow.core.template import StandIn

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

Edge: TypeAlias = Literal["uses", "optional", "when", "after"]
Source: TypeAlias = Literal["given", "last run", "not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOverview:
    """One step at a glance.

    Attributes
    ----------
    kind : `prompt`, `python`, `workflow`, `rows` or `agent`, as in `StepParts`.
    model : the catalog's name; None for a step that asks none by itself.
    model_id : the Bedrock id or profile that would be asked.
    asked : the model as it was written, such as `haiku`; None for the default one.
    prompt, system : as they were written; None for a step that has none.
    upstream : the steps that it waits for, each with how: its output is used, or is optional; `when` reads it; or it is
        only to end before (`after`).
    inputs : the inputs of the run that it uses.
    map_over : the parameter that is given a list.
    is_conditional : whether `when=` decides if it runs.
    inner_steps : how many steps it has, where it is a workflow.
    state : `cached` (the next run is given its answers), `stale` (it was changed since the last run, or what it uses
        was), else how the last run left it; `not run` where there was none.
    why : to the state: what changed, what failed; empty where there is nothing to say.
    calls, input_tokens, output_tokens, likely_usd, high_usd, worst_usd, basis : of the next run, as in `StepQuote`;
        None also where no estimate could be made.
    """

    step: str
    kind: Kind
    model: str | None = None
    model_id: str | None = None
    asked: str | None = None
    prompt: str | None = None
    system: str | None = None
    upstream: Mapping[str, Edge] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    map_over: str | None = None
    is_conditional: bool = False
    inner_steps: int = 0
    state: State = "not run"
    why: str = ""
    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    likely_usd: Decimal | None = None
    high_usd: Decimal | None = None
    worst_usd: Decimal | None = None
    basis: str = ""


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
    models = _Models()
    budgets = [*budgets_in_force(), *([] if config.budget_usd is None else [Budget(config.budget_usd)])]
    tightest = min(budgets, key=lambda budget: budget.left_usd, default=None)
    return Overview(
        config.name,
        tuple(_step(step, steps, models, states[name], quoted.get(name, ())) for name, step in steps.items()),
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


def _step(
    step: Step, steps: Mapping[str, Step], models: _Models, told: Told, parts: Sequence[StepQuote]
) -> StepOverview:
    agent = step.agent
    bindings = step_bindings(step, steps)
    asked: dict[str, str | None] = {}
    if isinstance(agent, SimpleAgent):
        asked = {"asked": agent.config.model_type, "prompt": agent.prompt_template, "system": agent.config.system}
        asked["model"], asked["model_id"] = models.of(agent)
    return StepOverview(
        step=step.step_id,
        kind=_kind(agent),
        **asked,
        upstream=dict(_edges(step, bindings, steps)),
        inputs=tuple(dict.fromkeys(_inputs(step, bindings, steps))),
        map_over=step.map_over,
        is_conditional=step.when is not None,
        inner_steps=len(agent.workflow.steps) if isinstance(agent, WorkflowAgent) else 0,
        state=told[0],
        why=told[1],
        calls=_whole(part.calls for part in parts) if parts else None,
        input_tokens=_known(part.input_tokens for part in parts),
        output_tokens=_known(part.output_tokens for part in parts),
        likely_usd=total_usd(part.likely_usd for part in parts) if parts else None,
        high_usd=total_usd(part.high_usd for part in parts) if parts else None,
        worst_usd=total_usd(part.worst_usd for part in parts) if parts else None,
        basis="; ".join(dict.fromkeys(part.basis for part in parts)),
    )


def _kind(agent: Agent) -> Kind:
    if isinstance(agent, SimpleAgent):
        return "prompt"
    if isinstance(agent, WorkflowAgent):
        return "rows" if isinstance(agent, RowAgent) else "workflow"
    return "python" if isinstance(agent, FunctionAgent) else "agent"


def _edges(step: Step, bindings: Iterable[Binding], steps: Mapping[str, Step]) -> Iterator[tuple[str, Edge]]:
    """Return the steps that a step waits for, each last with the strongest reason for it."""
    yield from ((name, "after") for name in step.depends_on)
    if isinstance(step.when, Reference):
        yield step.when._step_id, "when"
    elif step.when is not None:
        yield from ((name, "when") for name in step.when.parameters if name in steps)
    used = [binding for binding in bindings if binding.step_id is not None]
    yield from ((str(binding.step_id), "optional") for binding in used if not binding.required)
    yield from ((str(binding.step_id), "uses") for binding in used if binding.required)


def _inputs(step: Step, bindings: Iterable[Binding], steps: Mapping[str, Step]) -> Iterator[str]:
    yield from (binding.run_input for binding in bindings if binding.run_input is not None)
    if step.when is not None and not isinstance(step.when, Reference):
        yield from (name for name in step.when.parameters if name not in steps)


class _Models:
    """The names and ids of models; each is resolved once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str | None], tuple[str | None, str | None]] = {}

    def of(self, agent: SimpleAgent) -> tuple[str | None, str | None]:
        """Return the catalog's name of an agent's model, and its Bedrock id; as it is written where it is no model."""
        written = agent.config.model_type
        key = id(agent._client), written
        if key not in self._known:
            try:
                estimate = agent.client.estimate(written, Request("?"))
                self._known[key] = estimate.model, estimate.model_id or None
            except Exception:  # noqa: BLE001 - likewise; what is wrong with a name is among the problems
                self._known[key] = written, None
        return self._known[key]


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)


def _whole(counts: Iterable[int | None]) -> int | None:
    """Return a sum, None where a part is not known."""
    found = list(counts)
    return None if None in found else _sum(found)


def _known(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known, None where nothing is."""
    found = [count for count in counts if count is not None]
    return sum(found) if found else None
