"""What stands in the place of a form: how to get it back."""

from __future__ import annotations

from dataclasses import dataclass

from agentflow.views.html_parts import CARD, MONO, element, safe


@dataclass(frozen=True, slots=True)
class FormNote:
    """A note for a step's form, with the cell that it wrote where it wrote one."""

    step: str
    cell: str = ""

    def __repr__(self) -> str:
        told = f"The form of step {self.step}: run `%agentflow edit {self.step}` in a kernel to get it back."
        return f"{told}\n\n{self.cell}" if self.cell else told

    def _repr_html_(self) -> str:
        code = element("code", safe(f"%agentflow edit {self.step}"), style=MONO)
        told = f"The form of step {element('strong', safe(self.step))}: run {code} in a kernel to get it back."
        shown = (
            element("pre", safe(self.cell), style=f"{MONO};white-space:pre-wrap;margin:8px 0 0 0") if self.cell else ""
        )
        return element("div", told + shown, style=CARD)
