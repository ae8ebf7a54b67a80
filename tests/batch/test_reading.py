"""What a job reads from DataFrames and files: the values that its rows send, and the index and columns that it keeps."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentflow import Workflow
from agentflow.core.errors import RunInterrupted


def seeing(name: str = "seeing") -> tuple[Workflow, list[Any]]:
    """Return a workflow of the input `text`, and the values that it was given."""
    seen: list[Any] = []

    def see(text: Any) -> str:
        seen.append(text)
        return str(text)

    workflow = Workflow(name)
    workflow.add_step("see", see)
    return workflow, seen


@pytest.mark.parametrize("unit", ["ns", "us"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", timezone(timedelta(hours=1))])
def test_times_are_plain_python_ones(unit: str, zone: Any) -> None:
    workflow, seen = seeing()
    moments = pd.date_range("2020", periods=2, freq="h", unit=unit, tz=zone)
    workflow.map(pd.DataFrame({"text": moments}), progress=False)
    assert {type(value) for value in seen} == {datetime}
    assert sorted(seen) == list(moments)


def test_what_is_finer_than_a_microsecond_is_left_out_of_what_a_row_sends_alone(tmp_path: Path) -> None:
    workflow, seen = seeing()
    spans = pd.Series(pd.to_timedelta([1_001, 2_000], unit="ns"))
    nested = [[pd.Timestamp(1_001)], [pd.Timestamp(2_000)]]
    done = workflow.map(pd.DataFrame({"text": spans}), out=tmp_path / "spans", progress=False)
    assert sorted(seen) == [timedelta(microseconds=1), timedelta(microseconds=2)]
    assert list(done["text"]) == list(spans)
    seen.clear()
    workflow.map(pd.DataFrame({"text": nested}), out=tmp_path / "nested", progress=False)
    assert [type(value[0]) for value in seen] == [datetime] * 2


def test_a_job_over_times_of_nanoseconds_goes_on_after_an_interrupt(tmp_path: Path) -> None:
    import _thread

    moments = pd.date_range("2020", periods=200, freq="h", unit="ns")
    pd.DataFrame({"text": moments}).to_parquet(tmp_path / "in.parquet")

    def step(text: datetime) -> str:
        if text == moments[50] and not (tmp_path / "interrupted").exists():
            (tmp_path / "interrupted").touch()
            _thread.interrupt_main()
        time.sleep(0.002)  # so that the interrupt comes before the end
        return str(text)

    workflow = Workflow("times")
    workflow.add_step("step", step)
    with pytest.raises(RunInterrupted):
        workflow.map(tmp_path / "in.parquet", out=tmp_path / "out", max_concurrency=2, progress=False)
    done = workflow.map(tmp_path / "in.parquet", out=tmp_path / "out", progress=False)
    assert list(done["step"]) == [str(moment) for moment in moments]
