"""Making a quote.

A walk through the plan counts what every row takes in the likely case. Walks through the first row alone find by how
much a prompt grows with the answers before it in the other cases, which does not depend on the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from agentflow.core import ports
from agentflow.core.config import WorkflowConfig
from agentflow.core.errors import InputError, JournalError, nearest
from agentflow.core.journal import Journal, PastWork
from agentflow.core.model import Usage
from agentflow.core.nested import WorkflowAgent
from agentflow.core.plan import Plan
from agentflow.core.quoting.assumption import CASES, LIKELY, Evidence, Spread
from agentflow.core.quoting.duration import step_seconds, steps_at_once, total_seconds
from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.core.quoting.walk import PromptTally, Tally, Walk
from agentflow.core.reuse import opened_cache

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

Row = Mapping[str, Any]

_FREE = (Decimal(0),) * len(CASES)
_UNKNOWN = (None,) * len(CASES)


def make_quote(workflow: Workflow, rows: Sequence[Row], outputs: Mapping[str, Any] | None = None) -> Quote:
    """Return what a workflow will take.

    Parameters
    ----------
    rows : the inputs of each run, one or more, as `as_rows` returns them.
    outputs : what steps will return, where that is known; else texts of its likely length stand for it.

    Raises
    ------
    InputError
        A prompt cannot be rendered with a row.
    JournalError, CassetteError
        The workflow takes answers from a cache that cannot be opened.
    """
    plan, config = workflow.plan, workflow.config
    past, unseen, warnings = _past(config)
    evidence = Evidence(past, unseen, outputs)
    cache = opened_cache(config.cache) if config.cache else None
    every = Walk(evidence, LIKELY, every_item=True, cache=cache)
    first = [every if case == LIKELY else Walk(evidence, case, every_item=False, cache=cache) for case in CASES]
    for walk in first:
        walk.run(plan, rows[0])
    for row in rows[1:]:
        every.run(plan, row)
    at_once = steps_at_once(config, len(rows))
    steps = tuple(_step_quote(path, first, every.tallies.get(path), at_once, evidence) for path in _paths(plan))
    low_s, likely_s, high_s = (total_seconds(plan, every.tallies, case, at_once) for case in CASES[:3])
    return Quote(config.name, len(rows), steps, low_s, likely_s, high_s, warnings)


def as_rows(plan: Plan, rows: Any, inputs: Row) -> Sequence[Row]:
    """Return the inputs of each run that is to be quoted.

    Parameters
    ----------
    rows : a DataFrame or mappings, one a run; what the workflow does not take is left out. None is a run of `inputs`.
    inputs : the same in every run.

    Raises
    ------
    InputError
        There are no rows, or an input is missing, given twice, or used by no step.
    """
    if rows is None:
        plan.check_inputs(inputs)
        return [inputs]
    given: list[Row] = _mappings(rows)
    if not given:
        raise InputError("There are no rows to quote.", fix="Give a DataFrame or a list with one row or more.")
    twice = [name for name in inputs if any(name in row for row in given)]
    if twice:
        raise InputError(
            f"{', '.join(map(repr, twice))} is a column of the rows, and an input beside them.", fix="Leave one out."
        )
    for number, row in enumerate(given):
        for name, users in plan.run_inputs.items():
            if users and name not in row and name not in inputs:
                raise InputError(
                    f"Row {number} has no {name!r}, which step {users[0]!r} needs{nearest(name, map(str, row))}.",
                    fix=f"Give the rows a column {name!r}, or the same value to all of them: quote(rows, {name}=...).",
                )
    taken = [{**{name: row[name] for name in plan.run_inputs if name in row}, **inputs} for row in given]
    plan.check_inputs(taken[0])
    return taken


def _mappings(rows: Any) -> list[Row]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return cast("list[Row]", rows.to_dict("records"))
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        return list(rows)
    raise InputError(
        f"Rows of type {type(rows).__name__} cannot be quoted.",
        fix="Give a DataFrame or a list of dictionaries; the inputs of one run by name: quote(name=...).",
    )


def _past(config: WorkflowConfig) -> tuple[PastWork, str, tuple[str, ...]]:
    """Return what the journal has of the workflow, why it may have nothing of a step, and what to warn of."""
    if not config.journal:
        return PastWork(), "the workflow keeps no journal", ()
    try:
        return cast("Journal", ports.load("journal")()).past_work(config.name), "the step has never run", ()
    except JournalError as error:
        return PastWork(), "the journal cannot be read", (f"The quote rests on no past runs. {error}",)


def _paths(plan: Plan, prefix: str = "") -> Iterator[str]:
    """Return the steps in the order in which they were added; in the place of a workflow stand its steps."""
    agents = {step.step_id: step.agent for step in plan.steps}
    for step_id in plan.step_ids:
        agent = agents[step_id]
        if isinstance(agent, WorkflowAgent):
            yield from _paths(agent.workflow.plan, f"{prefix}{step_id}.")
        else:
            yield prefix + step_id


def _step_quote(
    path: str, first: Sequence[Walk], tally: Tally | None, at_once: int | None, evidence: Evidence
) -> StepQuote:
    if tally is None:
        return _described(path, _FREE, (0.0, 0.0, 0.0), ["its list has no items"])
    seconds = [step_seconds(tally, case, at_once) for case in CASES[:3]]
    basis = [tally.assumption.basis, *tally.notes, *(["may be skipped"] if tally.may_skip else [])]
    if isinstance(tally, PromptTally):
        if tally.cached:
            asked = tally.cached + tally.executions
            told = "its answer is" if asked == 1 else f"{tally.cached:,} of {asked:,} answers are"
            basis = [f"{told} in the cache", *(basis if tally.executions else [])]
        growth = _growth(path, first)
        dollars = [_dollars(tally, case, growth[case]) for case in CASES]
        basis += ["price unknown"] if None in dollars else []
        return _described(path, dollars, seconds, basis, tally)
    if evidence.asks_models(path):
        return _described(path, _UNKNOWN, seconds, [*basis, "it asks models itself, which no quote can know"])
    return _described(path, _FREE, seconds, basis)


def _described(
    path: str,
    dollars: Sequence[Decimal | None],
    seconds: Sequence[float | None],
    basis: Sequence[str],
    prompt: PromptTally | None = None,
) -> StepQuote:
    low_usd, likely_usd, high_usd, worst_usd = dollars
    low_s, likely_s, high_s = seconds
    return StepQuote(
        step=path,
        model=prompt.first.model if prompt else None,
        calls=prompt.executions if prompt else 0 if None not in dollars else None,
        input_tokens=prompt.likely_input_tokens if prompt else None,
        output_tokens=prompt.likely_output_tokens if prompt else None,
        low_usd=low_usd,
        likely_usd=likely_usd,
        high_usd=high_usd,
        worst_usd=worst_usd,
        low_s=low_s,
        likely_s=likely_s,
        high_s=high_s,
        basis="; ".join(basis),
    )


def _growth(path: str, first: Sequence[Walk]) -> Spread:
    """Return the tokens by which a request is longer than in the likely case, in each case."""
    tallies = [walk.tallies.get(path) for walk in first]
    tokens = [tally.first.input_tokens if isinstance(tally, PromptTally) else 0 for tally in tallies]
    return Spread(*(count - tokens[LIKELY] for count in tokens))


def _dollars(tally: PromptTally, case: int, growth: float) -> Decimal | None:
    """Return the price of all requests of a step, each for itself: a long one may have a higher tier."""
    if not tally.executions_in(case):
        return Decimal(0)
    factor, output_tokens = tally.assumption.input_factor[case], round(tally.assumption.output_tokens[case])
    total = Decimal(0)
    for tokens, calls in tally.tokens.items():
        price = tally.first.price(Usage(max(round((tokens + growth) * factor), 0), output_tokens))
        if price is None:
            return None
        total += price * calls
    return total
