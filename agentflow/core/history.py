"""The runs that the journal has: list them, look at one, go on with one, delete old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from agentflow.core import ports
from agentflow.core.definition.workflows import from_definition_json
from agentflow.core.errors import ResumeError, RunNotFoundError, nearest
from agentflow.core.explaining.evidence import IN_JOURNAL
from agentflow.core.journal import opened_journal
from agentflow.core.result import RunResult
from agentflow.core.resume import open_journal
from agentflow.core.run_filter import RunFilter
from agentflow.utils.threads import function_pool

if TYPE_CHECKING:
    import pandas as pd

    Runs: TypeAlias = pd.DataFrame  # `agentflow.views.history.Runs`, which core may not import


def runs(
    *,
    workflow: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    since: datetime | date | timedelta | str | None = None,
    limit: int | None = None,
) -> Runs:
    """Return the runs of the journal, newest first, those of other processes among them.

    Parameters
    ----------
    workflow : those of a workflow, or of several, by name.
    status : those that are `ok`, `failed`, `interrupted`, `budget_exceeded` or `running`; one word or several.
    since : those that were started then or later: a moment (without a zone: of this machine's), a day, ``2026-11-01``,
        or how long ago, as a `timedelta` or as ``30min``, ``24h``, ``7d``.
    limit : at most so many, the newest.

    Returns
    -------
    DataFrame, one row a run
        `run_id, workflow, status, started_at` (UTC)`, duration_ms, steps, finished_steps, attempts, input_tokens,
        output_tokens, cost_usd, bedrock_usd, error, heartbeat_at` (UTC, every 5 s while it runs)`, memory_mb, pid,
        host`. A run whose process is gone counts as `interrupted`. Unknown is `<NA>`. In a notebook it shows as a
        table with the cost by day and by workflow; `.cost_by("day")` and `.plot_cost("workflow")` give these.

    Raises
    ------
    InputError
        A filter is none.
    JournalError
        The journal cannot be read.
    """
    wanted = RunFilter(workflow, status, since, limit)
    frame: Runs = ports.load("runs_frame")(wanted.of(opened_journal().runs()), wanted.said)
    return frame


def get_run(run_id: str) -> RunResult:
    """Return a run of the journal as the result that it is, or has been so far: it shows like a fresh one.

    Raises
    ------
    RunNotFoundError
        There is no such run.
    JournalError
        The journal cannot be read.
    """
    result = opened_journal().past_run(run_id).result
    result._evidence = IN_JOURNAL
    return result


LAST = "last"  # in the place of a run's id: the newest run


def known_run(run_id: str) -> Mapping[str, Any]:
    """Return what the journal lists of a run; `last` is the newest.

    Raises
    ------
    RunNotFoundError
        There is no such run.
    JournalError
        The journal cannot be read.
    """
    records = opened_journal().runs()
    if run_id == LAST and records:
        return records[0]
    for record in records:
        if record["run_id"] == run_id:
            return record
    known = [str(record["run_id"]) for record in records]
    none = f"The journal has no run yet, and so no {run_id!r}."
    found = f"There is no run {run_id!r}{nearest(run_id, known)}." if known else none
    raise RunNotFoundError(found, fix="agentflow.runs() lists them; it reads the folder that AGENTFLOW_HOME names.")


def prune_runs(*, older_than_days: float | None = None, run_ids: Sequence[str] | None = None) -> int:
    """Delete runs that have ended, with their inputs, outputs and answers, and return how many.

    Parameters
    ----------
    older_than_days : the ones that were started before.
    run_ids : these; with both, those of these that are older.

    Raises
    ------
    ValueError
        Neither was given.
    JournalError
        The journal cannot be written.
    """
    if older_than_days is None and run_ids is None:
        message = "prune_runs() needs older_than_days= or run_ids=: it does not delete everything by itself."
        raise ValueError(message)
    older_than = None if older_than_days is None else datetime.now(UTC) - timedelta(days=older_than_days)
    return opened_journal().prune(older_than=older_than, run_ids=run_ids)


def cache() -> pd.DataFrame:
    """Return the answers that are given again where `cache=True`, the one that was given last first.

    Returns
    -------
    DataFrame, one row an answer
        `key, model, place` (where it was asked)`, prompt` (how it begins)`, kept_at, used_at` (UTC)`, size_bytes,
        hits, saved_usd` (at Bedrock's list price; `<NA>` where that is not known)`, run_id, step, item` (which paid
        for it).

    Raises
    ------
    JournalError
        The store cannot be read.
    """
    frame: pd.DataFrame = ports.load("answers_frame")(opened_journal().kept_answers())
    return frame


def prune_cache(*, unused_days: float | None = None, keys: Sequence[str] | None = None) -> int:
    """Delete answers that are given again, and return how many.

    Parameters
    ----------
    unused_days : the ones that were not given for so long.
    keys : these, as `agentflow.cache()` lists them; with both, those of these that were not given for so long.

    Raises
    ------
    ValueError
        Neither was given.
    JournalError
        The store cannot be written.
    """
    if unused_days is None and keys is None:
        message = "prune_cache() needs unused_days= or keys=: it does not delete everything by itself."
        raise ValueError(message)
    unused_for = None if unused_days is None else timedelta(days=unused_days)
    return opened_journal().prune_answers(unused_for=unused_for, keys=keys)


async def resume(run_id: str, /, **inputs: Any) -> RunResult:
    """Go on with a run that was stopped, where its workflow holds prompts only: it is built from the journal.

    A workflow with Python functions cannot be: build it and call `await workflow.resume(run_id)`, which has the same
    errors.

    Raises
    ------
    ResumeError
        The workflow cannot be built from the journal, or the run is still going on.
    RunNotFoundError, InputError, WorkflowError, JournalError
        As for `Workflow.resume`.
    """
    journal = await open_journal()
    past = await function_pool().run(lambda: journal.past_run(run_id))
    if past.definition is None:
        raise ResumeError(
            f"Run {run_id} cannot be built from the journal: its workflow {past.result.workflow!r} holds Python.",
            fix="Build the workflow as it was, and call `await workflow.resume(run_id)`.",
        )
    return await from_definition_json(past.definition).resume(run_id, **inputs)
