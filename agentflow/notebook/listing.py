"""`%agentflow steps`: the workflows of a kernel, their steps, and the cells that made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentflow.notebook.state import KernelState
from agentflow.views.html_parts import CARD, CELL, HEAD, MUTED, ROW, TABLE, element, plain, safe
from agentflow.views.outputs import one_line
from agentflow.views.text_table import aligned

_HEADER = ("workflow", "step", "made by", "")
_HONEST = (
    "A kernel hears of a deleted cell from JupyterLab, when the next cell runs; of other front ends it knows no more "
    "than the number under which a cell ran."
)


@dataclass(frozen=True)
class StepsListing:
    """A row for each step: its workflow, its name, what made it, and why no cell makes it any more."""

    rows: tuple[tuple[str, str, str, str], ...]

    def __repr__(self) -> str:
        if not self.rows:
            return "No workflow was made in this kernel yet. %%step NAME --model MODEL makes a step of one."
        return "\n".join([*aligned([_HEADER, *self.rows], words={0, 1, 2, 3}, cut_first=(3, 0, 1)), _HONEST])

    def _repr_html_(self) -> str:
        if not self.rows:
            return element("div", safe(repr(self)), style=CARD)
        head = element("tr", "".join(element("th", safe(name), style=HEAD) for name in _HEADER), style=ROW)
        body = "".join(
            element("tr", "".join(element("td", plain(safe(cell)), style=CELL) for cell in row), style=ROW)
            for row in self.rows
        )
        table = element("table", element("thead", head) + element("tbody", body), style=TABLE)
        return element(
            "div", table + element("div", safe(_HONEST), style=f"{MUTED};font-size:12px;margin-top:8px"), style=CARD
        )


def steps_listing(state: KernelState) -> StepsListing:
    """Return the steps of all workflows of a kernel."""
    return StepsListing(tuple(_rows(state)))


def _rows(state: KernelState) -> Iterator[tuple[str, str, str, str]]:
    for workflow in state.workflows.values():
        made, gone = state.cell_steps(workflow), state.why_gone(workflow)
        for name in workflow.steps:
            by = f"cell [{made[name].cell.number}]" if name in made else "Python"
            why = f"orphan: {gone[name]}; %agentflow forget {name}" if name in gone else ""
            yield one_line(workflow.config.name, 60), one_line(name, 60), by, why
