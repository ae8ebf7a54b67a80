"""Which cells ran, and which of them are known to be gone, as far as a kernel is told.

A front end may send a cell's id with its code, and JupyterLab sends the ids of cells that were deleted since the last
one ran. Where neither comes, as in a terminal, nothing is known of cells but their number in the history.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(slots=True)
class Cell:
    """A cell as it was run: its id where the front end gave one, and its number in the history, exact when it ended."""

    cell_id: str | None
    number: int


@dataclass(slots=True)
class _Running:
    cell: Cell
    code: str
    steps: set[str] = field(default_factory=set)


class Cells:
    """The cells of one shell.

    Attributes
    ----------
    deleted : the ids of cells that were deleted.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._running: _Running | None = None
        self._steps: dict[str, set[str]] = {}  # cell id -> what the cell made when it last ran
        self.deleted: set[str] = set()

    def begin(self, info: Any) -> None:
        """Take in that a cell begins: IPython's `pre_run_cell`."""
        cell_id = getattr(info, "cell_id", None)
        self._running = _Running(Cell(cell_id, self._shell.execution_count), info.raw_cell or "")
        self.deleted |= set(self._deleted_ids(info))
        self.deleted.discard(cell_id or "")  # it was deleted, and put back

    def end(self, result: Any) -> None:
        """Take in that a cell has ended: IPython's `post_run_cell`."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cell.number = getattr(result, "execution_count", None) or running.cell.number
        cell_id = running.cell.cell_id
        if cell_id is None:
            return
        if running.steps or (cell_id in self._steps and getattr(result, "success", False)):
            self._steps[cell_id] = running.steps  # a cell that failed before it made one is still the old one's

    def _deleted_ids(self, info: Any) -> Collection[str]:
        metadata = getattr(info, "cell_meta", None)
        if not metadata and hasattr(self._shell, "get_parent"):
            metadata = (self._shell.get_parent() or {}).get("metadata")
        deleted = metadata.get("deletedCells") if isinstance(metadata, dict) else None
        return [name for name in deleted if isinstance(name, str)] if isinstance(deleted, list) else []

    @property
    def current(self) -> Cell:
        """The cell that runs."""
        return self._running.cell if self._running else Cell(None, self._shell.execution_count)

    def made(self, step: str) -> None:
        """Say that the cell that runs has made a step."""
        if self._running:
            self._running.steps.add(step)

    def body(self, magic: str, line: str, body: str) -> str:
        """Return the body of a cell magic as it was written.

        IPython adds a line's end to that which it hands on, and takes away what looks like a prompt of Python's.
        """
        first, _, rest = (self._running.code.lstrip("\n") if self._running else "").partition("\n")
        is_this_cell = first.startswith(magic) and first.removeprefix(magic).strip() == line.strip()
        return rest if is_this_cell else body

    def why_gone(self, step: str, cell: Cell) -> str:
        """Return why no cell makes a step any more; empty where one does, or nobody knows."""
        if cell.cell_id is None:
            return ""
        if cell.cell_id in self.deleted:
            return f"its cell [{cell.number}] was deleted"
        running = self._running
        is_running = running is not None and running.cell.cell_id == cell.cell_id and running.steps
        makes = running.steps if running and is_running else self._steps.get(cell.cell_id)
        if makes is None or step in makes:
            return ""
        return f"its cell, [{cell.number}] then, makes {', '.join(sorted(makes)) or 'no step'} now"
