"""What steps of a past run were given: from the run's inputs, the kept outputs and the wiring: none is kept twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from agentflow.core.errors import AgentFlowError, InputError
from agentflow.core.journal import PastRun
from agentflow.core.outputs import NotKept
from agentflow.core.result import RunResult
from agentflow.core.step_parts import Source, StepParts
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.core.step_run import as_items
from agentflow.core.template import look_up

_INSIDE = re.compile(r"(?:\[(\d+)\])?\.(.+)", re.DOTALL)  # what follows the id of a workflow in the path of its step
_MISSING: Any = object()  # in the place of a value that the parameter's own default stood for


def resolved_inputs(past: PastRun, step: str, item: int | None = None) -> dict[str, Any]:
    """Return what a step, or one item of it, was given.

    Parameters
    ----------
    step : its path, such as ``classify``, ``sub.classify`` or ``sub[3].classify``.

    Returns
    -------
    dict, parameter -> value
        A `NotKept`, which says why, stands for a value that cannot be recovered. A parameter that had its own default
        is not there.

    Raises
    ------
    InputError
        The run has no such step, or it has no such item.
    """
    return PastInputs(past).of(step, item)


class PastInputs:
    """The inputs of the steps of one past run; each value is looked up once."""

    def __init__(self, past: PastRun) -> None:
        lost = {name: NotKept(why) for name, why in past.inputs_not_kept.items()}
        self._run_id = past.result.run_id
        self._scope = _Scope(past.parts, past.result, {**past.inputs, **lost})

    def beside(self, step: str) -> tuple[Mapping[str, StepParts], str] | None:
        """Return the steps of the workflow that a step is of, and its id there; None where they are not known."""
        found = self._scope.find(step)
        return None if found is None else (found[0].steps, found[1])

    def parts(self, step: str) -> StepParts | None:
        """Return what a step is made of, None where the journal does not have that."""
        beside = self.beside(step)
        return None if beside is None else beside[0][beside[1]]

    def of(self, step: str, item: int | None = None) -> dict[str, Any]:
        """Return what a step was given; see `resolved_inputs`."""
        found = self._scope.find(step)
        if found is None:
            raise InputError(f"Run {self._run_id} has no step {step!r}, or the journal not what it was made of.")
        scope, step_id = found
        return scope.values(step_id, item)


class _Scope:
    """The steps of one workflow in a run: of the run's own, or of one that is a step.

    Parameters
    ----------
    inputs : what the workflow was given; a `NotKept` stands for what cannot be recovered.
    """

    def __init__(self, steps: Mapping[str, StepParts], result: RunResult, inputs: Mapping[str, Any]) -> None:
        self.steps = steps
        self._result = result
        self._inputs = inputs
        self._whole = cache(self._resolve)
        self._items = cache(self._list)
        self._inside = cache(self._inner)

    def find(self, path: str) -> tuple[_Scope, str] | None:
        """Return the workflow and the id of the step that a path leads to."""
        if path in self.steps:
            return self, path
        for step_id, parts in self.steps.items():
            match = _INSIDE.fullmatch(path, len(step_id)) if parts.steps and path.startswith(step_id) else None
            if match and (found := self._inside(step_id, match[1] and int(match[1])).find(match[2])):
                return found
        return None

    def values(self, step_id: str, item: int | None) -> dict[str, Any]:
        """Return what a step, or an item of it, was given."""
        values = self._whole(step_id)
        over = self.steps[step_id].map_over
        if item is None or over is None:
            return values
        items = self._items(step_id)
        if isinstance(items, NotKept):
            return values | {over: items}
        if item >= len(items):
            raise InputError(f"Step {step_id!r} was given {len(items)} items.", fix="The first is 0.")
        return values | {over: items[item]}

    def _resolve(self, step_id: str) -> dict[str, Any]:
        parts = self.steps[step_id]
        found = {name: self._value(parts, name, source) for name, source in parts.wiring.items()}
        return {name: value for name, value in found.items() if value is not _MISSING}

    def _list(self, step_id: str) -> Any:
        over = str(self.steps[step_id].map_over)
        value = self._whole(step_id).get(over, NotKept("it had its own default"))
        if isinstance(value, Iterator):
            return NotKept("it could be read only once")
        return value if isinstance(value, NotKept) else as_items(over, value)

    def _value(self, parts: StepParts, name: str, source: Source) -> Any:
        kind, *path = source
        if kind == "literal":
            return parts.literals[name]
        if kind == "input":
            if path[0] in self._inputs:
                return self._inputs[str(path[0])]
            lacking = f"the run had no input {path[0]!r}"
        else:
            step_id = str(path[0])
            row = self._result.rows[step_id]
            if step_id in self._result.outputs:
                return _part(row, step_id, path[1:])
            lacking = f"step {step_id!r} has no output: it is {row.status.value}"
            if row.status is StepStatus.OK:
                return NotKept(f"the output of step {step_id!r} was dropped (keep_outputs=False)")
        if name in parts.has_default:
            return _MISSING
        return None if name in parts.optional else NotKept(lacking)

    def _inner(self, step_id: str, item: int | None) -> _Scope:
        parts = self.steps[step_id]
        given: Any = self.values(step_id, item)  # which says so where there is no such item
        row = self._result.row(step_id, item)
        if parts.kind == "rows":
            given = given["row"]
        if isinstance(given, NotKept):
            names = {str(source[1]) for step in parts.steps.values() for source in step.wiring.values()}
            given = dict.fromkeys(names, given)
        return _Scope(parts.steps, row.inner or RunResult(rows={name: StepRow(name) for name in parts.steps}), given)


def _part(row: StepRow, step_id: str, path: list[str | int]) -> Any:
    try:
        output = row.output
        return output if isinstance(output, NotKept) else look_up(output, tuple(path), of=step_id)
    except AgentFlowError as error:
        return NotKept(error.what)
