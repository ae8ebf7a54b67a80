"""One step of a workflow at a glance: what it uses, what it asks, how far it is, and what it will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.model import Request
from agentflow.core.nested import RowAgent, WorkflowAgent
from agentflow.core.plan import Binding, step_bindings
from agentflow.core.quoting.quote import StepQuote
from agentflow.core.step import Reference, Step
from agentflow.core.step_parts import Kind
from agentflow.core.step_row import total_usd
from agentflow.core.step_states import State, Told

Edge: TypeAlias = Literal["uses", "optional", "when", "after"]


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


def step_overview(
    step: Step, steps: Mapping[str, Step], models: Models, told: Told, parts: Sequence[StepQuote]
) -> StepOverview:
    """Return one step at a glance.

    Parameters
    ----------
    steps : all of the workflow.
    told : its state, with why.
    parts : the parts of the quote that are its own: one, or several of a workflow; none without a quote.
    """
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


class Models:
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


def _whole(counts: Iterable[int | None]) -> int | None:
    """Return a sum, None where a part is not known."""
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)


def _known(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known, None where nothing is."""
    found = [count for count in counts if count is not None]
    return sum(found) if found else None
