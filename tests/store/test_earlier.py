"""Which earlier run each place is compared with, and what the file has of the parts of steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from agentflow.core.errors import RunNotFoundError
from agentflow.core.events import StepFailed, StepFinished, StepMapped, StepStarted
from agentflow.core.journal import ITEMS
from agentflow.core.outputs import NotKept
from agentflow.core.step_parts import StepParts, WorkflowParts
from agentflow.store.journal import SqliteJournal
from agentflow.store.parts import parts_row, read_parts
from tests.store.runs import Recorded

BEGIN = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def recorded(journal: SqliteJournal, number: int, *steps: str) -> Recorded:
    return Recorded(journal, "a", "b", run_id=f"r-{number}", started_at=BEGIN + timedelta(minutes=number))


def mapped(run: Recorded, outputs: Sequence[int | None]) -> None:
    """A mapped step `b`; an item without an output failed."""
    run.put(StepMapped("b", len(outputs), time.perf_counter()))
    for item, output in enumerate(outputs):
        if output is None:
            run.put(StepStarted("b", time.perf_counter(), item))
            run.put(StepFailed("b", ValueError("no"), time.perf_counter(), item))
        else:
            run.step("b", output, item)
    if None not in outputs:
        run.put(StepFinished("b", outputs, time.perf_counter()), ITEMS)


def test_the_newest_run_in_which_a_place_ended_well_is_found_for_each(journal: SqliteJournal) -> None:
    for number in range(4):
        run = recorded(journal, number)
        run.step("a", number)
        mapped(run, [1, 2] if number == 1 else [1, None])
        run.end()
    places = [("a", None), ("b", None), ("b", 0), ("b", 1), ("never", None)]
    found = journal.earlier_runs("r-3", places)
    assert {place: past.result.run_id for place, past in found.items()} == {
        ("a", None): "r-2",
        ("b", None): "r-1",
        ("b", 0): "r-2",
        ("b", 1): "r-1",
    }
    assert found["a", None] is found["b", 0]
    assert journal.earlier_runs("r-0", places) == {}


def test_other_workflows_and_deleted_runs_do_not_count(journal: SqliteJournal) -> None:
    for number in range(3):
        run = recorded(journal, number)
        run.step("a", number)
        run.end()
    journal.prune(run_ids=["r-1"])
    found = journal.earlier_runs("r-2", [("a", None)])
    assert found["a", None].result.run_id == "r-0"
    with pytest.raises(RunNotFoundError):
        journal.earlier_runs("r-1", [("a", None)])


def test_parts_come_back_as_they_were() -> None:
    inner = StepParts("python", "f", code="c", source="def f(): ...", holds={"x": "1"}, wiring={"a": ("input", "a")})
    parts = WorkflowParts(
        {
            "prompt": StepParts("prompt", prompt="Say {a}", parameters={"max_tokens": 5}, schema={"type": "object"}),
            "sub": StepParts("workflow", "inner", steps={"f": inner}, when=("step", "prompt", "x", 0)),
            "given": StepParts("python", wiring={"a": ("literal", "h")}, literals={"a": (1, {"b": b"bytes"})}),
        }
    )
    row = parts_row(parts)
    assert read_parts(row[1]) == dict(parts.steps)
    assert read_parts(row[1])["given"].literals == {"a": (1, {"b": b"bytes"})}
    assert parts_row(parts) is row
    assert parts_row(WorkflowParts(parts.steps)) == row


def test_a_value_given_by_hand_that_cannot_be_kept_says_why() -> None:
    parts = WorkflowParts({"a": StepParts("python", literals={"lock": object()})})
    kept = read_parts(parts_row(parts)[1])["a"].literals["lock"]
    assert isinstance(kept, NotKept)
    assert "of type object" in kept.reason
