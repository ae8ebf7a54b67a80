"""What the steps of a run returned; large outputs stay in the journal until somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, ValuesView
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stored:
    """An output that is in the journal only. `load` reads it; `size_bytes` is its length there."""

    load: Callable[[], Any]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NotKept:
    """In the place of an output that the journal could not keep: on a resume, its step runs again.

    Attributes
    ----------
    reason : such as ``it is of type Lock``.
    """

    reason: str

    def __repr__(self) -> str:
        return f"<not kept: {self.reason}>"


def loaded(value: Any) -> Any:
    """Return an output itself, where only its place in the journal is at hand."""
    return value.load() if type(value) is Stored else value


def gathered(values: Iterable[Any]) -> Any:
    """Return the outputs of a mapped step's items as one list, itself stored where any of them is."""
    kept = list(values)
    sizes = [value.size_bytes for value in kept if type(value) is Stored]
    return Stored(lambda: [loaded(value) for value in kept], sum(sizes)) if sizes else kept


class Outputs(dict[str, Any]):
    """Step id -> output, a dictionary in which a stored output is read each time that it is asked for."""

    def __getitem__(self, step_id: str) -> Any:
        return loaded(super().__getitem__(step_id))

    def get(self, step_id: str, default: Any = None) -> Any:
        """Return a step's output, or the default."""
        return loaded(super().get(step_id, default))

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # the view of a dict would show what is stored
        """Return the outputs with their steps."""
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the outputs."""
        return ValuesView(self)

    def __iter__(self) -> Iterator[str]:  # an own one, so that dict(outputs) goes through __getitem__
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and dict(self) == dict(other)

    __hash__ = None  # as for every dict

    def __repr__(self) -> str:
        shown = ", ".join(f"{step!r}: {self._shown(step)}" for step in self)
        return f"{{{shown}}}"

    def _shown(self, step: str) -> str:
        value = super().__getitem__(step)
        return f"<stored, {value.size_bytes:,} bytes>" if isinstance(value, Stored) else repr(value)
