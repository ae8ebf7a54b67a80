"""Backtest: a workflow, as it is now, on the recorded inputs of past runs; what its answers were and are.

The cases run as the items of one step that is the workflow itself, so that the journal, limits, interrupts and failures
are those of any run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.errors import BudgetExceeded, InputError, WorkflowError
from agentflow.core.explaining.changes import same
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.journal import PastRun, opened_journal
from agentflow.core.outputs import NotKept
from agentflow.core.quoting.making import make_quote
from agentflow.core.quoting.quote import Quote
from agentflow.core.result import RunResult
from agentflow.core.rows import over_rows
from agentflow.core.step_row import StepRow, StepStatus, total_usd

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.core.workflow import Workflow

STEP = "case"  # the id of the one step that all cases are items of
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One past run of a workflow, or one row of a past run that was mapped over rows.

    Attributes
    ----------
    run_id, item : the past run, and the row of it.
    before : what came out then.
    inputs : what it was given.
    after : what came out now; None where the case was skipped.
    skipped : why it could not run; empty where it ran.
    """

    run_id: str
    item: int | None
    before: RunResult
    inputs: Mapping[str, Any]
    after: RunResult | None = None
    skipped: str = ""

    @property
    def status(self) -> str:
        """How it ended now: `ok`, `failed`, or `skipped` where it could not run."""
        return "skipped" if self.after is None else self.after.status

    def pairs(self) -> Iterator[tuple[str, StepRow | None, StepRow | None]]:
        """Return each step with its row of then and of now; None where it was or is not there."""
        before, after = self.before.rows, self.after.rows if self.after else {}
        for step in dict.fromkeys((*after, *before)):
            yield step, before.get(step), after.get(step)

    def changed(self, step: str) -> bool | None:
        """Return whether the answer of a step is another one; None unless the step ended well then and now."""
        if self.after is None or not {step} <= self.before.outputs.keys() & self.after.outputs.keys():
            return None
        before, after = self.before.rows[step], self.after.rows[step]
        if {before.status, after.status} != {StepStatus.OK} or isinstance(before.output, NotKept):
            return None
        return not same(before.output, after.output)

    @property
    def is_changed(self) -> bool:
        """Whether the answer of any step is another one."""
        return any(self.changed(step) for step, _, _ in self.pairs())


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a workflow gives now for the inputs of past runs, beside what it gave then.

    Attributes
    ----------
    workflow : its name.
    cases : in the order of the past runs.
    result : the run of all cases, as any other; the item of its step is the position of a case among those that ran.
    quote : what the cases were likely to cost, before they ran.
    """

    workflow: str
    cases: tuple[Case, ...]
    result: RunResult
    quote: Quote

    @property
    def ran(self) -> list[Case]:
        """The cases that were not skipped."""
        return [case for case in self.cases if case.after is not None]

    @property
    def changed(self) -> list[Case]:
        """The cases in which an answer is another one, of those that went well then and now."""
        return [case for case in self.ran if case.is_changed]

    @property
    def fixed(self) -> list[Case]:
        """The cases that failed then and end well now."""
        return [case for case in self.ran if (case.before.status, case.status) == ("failed", "ok")]

    @property
    def broken(self) -> list[Case]:
        """The cases that ended well then and fail now."""
        return [case for case in self.ran if (case.before.status, case.status) == ("ok", "failed")]

    @property
    def before_cost_usd(self) -> Decimal | None:
        """What the cases that ran cost then; None where a price is not known."""
        return total_usd(case.before.cost_usd for case in self.ran)

    @property
    def cost_usd(self) -> Decimal | None:
        """What they cost now; None where a price is not known."""
        return total_usd(case.after.cost_usd for case in self.ran if case.after)

    @property
    def before_bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of what they asked then, reused answers left out; None where a price is not known."""
        return total_usd(case.before.bedrock_usd for case in self.ran)

    @property
    def bedrock_usd(self) -> Decimal | None:
        """Bedrock's list price of what they asked now."""
        return total_usd(case.after.bedrock_usd for case in self.ran if case.after)

    @property
    def before_latency_ms(self) -> float | None:
        """The median time of a case then; None where none ran."""
        return _median(case.before for case in self.ran)

    @property
    def latency_ms(self) -> float | None:
        """The median time of a case now; None where none ran."""
        return _median(case.after for case in self.ran if case.after)

    def records(self) -> list[Mapping[str, Any]]:
        """Return one plain dictionary a case and step, with the columns of `to_frame()`."""
        return [_record(case, *pair) for case in self.cases for pair in case.pairs()]

    def to_frame(self) -> pd.DataFrame:
        """Return the backtest as a table.

        Returns
        -------
        DataFrame, one row a case and step
            `run_id, item` (of the past run)`, step, before_status, status, changed` (whether the answer is another one;
            `<NA>` unless the step ended well then and now)`, before, after` (the answers)`, before_cost_usd, cost_usd,
            before_latency_ms, latency_ms`. The status of a case that could not run is `skipped`.
        """
        frame: pd.DataFrame = ports.load("backtest_frame")(self)
        return frame

    def __repr__(self) -> str:
        text: str = ports.load("backtest_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("backtest_html")(self)
        return html


def backtest(workflow: Workflow, runs: Any, *, sample: int | None, seed: int) -> Backtest:
    """Run a workflow on the inputs of past runs; see `Workflow.backtest`."""
    if sample is not None and (not isinstance(sample, int) or sample < 1):
        raise InputError(f"sample={sample!r} is no number of cases.", fix="Give 1 or more, or nothing for all of them.")
    workflow.validate()
    cases = [case for past in _past_runs(runs) for case in _cases(workflow, past)]
    if sample is not None and sample < len(cases):
        chosen = random.Random(seed).sample(range(len(cases)), sample)  # noqa: S311 - a sample, no secret
        cases = [cases[position] for position in sorted(chosen)]
    rows = [case.inputs for case in cases if not case.skipped]
    if not rows:
        told = "; ".join(dict.fromkeys(case.skipped for case in cases[:_MOST_TOLD])) or "they have no rows"
        raise InputError(f"No case of these runs can run: {told}.", fix="Give runs whose inputs the journal has.")
    quote = make_quote(workflow, rows)
    result = _run(workflow, rows)
    ran = iter(result.rows[STEP].items or ())
    done = [case if case.skipped else replace(case, after=_outcome(next(ran))) for case in cases]
    return Backtest(workflow.config.name, tuple(done), result, quote)


def _run(workflow: Workflow, rows: Sequence[Mapping[str, Any]]) -> RunResult:
    """Run all cases at the same time, as far as the limits allow; each may take as long as a run."""
    config = workflow.config
    longest = config.timeout_seconds * len(rows)
    around = over_rows(workflow, f"backtest of {config.name}", STEP, timeout_seconds=longest)
    try:
        return around.run(row=rows)
    except WorkflowError as error:  # cases that fail are what a backtest is to find
        if isinstance(error, BudgetExceeded):
            raise
        return error.result


def _outcome(row: StepRow) -> RunResult:
    return row.inner or RunResult(status="failed", error=row.error if isinstance(row.error, Exception) else None)


def _past_runs(runs: Any) -> list[PastRun]:
    """Return the past runs that ids, results, or a DataFrame of `agentflow.runs()` name, each once."""
    if hasattr(runs, "columns"):
        if "run_id" not in runs.columns:
            raise InputError("The DataFrame has no column 'run_id'.", fix="Give `agentflow.runs()`, or a part of it.")
        runs = runs["run_id"]
    found = [_past_run(run) for run in ([runs] if isinstance(runs, str | RunResult) else runs)]
    if not found:
        raise InputError("There are no runs to test with.", fix="Give run ids, results, or `agentflow.runs()`.")
    return list({past.result.run_id: past for past in found}.values())


def _past_run(run: Any) -> PastRun:
    if isinstance(run, RunResult):
        return run._evidence.past_run(run) if run._evidence else opened_journal().past_run(run.run_id)
    if not isinstance(run, str):
        raise InputError(f"{run!r} is no run.", fix="Give run ids, results, or `agentflow.runs()`.")
    return opened_journal().past_run(run)


def _cases(workflow: Workflow, past: PastRun) -> Iterator[Case]:
    """Return the cases of a past run: the rows that the workflow was mapped over in it, or else the run itself."""
    name, result = workflow.config.name, past.result
    steps = [step_id for step_id, parts in past.parts.items() if parts.steps and parts.name == name]
    if result.workflow == name or not steps:
        lost = {lacking: NotKept(why) for lacking, why in past.inputs_not_kept.items()}
        yield _case(workflow, result.run_id, None, result, {**past.inputs, **lost})
        return
    inputs = PastInputs(past)
    for step_id in steps:
        row = result.rows[step_id]
        for part in (row,) if row.items is None else row.items:
            given: Any = inputs.of(step_id, part.item)
            if past.parts[step_id].kind == "rows":
                given = given["row"]
            yield _case(workflow, result.run_id, part.item, part.inner or RunResult(status="interrupted"), given)


def _case(workflow: Workflow, run_id: str, item: int | None, before: RunResult, inputs: Any) -> Case:
    where = f"run {run_id}" if item is None else f"row {item} of run {run_id}"
    if isinstance(inputs, NotKept):
        return Case(run_id, item, before, {}, skipped=f"the inputs of {where} are not known: {inputs.reason}")
    takes = workflow.inputs
    problems = [f"lacks {name!r}" for name, required in takes.items() if required and name not in inputs]
    problems += [f"has {name!r}" for name in inputs if name not in takes]
    if problems:
        raise InputError(
            f"{where[0].upper()}{where[1:]} has other inputs than workflow {workflow.config.name!r} takes "
            f"({', '.join(takes) or 'none'}): it {' and '.join(problems)}.",
            fix="Give runs of this workflow, or of one with the same inputs.",
        )
    for name, value in inputs.items():
        if isinstance(value, NotKept):
            return Case(run_id, item, before, {}, skipped=f"input {name!r} of {where} was not kept: {value.reason}")
    return Case(run_id, item, before, inputs)


def _record(case: Case, step: str, before: StepRow | None, after: StepRow | None) -> Mapping[str, Any]:
    return {
        "run_id": case.run_id,
        "item": case.item,
        "step": step,
        "before_status": before.status.value if before else None,
        "status": StepStatus.SKIPPED.value if case.skipped else after.status.value if after else None,
        "changed": case.changed(step),
        "before": before.output if before else None,
        "after": after.output if after else None,
        "before_cost_usd": before.cost_usd if before else None,
        "cost_usd": after.cost_usd if after else None,
        "before_latency_ms": before.latency_ms if before else None,
        "latency_ms": after.latency_ms if after else None,
    }


def _median(results: Iterable[RunResult]) -> float | None:
    times = [result.duration_ms for result in results]
    return median(times) if times else None
