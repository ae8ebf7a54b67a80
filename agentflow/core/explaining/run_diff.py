"""Two runs side by side: what differs in prompts, models, values, cost and time, by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.errors import AgentFlowError
from agentflow.core.explaining.changes import Reason, part_changes, same, value_changes
from agentflow.core.explaining.evidence import IN_JOURNAL
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.journal import PastRun, opened_journal
from agentflow.core.places import Place
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class StepDiff:
    """One step, or one item of a mapped step, of two runs.

    Attributes
    ----------
    before, after : its rows; None where that run has no such step.
    reasons : what differs in what it is made of and was given, as far as both runs say.
    has_other_output : whether it returned something else.
    """

    step: str
    item: int | None
    before: StepRow | None
    after: StepRow | None
    reasons: tuple[Reason, ...] = ()
    has_other_output: bool = False

    @property
    def is_different(self) -> bool:
        """Whether anything differs beside its cost and time."""
        one, other = self.before, self.after
        if one is None or other is None:
            return True
        return bool(self.reasons) or self.has_other_output or one.status != other.status or one.model != other.model

    @property
    def kinds(self) -> tuple[str, ...]:
        """What differs, a word each: the kinds of `changes.KINDS`, `status`, `answer`, `new` or `gone`."""
        if self.before is None or self.after is None:
            return ("new" if self.before is None else "gone",)
        words = [reason.kind for reason in self.reasons if reason.kind]
        words += ["model"] if self.before.model != self.after.model else []
        words += ["status"] if self.before.status != self.after.status else []
        words += ["answer"] if self.has_other_output else []
        return tuple(dict.fromkeys(words))


@dataclass(frozen=True)
class RunDiff:
    """Two runs side by side; `before` is the one that was started earlier.

    Attributes
    ----------
    inputs : what differs in the inputs of the runs.
    steps : all steps of both, in the order of the later run.
    note : why less is compared than could be; empty where all is.
    """

    before: RunResult
    after: RunResult
    inputs: tuple[Reason, ...] = ()
    steps: tuple[StepDiff, ...] = field(default=())
    note: str = ""

    @property
    def different(self) -> tuple[StepDiff, ...]:
        """The steps that differ in more than cost and time."""
        return tuple(step for step in self.steps if step.is_different)

    def records(self) -> list[Mapping[str, Any]]:
        """Return one plain dictionary a step, with the columns of `to_frame()`."""
        return [_record(step) for step in self.steps]

    def to_frame(self) -> pd.DataFrame:
        """Return the comparison as a table.

        Returns
        -------
        DataFrame, one row a step or item
            `step, item, differs` (words), `before_status, status, before_model, model, before, after` (what it
            returned)`, before_cost_usd, cost_usd, before_latency_ms, latency_ms`. Unknown is `<NA>`.
        """
        frame: pd.DataFrame = ports.load("diff_frame")(self.records())
        return frame

    def __repr__(self) -> str:
        text: str = ports.load("diff_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("diff_html")(self)
        return html


def run_diff(result: RunResult, other: RunResult | str) -> RunDiff:
    """Compare two runs; see `RunResult.diff`."""
    if isinstance(other, str):
        run_id, other = other, opened_journal().past_run(other).result
        other.run_id, other._evidence = run_id, IN_JOURNAL
    before, after = sorted((other, result), key=lambda run: run.started_at)
    pasts = _past(before), _past(after)
    one, two = (None if past is None else PastInputs(past) for past in pasts)
    rows_before, rows_after = dict(_rows(before)), dict(_rows(after))
    steps = [
        _step_diff(place, rows_before.get(place), rows_after.get(place), one, two)
        for place in dict.fromkeys((*rows_after, *rows_before))
    ]
    lacking = [run.run_id for run, past in zip((before, after), pasts, strict=True) if past is None]
    note = f"Of run {' and '.join(lacking)} only the result is known: prompts and inputs cannot be compared."
    inputs = tuple(_input_changes(*pasts)) if pasts[0] and pasts[1] else ()
    return RunDiff(before, after, inputs, tuple(steps), note if lacking else "")


def _past(result: RunResult) -> PastRun | None:
    if result._evidence is None:
        return None
    with suppress(AgentFlowError):  # the journal has it no more
        return result._evidence.past_run(result)
    return None


def _rows(result: RunResult) -> Iterator[tuple[Place, StepRow]]:
    for step, item, row in result.leaves():
        yield (step, item), row


def _step_diff(
    place: Place, before: StepRow | None, after: StepRow | None, one: PastInputs | None, two: PastInputs | None
) -> StepDiff:
    if before is None or after is None:
        return StepDiff(*place, before, after)
    differs = not same(before.output, after.output)
    return StepDiff(*place, before, after, tuple(_reasons(place, one, two)), differs)


def _reasons(place: Place, one: PastInputs | None, two: PastInputs | None) -> Iterator[Reason]:
    old, new = (past.parts(place[0]) if past else None for past in (one, two))
    if one is None or two is None or old is None or new is None:
        return
    if place[1] in (None, 0):  # the items of a step have the same parts
        yield from part_changes(old, new)
    with suppress(AgentFlowError):  # an item that one of them does not have
        yield from value_changes(new, one.of(*place), two.of(*place), old.wiring)


def _input_changes(before: PastRun | None, after: PastRun | None) -> Iterator[Reason]:
    old, new = (past.inputs if past else {} for past in (before, after))
    for name in dict.fromkeys((*new, *old)):
        if name not in new or name not in old:
            yield Reason("input", f"{name} was given to the {'later' if name in new else 'earlier'} run only")
        elif not same(old[name], new[name]):
            yield Reason("input", name, old[name], new[name])


def _record(step: StepDiff) -> Mapping[str, Any]:
    before, after = step.before, step.after
    return {
        "step": step.step,
        "item": step.item,
        "differs": ", ".join(step.kinds) or None,
        "before_status": before.status.value if before else None,
        "status": after.status.value if after else None,
        "before_model": before.model if before else None,
        "model": after.model if after else None,
        "before": before.output if before else None,
        "after": after.output if after else None,
        "before_cost_usd": before.cost_usd if before else None,
        "cost_usd": after.cost_usd if after else None,
        "before_latency_ms": before.latency_ms if before else None,
        "latency_ms": after.latency_ms if after else None,
    }
