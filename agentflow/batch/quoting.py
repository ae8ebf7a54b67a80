"""What a job is told to take before it asks anything: dollars and time, and what limits it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from agentflow.batch.opening import Opened
from agentflow.batch.progress import span
from agentflow.core.agent import SimpleAgent
from agentflow.core.budget import dollars
from agentflow.core.nested import WorkflowAgent
from agentflow.core.quoting.making import make_quote
from agentflow.core.quoting.quote import Quote

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow


def tell_quote(workflow: Workflow, opened: Opened, max_concurrency: int | None) -> None:
    """Write to standard error what the rows that have to be asked are likely to take. Blocks."""
    for sentence in sentences(workflow, opened, max_concurrency):
        sys.stderr.write(f"agentflow: {sentence}\n")
    sys.stderr.flush()


def sentences(workflow: Workflow, opened: Opened, max_concurrency: int | None) -> Iterator[str]:
    """Return the quote in words, then the warnings."""
    quote = make_quote(workflow, opened.sample)
    factor = Decimal(opened.to_ask) / len(opened.sample)
    done = opened.rows - opened.to_ask
    rows = f"{opened.to_ask:,} rows to ask" + (f" ({done:,} of {opened.rows:,} are done)" if done else "")
    yield f"{rows}: {_money(quote, factor)}; {_time(quote, float(factor))}"
    yield from quote.warnings
    yield from _quotas(workflow, quote, float(factor))
    for connections in sorted(connections_of(workflow)):
        if max_concurrency is not None and max_concurrency > connections:
            yield (
                f"max_concurrency={max_concurrency} rows, but at most {connections} model calls are in flight at once: "
                f"set BEDROCK_MAX_CONNECTIONS={max_concurrency}."
            )
        elif max_concurrency is None and opened.to_ask > 10 * connections:
            yield (
                f"At most {connections} model calls are in flight at once (BEDROCK_MAX_CONNECTIONS), which is likely "
                "to be what limits the job: raise it where your quota allows more."
            )


def _quotas(workflow: Workflow, quote: Quote, factor: float) -> Iterator[str]:
    """Return how long the quotas alone let the job take, where they are known."""
    for step, agent in _prompts(workflow):
        took = next((part for part in quote.steps if part.step == step), None)
        known = getattr(agent.client, "known_quota", None)
        if took is None or not took.calls or known is None:
            continue
        quota = known(agent.config.model_type)
        tokens = ((took.input_tokens or 0) + (took.output_tokens or 0)) * factor
        for amount, per_minute, unit in (
            (tokens, quota.tokens_per_minute, "tokens"),
            (took.calls * factor, quota.requests_per_minute, "requests"),
        ):
            if per_minute:
                seconds = amount / per_minute * 60
                yield f"step {step!r} takes {span(seconds)} or more at its quota of {per_minute:,.0f} {unit}/min"


def _prompts(workflow: Workflow, prefix: str = "") -> Iterator[tuple[str, SimpleAgent]]:
    """Return the steps that are prompts, by their paths."""
    for step_id, step in workflow.steps.items():
        if isinstance(step.agent, WorkflowAgent):
            yield from _prompts(step.agent.workflow, f"{prefix}{step_id}.")
        elif isinstance(step.agent, SimpleAgent):
            yield prefix + step_id, step.agent


def _money(quote: Quote, factor: Decimal) -> str:
    if not any(step.model or step.likely_usd is None for step in quote.steps):
        return "no model calls"
    low, likely, high = (
        None if usd is None else usd * factor for usd in (quote.low_usd, quote.likely_usd, quote.high_usd)
    )
    if low is None or likely is None or high is None:
        return f"price unknown ({', '.join(quote.unpriced)})"
    return f"likely ${dollars(likely)} (${dollars(low)} to ${dollars(high)})"


def _time(quote: Quote, factor: float) -> str:
    if quote.low_s is None or quote.likely_s is None or quote.high_s is None:
        return "time unknown until each prompt has run once"
    low, likely, high = (seconds * factor for seconds in (quote.low_s, quote.likely_s, quote.high_s))
    return f"likely {span(likely)} ({span(low)} to {span(high)})"


def connections_of(workflow: Workflow) -> set[int]:
    """Return how many calls the clients of a workflow have in flight at once."""
    connections = (getattr(agent.client, "max_connections", None) for _, agent in _prompts(workflow))
    return {number for number in connections if number}
