"""A run as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from agentflow.core.result import RunResult, StepRow

_UNIT_BY_ENDING = {"_ms": "ms", "_usd": "USD", "_tokens": "tokens", "_at": "UTC"}
_DTYPE_BY_UNIT = {
    "ms": "Float64",
    "USD": "Float64",
    "tokens": "Int64",
    "attempts": "Int64",
    "item": "Int64",
    "UTC": "datetime64[us, UTC]",
    "": "string",
}


def steps_frame(result: RunResult) -> pd.DataFrame:
    """Return one row a step, in the order in which the steps were added.

    Types and units follow from the names of the columns, so a new column of `RunResult.records()` needs nothing here.

    Returns
    -------
    DataFrame, the columns of `RunResult.records()` in their order
        `..._ms` and `..._usd` are Float64, `..._tokens` and `attempts` Int64, `started_at` datetime64[us, UTC],
        `output` object, all else string. What is unknown or does not apply is `<NA>` or `NaT`, never 0; the output
        of a step that has none is None. `.attrs["units"]` has the unit of every column that has one.
    """
    records = result.records()
    names = list(records[0] if records else _names())
    frame = pd.DataFrame({name: _column(name, [record[name] for record in records]) for name in names})
    frame.attrs["units"] = {name: unit for name in names if (unit := _unit(name))}
    return frame


def _names() -> Iterable[str]:
    return RunResult(rows={"": StepRow("")}).records()[0]


def _unit(name: str) -> str:
    if name in {"attempts", "item"}:
        return name
    return next((unit for ending, unit in _UNIT_BY_ENDING.items() if name.endswith(ending)), "")


def _column(name: str, values: list[Any]) -> pd.Series[Any]:
    if name == "output":
        return pd.Series(values, dtype="object")
    unit = _unit(name)
    if unit == "USD":
        values = [None if value is None else float(value) for value in values]
    return pd.Series(values, dtype=_DTYPE_BY_UNIT[unit])
