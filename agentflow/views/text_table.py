"""Tables for a terminal: aligned columns that keep to a width."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from agentflow.views.outputs import clip, columns

WIDTH = 110
GAP = "  "
_NARROWEST = 12  # no column is cut shorter than this


def aligned(
    table: Sequence[Sequence[str]], *, words: Collection[int], cut_first: Iterable[int], width: int = WIDTH
) -> list[str]:
    """Return the lines of a table, at most `width` columns wide as far as cutting helps.

    Parameters
    ----------
    words : positions of the columns that are aligned left; the rest are numbers, aligned right.
    cut_first : positions of the columns that are cut where the table is too wide, the first one first.
    """
    widths = [max(columns(cell) for cell in column) for column in zip(*table, strict=True)]
    spare = width - sum(widths) - len(GAP) * (len(widths) - 1)
    for index in cut_first:
        if spare < 0:
            cut = min(-spare, max(widths[index] - _NARROWEST, 0))
            widths[index] -= cut
            spare += cut
    return [_line(row, widths, words) for row in table]


def _line(row: Sequence[str], widths: Sequence[int], words: Collection[int]) -> str:
    cells = []
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        shown = clip(cell, width)
        room = " " * (width - columns(shown))
        cells.append(shown + room if index in words else room + shown)
    return GAP.join(cells).rstrip()
