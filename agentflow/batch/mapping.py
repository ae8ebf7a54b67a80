"""`workflow.map(...)` and `agentflow batch`: a workflow over the rows of a table, as a job that can be gone on with."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.batch.binding import Binding, bind
from agentflow.batch.folder import JobFolder
from agentflow.batch.job import Job, Outcome
from agentflow.batch.lock import locked
from agentflow.batch.manifest import digest_of
from agentflow.batch.naming import new_names
from agentflow.batch.opening import Opened, open_job, open_manifest
from agentflow.batch.progress import Progress
from agentflow.batch.quoting import tell_quote
from agentflow.batch.remote import local_copy, mirrored
from agentflow.batch.source import INDEX, Source, check_keepable, open_source
from agentflow.batch.wanted import Wanted
from agentflow.batch.world import JobInterrupted
from agentflow.core import portal
from agentflow.core.budget import as_limit, budget
from agentflow.core.errors import InputError, RunInterrupted
from agentflow.core.result import RunResult
from agentflow.models.s3 import is_s3
from agentflow.utils.env import home_folder, suggest

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.core.workflow import Workflow


def map_rows(workflow: Workflow, rows: Any, **wanted: Any) -> pd.DataFrame:
    """Run a workflow for each row of a table, and return the rows with what they gave; see `Workflow.map`."""
    import pandas as pd

    outcome, folder = run_job(workflow, rows, Wanted(**wanted))
    if outcome.error is not None:
        raise outcome.error
    return pd.read_parquet(folder)


def run_job(workflow: Workflow, rows: Any, wanted: Wanted) -> tuple[Outcome, Path]:
    """Work at a job until all rows have ended or something stops it, and return how it ended and where the parts lie.

    Raises
    ------
    DefinitionError, InputError, ResumeError, JournalError
        Something is wrong; nothing was called.
    RunInterrupted
        Ctrl-C or the kernel's stop button; what has ended is kept.
    """
    _check_pyarrow()
    workflow.validate()
    if wanted.budget_usd is not None:
        as_limit(wanted.budget_usd)  # raises where it is none
    with _settled_objects(), _system_memory(), local_copy(rows) as table:
        source = open_source(table)
        names = [name for name in source.schema.names if name != INDEX]
        if not names:
            raise InputError(f"{source.label} has no columns.", fix="Give a table with one column or more.")
        check_keepable(source)
        binding = bind(workflow.inputs, names, wanted.columns or {}, wanted.constants or {}, is_text=source.is_text)
        new = new_names(workflow.steps, source.schema)
        out = _out(workflow, wanted, binding)
        with mirrored(out) as (path, on_written), locked(path):
            folder = JobFolder(path, on_written)
            manifest = open_manifest(workflow, folder, accept_changes=wanted.accept_changes)
            path.mkdir(parents=True, exist_ok=True)
            opened = open_job(source, binding, folder, manifest, names=new, retry_failed=wanted.retry_failed)
            outcome = _work(
                workflow, source=source, binding=binding, folder=folder, opened=opened, wanted=wanted, names=new
            )
            return outcome, path


def _work(
    workflow: Workflow,
    *,
    source: Source,
    binding: Binding,
    folder: JobFolder,
    opened: Opened,
    wanted: Wanted,
    names: Mapping[str, str],
) -> Outcome:
    if wanted.shown and opened.to_ask:
        tell_quote(workflow, opened, wanted.max_concurrency)
    progress = Progress(opened.rows, shown=wanted.shown and opened.to_ask > 0)
    job = Job(
        workflow,
        chunks=source.chunks(),
        binding=binding,
        folder=folder,
        opened=opened,
        wanted=wanted,
        progress=progress,
        names=names,
    )
    outcomes: list[Outcome] = []

    async def execute() -> RunResult:
        outcomes.append(await job.execute())
        return RunResult()

    try:
        with _budget(wanted.budget_usd, opened.spent_usd or Decimal(0)):
            portal.run(execute, RunResult())
    except RunInterrupted as stopped:
        raise JobInterrupted(
            stopped.result,
            f"The job was interrupted; {progress.done:,} of {opened.rows:,} rows are done and kept: "
            "the same command goes on.",
        ) from None
    finally:
        progress.close()
    return outcomes[0]


@contextmanager
def _budget(limit_usd: Decimal | float | str | None, spent_usd: Decimal) -> Iterator[None]:
    """Limit what the job costs, with what it has cost before."""
    if limit_usd is None:
        yield
        return
    with budget(limit_usd) as limit:
        limit.spent_usd = spent_usd
        yield


@contextmanager
def _system_memory() -> Iterator[None]:
    """Have Arrow take its memory from the system: its own pool keeps a little of what each part took, for good.

    What writes Parquet takes it from the pool that the library was loaded with, whatever is said later.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@contextmanager
def _settled_objects() -> Iterator[None]:
    """Have the garbage collector not look through what was there before, each time that it looks for new garbage."""
    if gc.get_freeze_count():  # somebody else's, which `unfreeze` would end
        yield
        return
    gc.freeze()  # without a collection before: in a large process that takes seconds
    try:
        yield
    finally:
        gc.unfreeze()


def _out(workflow: Workflow, wanted: Wanted, binding: Binding) -> Path | str:
    """Return where the output goes: where the caller says, or a place in the store that the same call finds again.

    That place is the workflow's own, whatever the rows are: what it knows of rows that a table does not have stays for
    the next one.
    """
    if wanted.out is not None:
        return place_of(wanted.out)
    return home_folder() / "jobs" / digest_of([workflow.config.name, sorted(binding.columns.items())])


def place_of(out: Path | str) -> Path | str:
    """Return the place that is meant by an `out`."""
    place = str(out).replace("{date}", date.today().isoformat())  # noqa: DTZ011 - the user's own day
    return place if is_s3(place) else Path(place).expanduser()


def _check_pyarrow() -> None:
    suggest("ARROW_DEFAULT_MEMORY_POOL", "system")  # see `_system_memory`; heeded where it is not loaded yet
    try:
        import_module("pyarrow")
    except ImportError as error:
        raise InputError(
            "Jobs over rows need the package pyarrow.", fix="Run: pip install 'agentflow-bedrock[dataframes]'."
        ) from error
