"""A step of a workflow, and references to its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentflow.core.agent import Agent
from agentflow.core.template import Path


class Reference:
    """The output of a step, or a part of it: what `step.field` and `step[0]` give."""

    __slots__ = ("_path", "_step_id")
    __iter__ = None  # it has items, but how many is known only when the step has run

    def __init__(self, step_id: str, path: Path = ()) -> None:
        self._step_id = step_id
        self._path = path

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, part: str | int) -> Reference:
        return Reference(self._step_id, (*self._path, part))

    def __repr__(self) -> str:
        parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self._path)
        return f"{self._step_id}{parts}"


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a workflow. As a value of another step's `inputs` it stands for its output; `step.field` for a part.

    A field of the output that is called like an attribute of this class is reached as `step["inputs"]`.

    Attributes
    ----------
    inputs : parameter -> what was given by hand: a `Step`, a reference or a literal value.
    depends_on : steps that have to end before, though nothing of them is used.
    when : whether the step is wanted: a function as an agent, or a reference whose value counts as true or false.
    map_over : the parameter that is given a list, and takes one item of it at a time.
    optional : parameters that the step can do without: it gets None for one that is not there.
    timeout_seconds : the longest that the step, or each item of it, may take.
    """

    step_id: str
    agent: Agent
    inputs: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    when: Agent | Reference | None = None
    map_over: str | None = None
    optional: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    __iter__ = None  # as for a Reference

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, part: str | int) -> Reference:
        return Reference(self.step_id)[part]


def as_reference(value: Any) -> Reference | None:
    """Return the reference that an input is, None where it is a literal."""
    if isinstance(value, Step):
        return Reference(value.step_id)
    return value if isinstance(value, Reference) else None


def holds_reference(value: Any) -> bool:
    """Return whether a list, tuple or mapping has a reference among its items, where it would not be followed."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(as_reference(item) is not None or holds_reference(item) for item in items)
