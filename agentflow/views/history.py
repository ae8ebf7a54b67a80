"""The runs of the journal as a DataFrame that shows itself: what ran, how it ended, and what it cost by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

import pandas as pd

from agentflow.core.errors import InputError, RunNotFoundError, nearest
from agentflow.core.history import get_run
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.format import MARKS, NOT_APPLICABLE, count, duration, money, plural, spoken
from agentflow.views.frames import attempts_frame, runs_frame, steps_frame
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    MONO,
    MUTED,
    NUMBER,
    ROW,
    TABLE,
    badge,
    caption,
    card,
    code_block,
    element,
    fact_blocks,
    head_row,
    plain,
    safe,
    small,
)
from agentflow.views.outputs import one_line
from agentflow.views.summary import Fact

if TYPE_CHECKING:
    from matplotlib.axes import Axes

By = Literal["day", "workflow"]

_NEEDED = {
    "run_id", "workflow", "status", "started_at", "duration_ms", "steps", "finished_steps", "input_tokens",
    "output_tokens", "cost_usd", "bedrock_usd", "error",
}  # fmt: skip
_MOST_SHOWN = 50
_MOST_GROUPS = 31
_ERROR_CHARS = 160
_BAR = "#0072B2"  # as the timeline's, 3:1 against white and against JupyterLab's dark ground
_RUN_ID = f"{MONO};font-size:12px;white-space:nowrap"
_HEADS = {
    "run": HEAD, "workflow": HEAD, "cost": HEAD_NUMBER, "time": HEAD_NUMBER, "started (UTC)": HEAD_NUMBER,
    "steps": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER,
}  # fmt: skip


class Runs(pd.DataFrame):
    """A DataFrame of runs: all that pandas can do, and a view of its own in a notebook, also of a part of the rows."""

    @property
    def _constructor(self) -> type[Runs]:
        return Runs

    def cost_by(self, by: By = "day") -> pd.DataFrame:
        """Return what runs cost, by the day on which they were started (UTC) or by workflow.

        Returns
        -------
        DataFrame, one row a day or workflow, the newest or dearest first
            `day` or `workflow, runs, cost_usd, bedrock_usd` (Bedrock's list price). Runs of an unknown price count as
            none, and are in `unpriced`.

        Raises
        ------
        InputError
            `by` is neither.
        """
        if by not in {"day", "workflow"}:
            close = nearest(str(by), ["day", "workflow"])
            raise InputError(f"Cost by {by!r} is not known{close}.", fix="Give 'day' or 'workflow'.")
        frame = pd.DataFrame(self)
        key = frame["started_at"].dt.strftime("%Y-%m-%d") if by == "day" else frame["workflow"]
        rows = pd.DataFrame(
            {
                by: key.astype("string"),
                "runs": 1,
                "cost_usd": frame["cost_usd"].fillna(0.0),
                "bedrock_usd": frame["bedrock_usd"].fillna(0.0),
                "unpriced": (frame["cost_usd"].isna() & frame["input_tokens"].notna()).astype("int64"),
            }
        )
        found = rows.groupby(by, sort=True, as_index=False).sum()
        order = [by] if by == "day" else ["cost_usd", "bedrock_usd", "runs"]
        return found.sort_values(order, ascending=False, ignore_index=True, kind="stable")

    def steps_frame(self, *, limit: int = 500) -> pd.DataFrame:
        """Return the steps of the runs, read from the journal.

        Parameters
        ----------
        limit : of the first so many runs, which are the newest: each takes some milliseconds to read.

        Returns
        -------
        DataFrame, one row a step
            `workflow`, and the columns of `RunResult.to_frame()`. Runs that were deleted meanwhile are left out.

        Raises
        ------
        JournalError
            The journal cannot be read.
        """
        return self._gathered(steps_frame, limit)

    def attempts_frame(self, *, limit: int = 500) -> pd.DataFrame:
        """Return the requests that the runs sent to models; parameters and errors are those of `steps_frame`.

        Returns
        -------
        DataFrame, one row a request
            `workflow`, and the columns of `RunResult.attempts_frame()`. Runs that were deleted meanwhile are left out.
        """
        return self._gathered(attempts_frame, limit)

    def _gathered(self, frame_of: Callable[[RunResult], pd.DataFrame], limit: int) -> pd.DataFrame:
        """Return a frame of each of the first runs, below each other."""
        frames = [frame_of(RunResult(rows={"": StepRow("")})).head(0)]
        for run_id, workflow in zip(self["run_id"].head(limit), self["workflow"].head(limit), strict=True):
            try:
                frame = frame_of(get_run(run_id))
            except RunNotFoundError:
                continue
            frames.append(frame.assign(workflow=workflow))
        found = pd.concat(frames, ignore_index=True)
        found.insert(1, "workflow", found.pop("workflow").astype("string") if "workflow" in found else "")
        return found

    def plot_cost(self, by: By = "day", *, ax: Axes | None = None) -> Axes:
        """Draw what runs cost by day or by workflow, and return the Axes.

        Raises
        ------
        InputError
            `by` is neither.
        """
        from agentflow.views.cost_chart import cost_chart  # listing runs needs no matplotlib

        return cost_chart(self.cost_by(by), by, ax)

    def _repr_html_(self) -> str | None:
        if set(self.columns) >= _NEEDED:
            return runs_html(self)
        shown: str | None = super()._repr_html_()  # type: ignore[misc]  # the stubs of pandas leave it out
        return shown


def runs_view(records: Sequence[Mapping[str, Any]], filters: str = "") -> Runs:
    """Return the runs that the journal lists; `filters` says which of them were wanted."""
    frame = runs_frame(records)
    runs = Runs(frame)
    runs.attrs = {**frame.attrs, "filters": filters}
    return runs


def runs_html(runs: Runs) -> str:
    """Return runs as an HTML card; all text that comes from workflows and errors is escaped."""
    filters = one_line(str(runs.attrs.get("filters", "")), 300)
    said = element("span", safe(filters), style=MUTED) if filters else ""
    title = element("div", f"{element('strong', 'runs', style='font-size:16px')} {said}")
    if runs.empty:
        return card([title, _empty(filters)])
    records = cast("list[dict[str, Any]]", runs.head(_MOST_SHOWN).astype("object").to_dict("records"))
    left = len(runs) - len(records)
    more = small(f"… {count(left)} older runs: they are in the DataFrame" if left else "", style="margin:6px 0 0 0")
    newest = one_line(str(records[0]["run_id"]), 60)
    hint = small("Open one as it was:", style="margin:10px 0 0 0") + code_block(f"agentflow.get_run({newest!r})")
    groups = "".join(_groups(runs, by) for by in ("workflow", "day"))
    return card([title, fact_blocks(_facts(runs)), _table(records), more, groups, hint])


def _empty(filters: str) -> str:
    if filters:
        return plain("No run fits. agentflow.runs() without filters lists all.", style="margin:8px 0 0 0")
    told = (
        "No runs yet. Each run of a workflow is kept here as it happens: workflow.run(). They are in the folder "
        ".agentflow, or where AGENTFLOW_HOME says."
    )
    return plain(told, style="margin:8px 0 0 0")


def _facts(runs: Runs) -> list[Fact]:
    statuses = pd.DataFrame(runs)["status"].value_counts()
    found = [Fact("runs", count(len(runs)))]
    found += [Fact(spoken(str(status)), count(int(number))) for status, number in statuses.items()]
    found.append(Fact("paid", _dollars(float(runs["cost_usd"].fillna(0.0).sum()))))
    listed = float(runs["bedrock_usd"].fillna(0.0).sum())
    if _dollars(listed) != found[-1].value:
        found.append(Fact("Bedrock lists", _dollars(listed)))
    unpriced = int((runs["cost_usd"].isna() & runs["input_tokens"].notna()).sum())
    if unpriced:
        found.append(Fact("price unknown", plural(unpriced, "run")))
    found.append(Fact("time, all together", duration(float(runs["duration_ms"].fillna(0.0).sum()))))
    return found


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    said = caption("Runs, newest first; cost in US dollars")
    table = element("table", said + head_row(_HEADS) + element("tbody", "".join(map(_row, records))), style=TABLE)
    return element("div", table, style="overflow-x:auto;max-height:720px;overflow-y:auto")


def _row(record: Mapping[str, Any]) -> str:
    run_id = element("span", safe(one_line(str(record["run_id"]), 40)), style=_RUN_ID)
    name = element("strong", safe(one_line(str(record["workflow"]), 80)))
    error = _known(record["error"])
    told = small(safe(one_line(str(error), _ERROR_CHARS)), style="overflow-wrap:anywhere") if error else ""
    steps = f"{count(_known(record['finished_steps']))} of {count(_known(record['steps']))}"
    started = _known(record["started_at"])
    status = str(record["status"])
    cells = [
        element("td", run_id + element("div", badge(status) if status in MARKS else safe(status)), style=CELL),
        element("td", name + told, style=f"{CELL};min-width:110px"),
        element("td", _cost(record), style=NUMBER),
        element("td", duration(_known(record["duration_ms"])), style=NUMBER),
        element("td", f"{started:%Y-%m-%d %H:%M}" if started is not None else NOT_APPLICABLE, style=NUMBER),
        element("td", steps, style=NUMBER),
        element("td", _tokens(record), style=NUMBER),
    ]
    return element("tr", "".join(cells), style=ROW)


def _known(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def _tokens(record: Mapping[str, Any]) -> str:
    got = _known(record["input_tokens"]), _known(record["output_tokens"])
    return NOT_APPLICABLE if got[0] is None else f"{count(got[0])} / {count(got[1])}"


def _cost(record: Mapping[str, Any]) -> str:
    paid, listed = _known(record["cost_usd"]), _known(record["bedrock_usd"])
    if paid is None:
        return NOT_APPLICABLE if _known(record["input_tokens"]) is None else "price unknown"
    is_other = bool(listed) and _dollars(listed) != _dollars(paid)
    return _dollars(paid) + small(f"Bedrock {_dollars(listed)}" if is_other else "")


def _dollars(amount: float) -> str:
    return money(Decimal(repr(amount)) if amount else Decimal(0))


def _groups(runs: Runs, by: By) -> str:
    """Return what runs cost by day or by workflow, folded, with a bar for each."""
    costs = runs.cost_by(by)
    column = "cost_usd" if costs["cost_usd"].sum() or not costs["bedrock_usd"].sum() else "bedrock_usd"
    most = float(costs[column].max()) or 1.0
    rows = ""
    for record in cast("list[dict[str, Any]]", costs.head(_MOST_GROUPS).to_dict("records")):
        width = max(float(record[column]) / most * 100, 0.0)
        bar = element("div", "", style=f"width:{width:.1f}%;height:10px;border-radius:3px;background-color:{_BAR}")
        unpriced = small(f"{plural(int(record['unpriced']), 'run')} without a price" if record["unpriced"] else "")
        rows += element(
            "tr",
            element("td", safe(one_line(str(record[by]), 60)), style=CELL)
            + element("td", count(int(record["runs"])), style=NUMBER)
            + element("td", _dollars(float(record[column])) + unpriced, style=NUMBER)
            + element("td", bar, style=f"{CELL};width:50%;min-width:80px"),
            style=ROW,
        )
    what = "Bedrock's list price" if column == "bedrock_usd" else "cost"
    heads = {by: HEAD, "runs": HEAD_NUMBER, what: HEAD_NUMBER, "": HEAD}
    table = element("table", head_row(heads) + element("tbody", rows), style=TABLE)
    left = len(costs) - _MOST_GROUPS
    more = small(f"… {count(left)} more: .cost_by({by!r})" if left > 0 else "")
    summary = element("summary", f"{what} by {by}", style="cursor:pointer")
    inside = element("div", table + more, style="margin:4px 0 8px 14px;overflow-x:auto")
    return element("details", summary + inside, style="margin:8px 0 0 0")
