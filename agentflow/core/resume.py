"""What a run needs to be written down, and to go on after it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from agentflow.core import ports
from agentflow.core.errors import InputError, ResumeError
from agentflow.core.explaining.evidence import IN_JOURNAL
from agentflow.core.graph import downstream_of
from agentflow.core.journal import Journal, PastRun, RunJournal, RunRecord
from agentflow.core.recording import Recording
from agentflow.core.reuse import open_reuse
from agentflow.utils.threads import function_pool

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Resumption:
    """A run that goes on.

    Attributes
    ----------
    journal : of the run; None where there is nothing left to do.
    again : steps that have ended but run again, since they or what they need was changed.
    """

    past: PastRun
    journal: RunJournal | None = None
    again: frozenset[str] = frozenset()


async def open_journal() -> Journal:
    """Return the journal of this process, opened."""
    journal = cast("Journal", ports.load("journal")())
    if not journal.is_open:
        await function_pool().run(journal.open)
    return journal


async def begin_run(
    recording: Recording, run_id: str, workflow: Workflow, inputs: Mapping[str, Any], *, fresh: bool
) -> None:
    """Open what a new run needs: the answers that are given again, and its journal."""
    recording.reuse = await open_reuse(workflow.config.cache, fresh=fresh)
    if workflow.config.journal:
        journal = await open_journal()
        recording.journal = journal.begin(_record(run_id, workflow, inputs), recording.result.warnings.append)


def _record(run_id: str, workflow: Workflow, inputs: Mapping[str, Any]) -> RunRecord:
    parts, definition = workflow.identity
    return RunRecord(
        run_id,
        workflow.config.name,
        datetime.now(UTC),
        workflow.plan.step_ids,
        inputs,
        parts.fingerprints,
        definition,
        parts,
    )


async def workflow_of(run_id: str) -> str:
    """Return the name of the workflow that a run of the journal is of.

    Raises
    ------
    RunNotFoundError, JournalError
        There is no such run, or the journal cannot be read.
    """
    journal = await open_journal()
    return await function_pool().run(partial(journal.workflow_of, run_id))


async def prepare_resumption(
    workflow: Workflow, run_id: str, inputs: Mapping[str, Any], *, accept_changes: bool
) -> Resumption:
    """Take a run over; errors as for `Workflow.resume`."""
    journal = await open_journal()
    past = await function_pool().run(partial(journal.past_run, run_id))
    again = _steps_to_run_again(workflow, past, accept_changes=accept_changes)
    past.result._evidence = IN_JOURNAL
    if past.result.status == "ok" and not again:
        return Resumption(past)
    _check_inputs(workflow, past, inputs)
    warnings: list[str] = []
    claim = partial(journal.claim, _record(run_id, workflow, inputs), warnings.append, again=again)
    past, run_journal = await function_pool().run(claim)
    past.result._evidence = IN_JOURNAL
    warnings[:0] = past.result.warnings
    past.result.warnings = warnings  # what the journal has to say from now on goes there
    past.inputs |= inputs
    return Resumption(past, run_journal, again)


def _steps_to_run_again(workflow: Workflow, past: PastRun, *, accept_changes: bool) -> frozenset[str]:
    """Return the steps of the run that were changed since, and those that need them."""
    before, now = past.fingerprints, workflow.identity[0].fingerprints
    changed = [step_id for step_id in now if before.get(step_id) != now[step_id]]
    gone = [step_id for step_id in before if step_id not in now]
    if (changed or gone) and not accept_changes:
        how = {step_id: "changed" if step_id in before else "new" for step_id in changed} | dict.fromkeys(gone, "gone")
        listed = ", ".join(f"{step_id!r} ({word})" for step_id, word in how.items())
        raise ResumeError(
            f"Run {past.result.run_id} cannot go on: the workflow is not the one that it was started with: {listed}.",
            fix="Undo the change, or pass accept_changes=True: what was changed, and what needs it, then runs again.",
            changed=tuple(how),
        )
    steps = workflow.plan.steps
    upstream = {step.step_id: [steps[position].step_id for position in step.upstream] for step in steps}
    return frozenset(changed) | downstream_of(changed, upstream).keys()


def _check_inputs(workflow: Workflow, past: PastRun, given: Mapping[str, Any]) -> None:
    for name in given:
        if name in past.inputs:
            raise InputError(
                f"The input {name!r} of run {past.result.run_id} is in the journal, and stays what it was.",
                fix="Leave it out, or start a new run.",
            )
    missing = {name: why for name, why in past.inputs_not_kept.items() if name not in given}
    if missing:
        told = " ".join(f"{name!r} is not in the journal, since {why}." for name, why in missing.items())
        call = ", ".join(f"{name}=..." for name in missing)
        raise InputError(told, fix=f"Give it again: resume({past.result.run_id!r}, {call}).")
    workflow.plan.check_inputs({**past.inputs, **given})
