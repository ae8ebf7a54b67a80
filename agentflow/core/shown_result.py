"""How a result becomes tables, charts, text and a card: what `RunResult` shows itself with. The views do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentflow.core import ports

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas as pd


class ShownResult:
    """The forms of a run for people; `RunResult` is the one."""

    def to_frame(self) -> pd.DataFrame:
        """Return the run as a table.

        Returns
        -------
        DataFrame, one row a step in the order they were added, and one an item for a mapped step
            Columns as in `records()`. Times in milliseconds, `started_at` in UTC, dollars as Float64, tokens, items
            and attempts as Int64; what is unknown or does not apply is `<NA>`, never 0.
        """
        frame: pd.DataFrame = ports.load("steps_frame")(self)
        return frame

    def attempts_frame(self) -> pd.DataFrame:
        """Return the requests that were sent to models as a table.

        Returns
        -------
        DataFrame, one row an attempt
            `run_id, step, item, attempt, status` (answered, rejected, failed or given up)`, started_at` (UTC)`,
            latency_ms, error_code, http_status, wait_ms` (the pause that followed)`, region, reason` (why another
            region or model was asked)`, request_id, model_id`.
        """
        frame: pd.DataFrame = ports.load("attempts_frame")(self)
        return frame

    def tools_frame(self) -> pd.DataFrame:
        """Return the tools that models had called as a table.

        Returns
        -------
        DataFrame, one row a call
            `run_id, step, item, tool, status` (ok or failed)`, started_at` (UTC)`, latency_ms, arguments` (a
            dictionary)`, output` (the text that the model was given).
        """
        frame: pd.DataFrame = ports.load("tools_frame")(self)
        return frame

    def plot(self, kind: str = "timeline", *, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the run: its `timeline`, or what each step took in `cost`, `tokens`, `latency` or `retries`.

        Raises
        ------
        InputError
            There is no such chart.
        """
        drawn: matplotlib.axes.Axes = ports.load("run_chart")(self, kind, ax=ax)
        return drawn

    def __repr__(self) -> str:
        text: str = ports.load("run_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("run_html")(self)
        return html
