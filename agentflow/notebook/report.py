"""What a `%%step` cell shows: a card for a notebook, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agentflow.views.html_parts import CARD, CELL, MONO, MUTED, ROW, TABLE, element, plain, safe, warnings_note
from agentflow.views.outputs import one_line

Change = Literal["new", "changed", "unchanged"]
_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Bound:
    """What a placeholder stands for, such as ``{article}``, a variable of the kernel, text, 7.4 kB."""

    placeholder: str
    source: str
    detail: str = ""


@dataclass(frozen=True)
class StepReport:
    """What a `%%step` cell did.

    Attributes
    ----------
    model : as it was written, and what that stands for.
    settings : such as ``temperature 0``.
    estimate : of the next run of this step: tokens, and dollars.
    total : the likely dollars of the whole workflow; empty where it has no other step.
    stale : the steps that are not up to date since this edit, each with why.
    orphans : the steps that no cell makes any more, each with why.
    """

    step: str
    workflow: str
    change: Change
    model: tuple[str, str]
    place: str
    settings: Sequence[str]
    bound: Sequence[Bound]
    estimate: Sequence[str]
    total: str
    stale: Mapping[str, str]
    notes: Sequence[str]
    orphans: Mapping[str, str]

    def __repr__(self) -> str:
        return "\n".join(
            one_line(line, _WIDTH) if line.strip() == line else f"  {one_line(line, _WIDTH)}" for line in self._lines()
        )

    def _lines(self) -> list[str]:
        lines = [f"step {self.step} · {self.change} · workflow {self.workflow}"]
        lines.append(f"  {' → '.join(dict.fromkeys(filter(None, self.model)))} · {self.place}")
        lines += [f"  {', '.join(self.settings)}"] if self.settings else []
        lines += [
            f"  {bound.placeholder}  {bound.source}{f', {bound.detail}' if bound.detail else ''}"
            for bound in self.bound
        ]
        lines += [f"  {line}" for line in self._figures()]
        lines += [f"  stale now: {name}{f' ({why})' if why else ''}" for name, why in self.stale.items()]
        lines += [f"  ! {note}" for note in self._all_notes()]
        return lines

    def _figures(self) -> list[str]:
        told = [f"estimate: {' · '.join(self.estimate)}"] if self.estimate else []
        return told + ([f"whole workflow: {self.total}"] if self.total else [])

    def _all_notes(self) -> list[str]:
        orphans = [
            f"No cell makes step {name} any more: {why}. `%agentflow forget {name}` takes it out."
            for name, why in self.orphans.items()
        ]
        return [*self.notes, *orphans]

    def _repr_html_(self) -> str:
        return element("div", "".join([self._title(), self._facts(), self._notes()]), style=CARD)

    def _notes(self) -> str:
        notes = warnings_note(self._all_notes())
        return element("div", notes, style="margin:12px 0 -12px 0") if notes else ""

    def _title(self) -> str:
        name = element("strong", safe(self.step), style="font-size:16px;overflow-wrap:break-word")
        where = element("span", f"step of {safe(self.workflow)} · {self.change}", style=MUTED)
        return element("div", f"{name} {where}", style="margin:0 0 8px 0")

    def _facts(self) -> str:
        asked, model_id = self.model
        resolved = (
            element("span", f"{safe(model_id)} · {safe(self.place)}", style=MUTED) if model_id else safe(self.place)
        )
        rows = [("asks", f"{element('strong', safe(asked))} {resolved}")]
        if self.settings:
            rows.append(("with", safe(one_line(", ".join(self.settings), _WIDTH))))
        for bound in self.bound:
            detail = element("span", f", {safe(bound.detail)}", style=MUTED) if bound.detail else ""
            label = element("span", safe(bound.placeholder), style=f"{MONO};font-size:12px")
            rows.append((label, f"{safe(bound.source)}{detail}"))
        if self.estimate:
            rows.append(("estimate", safe(" · ".join(self.estimate))))
        if self.total:
            rows.append(("whole workflow", safe(self.total)))
        for name, why in self.stale.items():
            rows.append(("stale now", f"{element('strong', safe(name))} {element('span', safe(why), style=MUTED)}"))
        return element("table", element("tbody", "".join(_row(*row) for row in rows)), style=TABLE)


def _row(label: str, content: str) -> str:
    narrow = f"{CELL};white-space:nowrap;width:1%;padding:5px 16px 5px 0"
    head = element("th", label, style=f"{narrow};font-weight:normal;{MUTED}", scope="row")
    return element("tr", head + element("td", plain(content), style=f"{CELL};padding:5px 0"), style=ROW)
