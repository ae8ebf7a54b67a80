"""What a workflow will cost and how long it will take, as far as that can be said before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.step_row import total_usd

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class StepQuote:
    """What one step will take, in all runs that are quoted.

    Attributes
    ----------
    step : its path, such as ``sub.classify`` for a step of a workflow that is a step itself.
    model : the catalog's name; None for a step that asks none.
    calls : how many requests are likely; None where a function asks models by itself.
    input_tokens, output_tokens : likely, of all calls; None where the step asks no model.
    low_usd, likely_usd, high_usd : dollars; 0 for a step that asks no model, None where they are not known.
    worst_usd : the dollars where every answer is as long as it may be.
    low_s, likely_s, high_s : seconds that the step alone takes; None where nothing is known of its time.
    basis : what the figures rest on.
    """

    step: str
    model: str | None
    calls: int | None
    input_tokens: int | None
    output_tokens: int | None
    low_usd: Decimal | None
    likely_usd: Decimal | None
    high_usd: Decimal | None
    worst_usd: Decimal | None
    low_s: float | None
    likely_s: float | None
    high_s: float | None
    basis: str


@dataclass(frozen=True)
class Quote:
    """What a workflow will take. Dollars are Bedrock's list price; a price that is not known is None, never 0.

    Attributes
    ----------
    workflow : its name.
    runs : how many runs are quoted.
    steps : a part for each step, in the order in which they were added.
    low_s, likely_s, high_s : seconds until the last run has ended; None until each prompt has run once, or
        where nothing is known of any step.
    warnings : why the quote rests on less than it could.
    """

    workflow: str
    runs: int
    steps: tuple[StepQuote, ...]
    low_s: float | None
    likely_s: float | None
    high_s: float | None
    warnings: tuple[str, ...] = ()

    @property
    def low_usd(self) -> Decimal | None:
        """The dollars where the answers are short, and steps that depend on a condition are skipped."""
        return total_usd(step.low_usd for step in self.steps)

    @property
    def likely_usd(self) -> Decimal | None:
        """The likely dollars."""
        return total_usd(step.likely_usd for step in self.steps)

    @property
    def high_usd(self) -> Decimal | None:
        """The dollars where the answers are long."""
        return total_usd(step.high_usd for step in self.steps)

    @property
    def worst_usd(self) -> Decimal | None:
        """The dollars where every answer is as long as it may be."""
        return total_usd(step.worst_usd for step in self.steps)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is not known, and the functions of which nobody knows what they ask."""
        return tuple(dict.fromkeys(step.model or step.step for step in self.steps if step.likely_usd is None))

    def records(self) -> list[Mapping[str, Any]]:
        """Return one plain dictionary a step, with the columns of `to_frame()`."""
        return [{name: getattr(step, name) for name in StepQuote.__slots__} for step in self.steps]

    def to_frame(self) -> pd.DataFrame:
        """Return the quote as a table.

        Returns
        -------
        DataFrame, one row a step in the order they were added
            `step, model, calls, input_tokens, output_tokens, low_usd, likely_usd, high_usd, worst_usd, low_s, likely_s,
            high_s, basis`. Dollars and seconds as Float64, counts as Int64; what is unknown or does not apply is
            `<NA>`, never 0.
        """
        frame: pd.DataFrame = ports.load("quote_frame")(self)
        return frame

    def __repr__(self) -> str:
        text: str = ports.load("quote_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("quote_html")(self)
        return html
