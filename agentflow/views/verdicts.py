"""Checks with their figures: what was measured, whether it is good enough, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from agentflow.views.format import MARKS
from agentflow.views.html_parts import CELL, HEAD, ROW, TABLE, badge, card, element, head_row, safe, small
from agentflow.views.outputs import one_line
from agentflow.views.text_table import aligned

if TYPE_CHECKING:
    import pandas as pd

Word: TypeAlias = Literal["ok", "target", "acceptable", "poor", "warning", "not checked", "found", "not found"]

_MOST_CHARACTERS = 300
_HEADS = ("check", "verdict", "figure", "limits")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check.

    Attributes
    ----------
    figure : what was measured, with its unit; or why nothing could be.
    fix : what to do, where there is something.
    limits : what the figure is held against.
    """

    check: str
    verdict: Word
    figure: str
    fix: str = ""
    limits: str = ""


class Verdicts(tuple[Verdict, ...]):
    """Checks, which show themselves as a table; `to_frame()` has one row a check."""

    __slots__ = ()

    def __new__(cls, verdicts: Iterable[Verdict]) -> Self:
        """Take the checks in their order."""
        return super().__new__(cls, verdicts)

    @property
    def poor(self) -> tuple[Verdict, ...]:
        """Those that are not good enough."""
        return tuple(verdict for verdict in self if verdict.verdict == "poor")

    def to_frame(self) -> pd.DataFrame:
        """Return a row a check, with the columns `check, verdict, figure, fix, limits`, all text."""
        import pandas as pd

        names = [field.name for field in fields(Verdict)]
        return pd.DataFrame([astuple(verdict) for verdict in self], columns=names, dtype="string")

    def __repr__(self) -> str:
        table = [_HEADS, *(_cells(verdict) for verdict in self)]
        lines = aligned(table, words=range(len(_HEADS)), cut_first=(2, 3))
        fixes = ["", *(one_line(verdict.fix, _MOST_CHARACTERS) for verdict in self)]
        return "\n".join(f"{line}\n    → {fix}" if fix else line for line, fix in zip(lines, fixes, strict=True))

    def _repr_html_(self) -> str:
        has_limits = any(verdict.limits for verdict in self)
        heads = dict.fromkeys(["check", "verdict", "figure", *(["limits"] if has_limits else ())], HEAD)
        rows = "".join(_row(verdict, has_limits=has_limits) for verdict in self)
        return card([element("table", head_row(heads) + element("tbody", rows), style=TABLE)])


def graded(value: float, target: float, acceptable: float, *, more_is_better: bool = False) -> Word:
    """Return the verdict on a figure.

    >>> graded(99.5, 99, 95, more_is_better=True), graded(4, 2, 5), graded(6, 2, 5)
    ('target', 'acceptable', 'poor')
    """
    sign = -1 if more_is_better else 1
    if sign * value < sign * target:
        return "target"
    return "acceptable" if sign * value < sign * acceptable else "poor"


def _cells(verdict: Verdict) -> tuple[str, ...]:
    word = f"{MARKS[verdict.verdict].symbol} {verdict.verdict}"
    figure, limits = (one_line(text, _MOST_CHARACTERS) for text in (verdict.figure, verdict.limits))
    return one_line(verdict.check, _MOST_CHARACTERS), word, figure, limits


def _row(verdict: Verdict, *, has_limits: bool) -> str:
    check, _, figure, limits = map(safe, _cells(verdict))
    fix = safe(one_line(verdict.fix, _MOST_CHARACTERS))
    cells = [
        element("td", element("strong", check), style=CELL),
        element("td", badge(verdict.verdict), style=CELL),
        element("td", figure + small(fix), style=f"{CELL};overflow-wrap:anywhere"),
    ]
    if has_limits:
        cells.append(element("td", limits, style=CELL))
    return element("tr", "".join(cells), style=ROW)
