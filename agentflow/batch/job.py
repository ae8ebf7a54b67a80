"""A job: a workflow over the rows of a source, chunk by chunk, each chunk a run of the engine that maps over its rows.

What a row gives is written into the job's folder; a run that was cut short is resumed from the journal, so no answered
call is paid again. The next chunk begins while the last rows of the one before are on their way.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

from agentflow.batch import lock
from agentflow.batch.binding import Binding, Row, content_of
from agentflow.batch.folder import JobFolder, PartInfo
from agentflow.batch.known import Known
from agentflow.batch.manifest import ChunkRun, digest_of
from agentflow.batch.naming import renamed
from agentflow.batch.opening import Opened
from agentflow.batch.outputs import ABOUT, Record, kinds_of, record_of, root_of
from agentflow.batch.progress import Progress
from agentflow.batch.quoting import connections_of
from agentflow.batch.wanted import Wanted
from agentflow.batch.world import GOES_ON, JobStopped, Watch
from agentflow.core.budget import dollars, spent_of
from agentflow.core.errors import (
    AgentFlowError,
    BudgetExceeded,
    PastError,
    RunNotFoundError,
    UnknownPriceError,
    WorkflowError,
)
from agentflow.core.events import Event, NestedEvent, RunStarted, StepFailed, StepFinished
from agentflow.core.gate import Gate
from agentflow.core.journal import opened_journal
from agentflow.core.result import RunResult
from agentflow.core.rows import ROWS_OF, over_rows, prepare_rows
from agentflow.core.step_row import StepStatus
from agentflow.utils.threads import function_pool

if TYPE_CHECKING:
    import pyarrow as pa

    from agentflow.core.workflow import Workflow

STEP = "rows"  # whose items the rows are
ROWS_A_CONNECTION = 2  # at the same time, where nobody says: no connection idles, and rows end soon after they begin
ROWS_AT_ONCE = 64  # likewise, of a workflow that asks no model
CHECKPOINT_SECONDS = 30.0  # how often the rows of a chunk that have ended are written, before all of them have
CHUNKS_AT_ONCE = 2
STOP_SECONDS = 5.0  # how long requests on their way may take to end, where the world has stopped the job
FLUSH_SECONDS = 5.0  # how long a chunk waits for the journal, whose events stay in memory until the disk has them
_NO_TIMEOUT = 10 * 365 * 86_400.0  # each row has the workflow's own

Ending = Literal["done", "budget", "stopped"]


@dataclass(slots=True)
class Outcome:
    """How a job ended.

    Attributes
    ----------
    rows, done, failed : how many there are, have ended, and have failed among those.
    spent_usd : what the job has cost since it was begun, at Bedrock's list price.
    ending : whether all rows have ended, or why not.
    error : what stopped it.
    """

    rows: int
    done: int
    failed: int
    spent_usd: Decimal
    ending: Ending
    error: BaseException | None = None

    @property
    def exit_code(self) -> int:
        """The code that the command ends with; `agentflow batch --help` says what each is."""
        return {"done": 3 if self.failed else 0, "budget": 4, "stopped": 5}[self.ending]

    def sentence(self, out: object) -> str:
        """Return how the job ended, in a sentence or two."""
        failed = f", {self.failed:,} of them failed" if self.failed else ""
        text = f"{self.done:,} of {self.rows:,} rows are done{failed}; ${dollars(self.spent_usd)} spent; see {out}"
        return f"{text}. {self.error}" if self.error else text


@dataclass(slots=True)
class _Chunk:
    """A chunk that is worked at.

    Attributes
    ----------
    content : as in `PartInfo`.
    known : position -> what is known of its row.
    positions : those of the rows that its run asks for.
    open_rows : how many of these have not ended.
    counted : the positions of rows that were known from the beginning, and are counted in the progress.
    """

    number: int
    table: pa.Table
    rows: list[Row]
    keys: list[str]
    content: str
    known: dict[int, Record] = field(default_factory=dict)
    positions: list[int] = field(default_factory=list)
    open_rows: int = 0
    counted: set[int] = field(default_factory=set)
    run_id: str = ""
    result: RunResult | None = None
    written_at: float = field(default_factory=time.monotonic)

    def unknown(self) -> list[int]:
        """Return the positions of the rows of which nothing is known."""
        return [position for position in range(len(self.rows)) if position not in self.known]


class Job:
    """One command's work at a job.

    Parameters
    ----------
    chunks : the rows, from the first one on.
    opened : what is known of it.
    names : column of the input -> its name in the output, where that is another one.
    """

    def __init__(
        self,
        workflow: Workflow,
        *,
        chunks: Iterator[pa.Table],
        binding: Binding,
        folder: JobFolder,
        opened: Opened,
        wanted: Wanted,
        progress: Progress,
        names: Mapping[str, str],
    ) -> None:
        self._chunks = enumerate(chunks)
        self._binding = binding
        self._folder = folder
        self._opened = opened
        self._manifest = opened.manifest
        self._wanted = wanted
        self._progress = progress
        self._names = names
        self._watch = Watch(wanted.max_failures)
        self._active: dict[str, _Chunk] = {}  # by the id of its run
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._writing = threading.Lock()
        self._doubtful: list[tuple[_Chunk, RunResult]] = []  # closed, with failures that may begin an outage
        self._error: BaseException | None = None
        self._ending: Ending = "done"
        self._stopping: asyncio.Task[None] | None = None
        limit = wanted.max_concurrency or ROWS_A_CONNECTION * max(connections_of(workflow), default=0) or ROWS_AT_ONCE
        self._gate = Gate(limit)  # another limit may come from `agentflow set`
        self._around = over_rows(
            workflow,
            ROWS_OF + workflow.config.name,
            STEP,
            gate=self._gate,
            tap=self._take,
            stays_failed=self._stays_failed,
            with_readers=True,
            timeout_seconds=_NO_TIMEOUT,
            max_concurrency=limit,
            budget_usd=None,
            journal=True,
        )

    async def execute(self) -> Outcome:
        """Work until all rows have ended, or something stops it; what has ended is written either way."""
        checkpoints = asyncio.create_task(self._checkpoint())
        try:
            while self._ending == "done" and (chunk := await self._next()) is not None:
                task = asyncio.create_task(self._work(chunk))
                self._tasks.add(task)
                task.add_done_callback(lambda _: self._changed.set())
                while self._ending == "done" and not self._has_room():
                    await self._change()
            while self._tasks:
                await self._change()
        finally:
            checkpoints.cancel()
            if self._stopping is not None:
                self._stopping.cancel()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            try:
                if self._watch.verdict is not None:
                    await self._take_back()
                await self._save()
            except JobStopped as error:  # the output on S3 cannot be written: the journal has what is not there
                self._ending, self._error = "stopped", self._error or error
        if self._ending == "done":
            await function_pool().run(partial(self._folder.tidy_aside, self._manifest.digest))
        progress, spent_usd = self._progress, self._manifest.spent_usd()
        return Outcome(self._opened.rows, progress.done, progress.failed, spent_usd, self._ending, self._error)

    async def _next(self) -> _Chunk | None:
        """Return the next chunk that has rows to be asked."""
        return await function_pool().run(self._next_unfinished)

    def _next_unfinished(self) -> _Chunk | None:
        manifest, retry, earlier = self._manifest, self._wanted.retry_failed, self._opened.known
        for number, table in self._chunks:
            info = self._folder.info(number)
            is_current = info is not None and info.digest == manifest.digest
            if info is not None and is_current and info.complete and not (retry and info.failed):
                self._progress.skip(len(info.keys), info.failed)
                for key in info.keys if earlier else ():
                    earlier.take(key)
                continue
            rows = self._binding.rows(table)
            named = renamed(table, self._names)
            chunk = _Chunk(number, named, rows, self._binding.keys(rows), content_of(named, self._binding))
            here = Known(self._folder.records(number, manifest.kinds) if is_current else (), without_failed=retry)
            for position, key in enumerate(chunk.keys):
                records = here.take(key), earlier.take(key)  # from both: one answer is not to be two rows' own
                if record := records[0] or records[1]:
                    chunk.known[position] = record
            return chunk
        return None

    def _has_room(self) -> bool:
        """Return whether the next chunk may begin."""
        if len(self._tasks) >= CHUNKS_AT_ONCE:
            return False
        return not self._tasks or (
            bool(self._active) and sum(each.open_rows for each in self._active.values()) < self._gate.limit
        )

    async def _change(self) -> None:
        """Wait for a row or a chunk to end, and take in what that means."""
        await self._changed.wait()
        self._changed.clear()
        if self._watch.verdict is not None and self._ending == "done":
            self._ending, self._error = "stopped", self._watch.verdict
            self._stopping = asyncio.create_task(self._stop_soon())
            self._progress.skip(-self._watch.retracted, -self._watch.retracted)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, BudgetExceeded):
                self._ending, self._error = "budget", self._error or _of_job(error)
            elif isinstance(error, JobStopped) and self._ending == "done":
                self._ending, self._error = "stopped", error
                self._stop()
            elif error is not None and not (self._ending == "stopped" and isinstance(error, AgentFlowError)):
                raise error

    async def _stop_soon(self) -> None:
        """Let nothing more begin, and end what is at work once its requests had time: one given up counts as paid."""
        await self._gate.close(STOP_SECONDS)
        self._stop()

    def _stop(self) -> None:
        """End what is at work."""
        for task in self._tasks:
            task.cancel()

    async def _work(self, chunk: _Chunk) -> None:
        """Have the rows of a chunk asked that are not known, and write what they gave."""
        try:
            if not chunk.unknown():
                self._skip_known(chunk)
            elif not await self._resume(chunk):
                await self._begin(chunk)
        except BudgetExceeded:
            raise
        except WorkflowError:  # rows failed, which their records say
            pass
        except asyncio.CancelledError:
            if chunk.result is not None and chunk.result.stopped_by:
                raise JobStopped(f"The job was {chunk.result.how_interrupted}.", fix=GOES_ON) from None
            raise
        finally:
            await self._close_in_any_case(chunk)

    def _skip_known(self, chunk: _Chunk) -> None:
        """Count the rows that are known and that the chunk's run does not ask for."""
        skipped = chunk.known.keys() - set(chunk.positions) - chunk.counted
        chunk.counted |= skipped
        self._progress.skip(len(skipped), sum(chunk.known[at]["status"] != "ok" for at in skipped))

    async def _resume(self, chunk: _Chunk) -> bool:
        """Go on with a run that was cut short, or whose failed rows are to run again; return whether there is one.

        Rows stay as they are that are known to have failed.
        """
        note = self._manifest.runs.get(chunk.number)
        positions = note.of(chunk.keys) if note else None
        if note is None or positions is None:
            return False
        chunk.positions, chunk.run_id, chunk.open_rows = positions, note.run_id, len(positions)
        note.is_closed, note.digest = False, self._manifest.digest
        self._active[note.run_id] = chunk
        self._skip_known(chunk)
        try:
            result = await self._around.resume(note.run_id, accept_changes=True)
        except RunNotFoundError:  # it was deleted, or this is another machine
            del self._active[note.run_id]
            return False
        if chunk.result is None:  # it had ended well, and was not even begun again
            chunk.result = result
            self._progress.skip(len(positions), 0)
        return True

    async def _begin(self, chunk: _Chunk) -> None:
        """Ask for the rows of which nothing is known."""
        self._manifest.drop_run(chunk.number)
        chunk.positions = chunk.unknown()
        self._skip_known(chunk)
        if not chunk.positions:
            return
        chunk.open_rows = len(chunk.positions)
        run = prepare_rows(self._around, [chunk.rows[position] for position in chunk.positions])
        chunk.run_id, chunk.result = run.run_id, run.result
        whole = len(chunk.positions) == len(chunk.rows)
        keys = digest_of([chunk.keys[position] for position in chunk.positions])
        self._manifest.runs[chunk.number] = ChunkRun(
            run.run_id, None if whole else chunk.positions, keys, digest=self._manifest.digest
        )
        await self._save()
        self._active[run.run_id] = chunk
        await run.execute()

    async def _close_in_any_case(self, chunk: _Chunk) -> None:
        """Write what a chunk's rows gave, also where its task is cancelled meanwhile."""
        closing = asyncio.create_task(self._close(chunk))
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _close(self, chunk: _Chunk) -> None:
        """Write what a chunk's rows gave, and what that cost."""
        self._active.pop(chunk.run_id, None)
        self._take_over(chunk)
        if (note := self._manifest.runs.get(chunk.number)) and len(chunk.known) == len(chunk.rows):
            note.is_closed = True
        if not self._watch.in_doubt:
            self._doubtful.clear()
        elif chunk.result is not None:
            self._doubtful.append((chunk, chunk.result))
        chunk.result = None
        await function_pool().run(partial(self._write, chunk))
        await self._save()
        await function_pool().run(partial(opened_journal().flush, FLUSH_SECONDS))

    async def _take_back(self) -> None:
        """Forget the failures of chunks that were closed before it was clear that an outage had begun."""
        for chunk, result in self._doubtful:
            chunk.result = result
            self._take_over(chunk)
            if note := self._manifest.runs.get(chunk.number):
                note.is_closed = len(chunk.known) == len(chunk.rows)
            await function_pool().run(partial(self._write, chunk))

    def _take_over(self, chunk: _Chunk, *, while_unclear: bool = True) -> None:
        """Take the records of the rows that have ended, but of none that only the world stopped, and what they cost.

        Parameters
        ----------
        while_unclear : take failures too that may turn out to be the beginning of an outage.
        """
        if (result := chunk.result) is None:
            return
        step = result.rows.get(STEP)
        for position, row in zip(chunk.positions, (step.items if step else None) or (), strict=False):
            cause = root_of(row.error) if row.status is StepStatus.FAILED and row.error else None
            if isinstance(cause, PastError):  # it has not run again: what was written of it holds
                continue
            if cause and not while_unclear and self._watch.is_unclear(cause):
                continue
            if row.status is StepStatus.OK or (cause and not self._watch.is_of_world(cause)):
                chunk.known[position] = record_of(row, result.run_id)
            elif cause:
                chunk.known.pop(position, None)
        if note := self._manifest.runs.get(chunk.number):
            with suppress(UnknownPriceError):  # without a price there is no budget either
                note.spent_usd = str(spent_of(result))

    def _write(self, chunk: _Chunk) -> None:
        """Write a chunk's part, as far as its rows have ended. Blocks."""
        with self._writing:  # all of it: what is known may shrink while an earlier part is still being written
            chunk.written_at = time.monotonic()
            known = dict(chunk.known)
            if not known:
                self._folder.drop_part(chunk.number)  # an outage stopped those of a checkpoint
                return
            positions = sorted(known)
            records = [known[position] for position in positions]
            kinds = kinds_of(records, self._manifest.kinds or dict(ABOUT))
            if kinds != self._manifest.kinds:
                self._manifest.kinds = kinds
                self._folder.conform(self._manifest)
            complete = len(positions) == len(chunk.rows)
            info = PartInfo(
                keys=[chunk.keys[position] for position in positions],
                of=digest_of(chunk.keys),
                content=chunk.content,
                digest=self._manifest.digest,
                complete=complete,
                failed=sum(record["status"] != "ok" for record in records),
            )
            table = chunk.table if complete else chunk.table.take(positions)
            self._folder.write_part(chunk.number, table, records, info, self._manifest.kinds)

    async def _save(self) -> None:
        """Write the manifest."""
        text = self._manifest.to_json()  # here: it changes on this thread
        await function_pool().run(partial(self._folder.write_manifest, text))

    async def _checkpoint(self) -> None:
        """Write the rows that have ended of chunks that take long."""
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS / 10)
            lock.keep(self._folder.path)
            try:
                for chunk in list(self._active.values()):
                    if time.monotonic() - chunk.written_at > CHECKPOINT_SECONDS:
                        self._take_over(chunk, while_unclear=False)
                        await function_pool().run(partial(self._write, chunk))
                        await self._save()
            except JobStopped as error:
                self._watch.stop(error)
                self._changed.set()

    def _take(self, event: Event, result: RunResult) -> None:
        """Count what happens; called on any thread."""
        match event:
            case NestedEvent():
                self._progress.take(event)
            case StepFinished() | StepFailed() if event.item is not None:
                self._ended(event, self._active.get(result.run_id))
            case RunStarted(resumed=True) if chunk := self._active.get(result.run_id):
                chunk.result = result
                step = result.rows.get(STEP)
                ended = sum(row.status is StepStatus.OK for row in (step.items if step else None) or ())
                failed = sum(self._stays_failed(chunk.run_id, item) for item in range(len(chunk.positions)))
                chunk.open_rows -= ended + failed
                self._progress.skip(ended + failed, failed)

    def _stays_failed(self, run_id: str, item: int) -> bool:
        """Return whether a row of a run that goes on is known to have failed, and is not to be asked again."""
        chunk = self._active[run_id]
        record = chunk.known.get(chunk.positions[item])
        return record is not None and record["status"] != "ok"

    def _ended(self, event: StepFinished | StepFailed, chunk: _Chunk | None) -> None:
        """Count a row that has ended; rows end on the event loop's thread."""
        error = root_of(event.error) if isinstance(event, StepFailed) else None
        self._watch.ended(error)
        if chunk is not None:
            chunk.open_rows -= 1
        if error is None or not self._watch.is_of_world(error):
            self._progress.ended(failed=error is not None)
        self._changed.set()


def _of_job(error: BudgetExceeded) -> BudgetExceeded:
    """Return the error of a chunk's run as one of the job, which goes on by itself."""
    enough = dollars(error.spent_usd + error.next_usd)
    of_job = BudgetExceeded(
        error.what,
        fix=f"{GOES_ON[:-1]}, with a budget of at least ${enough} (--budget, budget_usd).",
        limit_usd=error.limit_usd,
        spent_usd=error.spent_usd,
        next_usd=error.next_usd,
    )
    of_job.result = error.result
    return of_job
