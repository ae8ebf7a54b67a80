"""The words and figures of a workflow's view; text, card and drawing take them from here and never disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from agentflow.core.overview import Overview
from agentflow.core.step_overview import StepOverview
from agentflow.core.step_row import total_usd
from agentflow.views.format import NOT_APPLICABLE, UNKNOWN, count, duration, money, money_places, plural, spoken
from agentflow.views.outputs import one_line
from agentflow.views.summary import Fact

MISSING = "no such step"
PRICE_UNKNOWN = "price unknown"
_WHY_WIDTH = 90
_MOST_NAMES = 6


def title(overview: Overview) -> str:
    """Return what the workflow has, behind its name."""
    asking = sum(step.model is not None for step in overview.steps)
    told = [plural(len(overview.steps), "step")] if overview.steps else []
    if asking:
        told.append(f"{asking:,} {'asks' if asking == 1 else 'ask'} a model")
    return " · ".join(told)


def state_word(step: StepOverview) -> str:
    """Return a step's state in words."""
    return spoken(step.state)


def why_words(step: StepOverview) -> str:
    """Return what is to be said to the state, in a line."""
    return one_line(step.why, _WHY_WIDTH) if step.state != "cached" else ""


def model_word(step: StepOverview) -> str:
    """Return who is asked, in a word or two, or what else the step is."""
    if step.kind == "prompt":
        told = one_line(step.model or step.asked or "default model", 60)
    elif step.kind in {"workflow", "rows"}:
        told = f"{plural(step.inner_steps, 'step')}"
    else:
        told = "Python" if step.kind == "python" else "own agent"
    return f"{told}, each item" if step.map_over else told


def id_words(step: StepOverview) -> str:
    """Return the Bedrock id that would be asked, where the model's name is another one."""
    model_id = one_line(step.model_id or "", 120)
    return "" if model_id == step.model else model_id


def uses_words(step: StepOverview) -> list[str]:
    """Return what a step uses, a phrase each: steps, inputs of the run, what it only waits for, its condition."""
    by_kind: dict[str, list[str]] = {"uses": [], "optional": [], "when": [], "after": []}
    for name, kind in step.upstream.items():
        by_kind[kind].append(one_line(name, 60))
    told = []
    if by_kind["uses"]:
        told.append(_listed(by_kind["uses"]))
    if step.inputs:
        told.append(
            f"{_listed([one_line(name, 60) for name in step.inputs])} ({'inputs' if len(step.inputs) > 1 else 'input'})"
        )
    if by_kind["optional"]:
        told.append(f"{_listed(by_kind['optional'])} (optional)")
    if step.is_conditional:
        told.append(f"when {_listed(by_kind['when']) or 'a function says so'}")
    if by_kind["after"]:
        told.append(f"after {_listed(by_kind['after'])}")
    if step.map_over:
        told.append(f"once for each item of {one_line(step.map_over, 60)}")
    return told


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def tokens_words(step: StepOverview | Overview) -> str:
    """Return the likely tokens of requests and answers."""
    if step.input_tokens is None or (isinstance(step, Overview) and not step.quote):
        return NOT_APPLICABLE
    return f"{count(step.input_tokens)} / {count(step.output_tokens)}"


def cost_words(step: StepOverview, places: int) -> str:
    """Return the likely dollars of a step; a dash where it asks no model or there is no estimate."""
    if not step.basis or (step.model is None and step.calls == 0):
        return NOT_APPLICABLE
    return PRICE_UNKNOWN if step.likely_usd is None else money(step.likely_usd, places)


def group_tokens(steps: Sequence[StepOverview]) -> str:
    """Return the likely tokens of several steps."""
    asking = [step for step in steps if step.input_tokens is not None]
    if not asking:
        return NOT_APPLICABLE
    got = sum(step.output_tokens or 0 for step in asking)
    return f"{count(sum(step.input_tokens or 0 for step in asking))} / {count(got)}"


def group_cost(steps: Sequence[StepOverview], places: int) -> str:
    """Return the likely dollars of several steps."""
    asking = [step for step in steps if cost_words(step, places) != NOT_APPLICABLE]
    if not asking:
        return NOT_APPLICABLE
    total = total_usd(step.likely_usd for step in asking)
    return PRICE_UNKNOWN if total is None else money(total, places)


def up_to(likely_usd: Decimal | None, high_usd: Decimal | None) -> str:
    """Return the high dollars, where they are others than the likely ones."""
    return "" if high_usd is None or high_usd == likely_usd else f"up to {money(high_usd)}"


def total_cost(overview: Overview) -> str:
    """Return the likely dollars of the next run, or whose price is not known."""
    if overview.quote is None:
        return UNKNOWN
    return PRICE_UNKNOWN if overview.likely_usd is None else money(overview.likely_usd, column_places(overview))


def column_places(overview: Overview) -> int:
    """Return the decimals for every amount in a table of the steps."""
    return money_places([step.likely_usd for step in overview.steps])


def facts(overview: Overview) -> list[Fact]:
    """Return the figures of the next run, those that apply."""
    found = []
    if overview.quote is not None:
        asking = sum(step.calls is None or step.calls > 0 for step in overview.steps)
        able = sum(step.calls is None or step.calls > 0 or step.model is not None for step in overview.steps)
        if overview.likely_usd is None:
            unknown = ", ".join(one_line(name, 40) for name in overview.unpriced[:3])
            found.append(Fact(f"next run ({unknown})", PRICE_UNKNOWN))
        else:
            found.append(
                Fact("next run, likely", f"about {money(overview.likely_usd)}" if overview.likely_usd else "$0")
            )
        if (high := overview.high_usd) and high != overview.likely_usd:
            found.append(Fact("if answers are long", money(high)))
        if (worst := overview.worst_usd) and worst != overview.high_usd:
            found.append(Fact("worst case", money(worst)))
        if able:
            found.append(Fact("steps will ask a model", f"{asking:,} of {able:,}"))
        if overview.calls:
            found.append(Fact("calls", count(overview.calls)))
        if overview.likely_s is not None:
            found.append(Fact("time, likely", duration(overview.likely_s * 1000)))
    if overview.budget_left_usd is not None:
        of = "" if overview.budget_left_usd == overview.budget_usd else f" of {money(overview.budget_usd)}"
        found.append(Fact("budget left", f"{money(overview.budget_left_usd)}{of}"))
    return found


def warnings(overview: Overview) -> list[str]:
    """Return what a person should know before a run, a sentence each."""
    told = [one_line(note, 500) for note in overview.notes]
    worst, left = overview.worst_usd, overview.budget_left_usd
    if left is not None and worst is not None and worst > left:
        told.append(
            f"The worst case of {money(worst)} is more than the budget of {money(left)} that is left: a call that "
            "could pass it is not sent, and what is finished is kept."
        )
    return told


def next_words(overview: Overview) -> str:
    """Return the code that runs the workflow."""
    given = ", ".join(
        f"{name}=..." if name.isidentifier() else f"**{{{name!r}: ...}}" for name in list(overview.inputs)[:8]
    )
    return f"workflow.run({one_line(given, 200)})"


def last_words(overview: Overview) -> str:
    """Return how the last run went; empty where there was none."""
    if overview.last is None:
        return ""
    result = overview.last.result
    told = [f"last run {one_line(result.run_id, 40)}", spoken(result.status)]
    if result.status != "running":
        told.append(duration(result.duration_ms))
    return " · ".join(told)


def counted_states(steps: Sequence[StepOverview]) -> Iterator[tuple[str, int]]:
    """Return how many steps are in each state."""
    yield from sorted(Counter(step.state for step in steps).items())


EMPTY = "No steps yet."
EMPTY_FIX = 'Add one: workflow.add_step("name", agent), with a prompt or a Python function; names wire the steps.'
