"""Where in a run something happened: a step, or an item of it, also inside of workflows that are steps themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow

Place: TypeAlias = tuple[str, int | None]  # a step's path, and the item


def inner_prefix(step_id: str, item: int | None) -> str:
    """Return what the paths of the steps of a workflow begin with, which is a step, or an item of a step, itself.

    >>> inner_prefix("sub", None), inner_prefix("sub", 3)
    ('sub.', 'sub[3].')
    """
    return f"{step_id}." if item is None else f"{step_id}[{item}]."


def all_rows(result: RunResult, prefix: str = "") -> Iterator[tuple[Place, StepRow, RunResult]]:
    """Return the place and the row of each step, of each item and of all inner steps, with the result that holds it."""
    for row in result.rows.values():
        for part in (row, *(row.items or ())):
            yield (prefix + part.step, part.item), part, result
            if part.inner:
                yield from all_rows(part.inner, prefix + inner_prefix(part.step, part.item))
