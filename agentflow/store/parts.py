"""What the steps of a workflow are made of, as the journal keeps it: once for all runs that have the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from agentflow.core.errors import JournalError
from agentflow.core.outputs import NotKept
from agentflow.core.step_parts import StepParts, WorkflowParts
from agentflow.store.codec import JSON, decode, dumps, encode_text

_FIELDS = tuple(field.name for field in dataclasses.fields(StepParts))
_INNER = ("steps", "tools")  # those that have parts of their own
_rows: WeakKeyDictionary[WorkflowParts, tuple[str, str]] = WeakKeyDictionary()


def parts_row(parts: WorkflowParts) -> tuple[str, str]:
    """Return the hash and the text of parts. The runs of one definition share them, so that they are made once."""
    row = _rows.get(parts)
    if row is None:
        body = dumps(_written(parts.steps))
        row = _rows[parts] = hashlib.sha256(body.encode(errors="replace")).hexdigest()[:32], body
    return row


def read_parts(body: str) -> dict[str, StepParts]:
    """Return the parts of the steps that a text has."""
    return _read(json.loads(body))


def _written(steps: Mapping[str, StepParts]) -> dict[str, Any]:
    return {step_id: _step(parts) for step_id, parts in steps.items()}


def _step(parts: StepParts) -> dict[str, Any]:
    written = {name: value for name in _FIELDS if (value := getattr(parts, name))}
    written |= {name: _written(inner) for name in _INNER if (inner := getattr(parts, name))}
    if parts.literals:
        written["literals"] = {name: _literal(value) for name, value in parts.literals.items()}
    return written


def _literal(value: Any) -> dict[str, Any]:
    encoded = encode_text(value)
    return {"problem": encoded.problem} if encoded.data is None else {"data": encoded.data}


def _read(steps: Mapping[str, Any]) -> dict[str, StepParts]:
    return {step_id: _read_step(written) for step_id, written in steps.items()}


def _read_step(written: Mapping[str, Any]) -> StepParts:
    values = {name: written[name] for name in _FIELDS if name in written}
    values["wiring"] = {name: tuple(source) for name, source in written.get("wiring", {}).items()}
    values["when"] = tuple(written.get("when", ()))
    values |= {name: _read(written.get(name, {})) for name in _INNER}
    values["literals"] = {name: _read_literal(kept) for name, kept in written.get("literals", {}).items()}
    return StepParts(**values)


def _read_literal(kept: Mapping[str, Any]) -> Any:
    if "problem" in kept:
        return NotKept(kept["problem"])
    try:
        return decode(JSON, kept["data"])
    except JournalError as error:
        return NotKept(error.what)
