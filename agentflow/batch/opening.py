"""What happens before a job asks anything: all rows are read once, checked, and compared with what the folder has."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from agentflow.batch.binding import Binding, Row, check, content_of, numbered
from agentflow.batch.folder import JobFolder, PartInfo
from agentflow.batch.known import Known
from agentflow.batch.manifest import ChunkRun, Manifest, digest_of
from agentflow.batch.naming import renamed
from agentflow.batch.outputs import Record, record_of
from agentflow.batch.source import Source
from agentflow.core.budget import spent_of
from agentflow.core.errors import InputError, ResumeError, RunNotFoundError
from agentflow.core.journal import Journal, PastRun, opened_journal
from agentflow.core.step_row import StepRow, StepStatus

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

SAMPLE_ROWS = 200  # that a quote rests on


@dataclass(slots=True)
class Opened:
    """A job that can begin.

    Attributes
    ----------
    rows : how many there are.
    to_ask : how many of them have not ended, or are to be asked again.
    sample : some of those.
    known : what is known of rows of an earlier input.
    stale : the numbers of the chunks whose rows are those of their part, but not all columns or types are.
    spent_usd : what the job has cost so far; None where nobody knows.
    """

    manifest: Manifest
    rows: int = 0
    to_ask: int = 0
    sample: list[Row] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    spent_usd: Decimal | None = Decimal(0)
    stale: set[int] = field(default_factory=set)


def open_manifest(workflow: Workflow, folder: JobFolder, *, accept_changes: bool) -> Manifest:
    """Return what the folder knows of the job, or what a new one begins with.

    Raises
    ------
    InputError
        The folder is no job's, or another workflow's.
    ResumeError
        The workflow has changed since the job was begun; `changed` lists the steps.
    """
    name, steps = workflow.config.name, dict(workflow.identity[0].fingerprints)
    manifest = folder.read_manifest()
    if manifest is None:
        return Manifest(name, steps)
    if manifest.workflow != name:
        raise InputError(
            f"{str(folder.path)!r} is the output of another job, of the workflow {manifest.workflow!r}.",
            fix="Give another path for the output.",
        )
    changes = manifest.changes(steps)
    if changes and not accept_changes:
        listed = ", ".join(f"{step!r} ({how})" for step, how in changes.items())
        raise ResumeError(
            f"The workflow is not the one that the job was begun with: {listed}.",
            fix="Undo the change, give another path for the output, or accept the changes (accept_changes=True, "
            "--accept-changes): all rows then run again, and only calls that changed are paid for.",
            changed=tuple(changes),
        )
    manifest.steps = steps
    return manifest


def open_job(
    source: Source,
    binding: Binding,
    folder: JobFolder,
    manifest: Manifest,
    *,
    names: Mapping[str, str],
    retry_failed: bool,
) -> Opened:
    """Read and check all rows, find out which of them have to be asked, and give the parts the input's columns of now.

    Blocks.

    Parameters
    ----------
    names : column of the input -> its name in the output, where that is another one.

    Raises
    ------
    InputError
        There are no rows, or a value is missing.
    """
    journal = opened_journal()
    opened = Opened(manifest, spent_usd=_spent(manifest, journal))
    opened.known = Known(folder.earlier_records(manifest.digest, manifest.kinds), without_failed=retry_failed)
    if _survey(source, binding, folder, opened, names=names, retry_failed=retry_failed):
        _set_aside(binding, folder, manifest, journal)
        opened.known = Known(folder.earlier_records(manifest.digest, manifest.kinds), without_failed=retry_failed)
        _survey(source, binding, folder, opened, names=names, retry_failed=retry_failed)
    if opened.rows == 0:
        raise InputError(f"{source.label} has no rows.", fix="Give a table with one row or more.")
    if opened.stale:
        _renew(source, binding, folder, opened, names)
    return opened


def _survey(
    source: Source,
    binding: Binding,
    folder: JobFolder,
    opened: Opened,
    *,
    names: Mapping[str, str],
    retry_failed: bool,
) -> bool:
    """Count the rows and those to ask, take the sample, and return whether the parts are of another input."""
    manifest = opened.manifest
    chance = random.Random(0)  # noqa: S311 - a sample, no secret
    opened.rows = opened.to_ask = 0
    opened.sample.clear()
    opened.stale.clear()
    is_other_input, number = False, -1
    for number, first, table in numbered(source.chunks()):
        check(source, binding, first, table)
        info, run = folder.info(number), manifest.runs.get(number)
        opened.rows += len(table)
        is_same = info is not None and info.content == content_of(renamed(table, names), binding)
        if info is not None and _is_done(info, manifest, retry_failed) and is_same:
            continue
        left = binding.rows(table)
        if info is not None or run is not None or opened.known:
            keys = binding.keys(left)
            other_run = run is not None and not run.is_closed and run.of(keys) is None
            is_other_input |= (info is not None and info.of != digest_of(keys)) or other_run
            if info is not None and not is_same:
                opened.stale.add(number)
            if info is not None and _is_done(info, manifest, retry_failed) and not is_other_input:
                continue
            ended: set[str] = set()
            if info is not None and info.digest == manifest.digest:
                ended.update(_ended_well(folder, number, manifest) if retry_failed and info.failed else info.keys)
            answered = _answered(run, keys, manifest) if run is not None else set()
            left = [
                row
                for position, (row, key) in enumerate(zip(left, keys, strict=True))
                if key not in ended and key not in opened.known and position not in answered
            ]
        for row in left:
            opened.to_ask += 1
            if len(opened.sample) < SAMPLE_ROWS:
                opened.sample.append(row)
            elif (place := chance.randrange(opened.to_ask)) < SAMPLE_ROWS:
                opened.sample[place] = row
    return is_other_input or folder.last_part() > number


def _renew(source: Source, binding: Binding, folder: JobFolder, opened: Opened, names: Mapping[str, str]) -> None:
    """Write the parts anew whose rows are the same, but whose other columns, index or types are not those of now."""
    for number, table in enumerate(source.chunks()):
        if number not in opened.stale or (info := folder.info(number)) is None:
            continue
        left = iter(enumerate(binding.keys(binding.rows(table))))
        # in the order of the rows, but there may be fewer
        positions = [next(position for position, other in left if other == key) for key in info.keys]
        named = renamed(table, names)
        info = replace(info, content=content_of(named, binding))
        folder.renew_inputs(number, named.take(positions), info, opened.manifest.kinds)


def _is_done(info: PartInfo, manifest: Manifest, retry_failed: bool) -> bool:
    return info.complete and info.digest == manifest.digest and not (retry_failed and info.failed)


def _ended_well(folder: JobFolder, number: int, manifest: Manifest) -> set[str]:
    return {key for key, record in folder.records(number, manifest.kinds) if record["status"] == "ok"}


def _answered(run: ChunkRun, keys: list[str], manifest: Manifest) -> set[int]:
    """Return the positions of the rows of a chunk that ended well in its run, which was cut short."""
    positions = run.of(keys)
    if positions is None or (past := _past(run, manifest, opened_journal())) is None:
        return set()
    return {at for at, row in zip(positions, _items(past), strict=False) if row.status is StepStatus.OK}


def _spent(manifest: Manifest, journal: Journal) -> Decimal:
    """Bring up to date what runs have cost that were cut short, and return what the job has."""
    for run in manifest.runs.values():
        if run.is_closed:
            continue
        try:
            run.spent_usd = str(spent_of(journal.past_run(run.run_id).result))
        except RunNotFoundError:  # it was deleted, or this is another machine: what the checkpoint says
            continue
    return manifest.spent_usd()


def _set_aside(binding: Binding, folder: JobFolder, manifest: Manifest, journal: Journal) -> None:
    """Keep what is known of the rows of an input that has changed since, by what the rows are."""
    for number, run in list(manifest.runs.items()):
        if records := _harvest(binding, run, manifest, journal):
            folder.write_aside(records, manifest)
        manifest.drop_run(number)
    folder.set_parts_aside()
    folder.write_manifest(manifest.to_json())


def _harvest(binding: Binding, run: ChunkRun, manifest: Manifest, journal: Journal) -> dict[str, Record]:
    """Return what a run that was cut short knows of its rows, by their keys."""
    past = _past(run, manifest, journal)
    return (
        {
            key: record_of(row, run.run_id)
            for key, row in zip(binding.keys(past.inputs.get("row", [])), _items(past), strict=False)
            if row.status is StepStatus.OK
        }
        if past
        else {}
    )


def _past(run: ChunkRun, manifest: Manifest, journal: Journal) -> PastRun | None:
    """Return what the journal has of a run that was cut short; None where that is of no use."""
    if run.is_closed or run.digest != manifest.digest:
        return None
    with suppress(RunNotFoundError):  # it was deleted, or this is another machine
        return journal.past_run(run.run_id)
    return None


def _items(past: PastRun) -> list[StepRow]:
    return [row for step in past.result.rows.values() for row in step.items or ()]
