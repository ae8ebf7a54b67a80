"""The runs of the journal as a DataFrame that shows itself."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

import agentflow
from agentflow import Workflow, WorkflowError
from agentflow.core.errors import InputError
from agentflow.views.history import Runs, runs_view
from tests.views.looks import Page
from tests.views.runs import HOSTILE
from tests.views.test_html import KEPT_ATTRIBUTES, KEPT_TAGS


def record(number: int, **more: Any) -> dict[str, Any]:
    plain = {
        "run_id": f"r-{number}", "workflow": "news", "status": "ok", "duration_ms": 1200.0, "steps": 3,
        "started_at": datetime(2026, 11, 25, 9, tzinfo=UTC) - timedelta(hours=10 * number), "finished_steps": 3,
        "attempts": 2, "input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.01"),
        "bedrock_usd": Decimal("0.01"), "error": None, "heartbeat_at": datetime(2026, 11, 25, tzinfo=UTC),
        "memory_mb": 1.0, "pid": 1, "host": "h",
    }  # fmt: skip
    return {**plain, **more}


def several() -> Runs:
    return runs_view(
        [
            record(0),
            record(1, workflow=HOSTILE, status="failed", error=HOSTILE),
            record(2, cost_usd=None, bedrock_usd=None),
            record(3, workflow="triage", cost_usd=Decimal("0.2"), bedrock_usd=Decimal("0.2"), status="running"),
        ]
    )


def shown(runs: Any) -> str:
    return Page(runs._repr_html_()).text


def test_a_card_has_status_cost_time_and_groups() -> None:
    html = several()._repr_html_()
    assert html is not None
    page = Page(html)
    assert set(page.tags) <= KEPT_TAGS
    assert {name for name, _ in page.attributes} <= KEPT_ATTRIBUTES
    for told in (
        "✗ failed",
        "… running",
        "price unknown",
        "cost by workflow",
        "cost by day",
        "agentflow.get_run('r-0')",
    ):
        assert told in page.text
    assert HOSTILE in page.text
    assert html == several()._repr_html_()


def test_a_part_of_the_rows_shows_itself_too_and_a_part_of_the_columns_as_pandas_does() -> None:
    runs = several()
    failed = runs[runs["status"] == "failed"]
    assert isinstance(failed, Runs)
    assert "r-1" in str(failed._repr_html_())
    assert "r-0" not in Page(str(failed._repr_html_())).text
    assert 'class="dataframe"' in str(runs[["run_id", "status"]]._repr_html_())
    assert runs.attrs["units"]["cost_usd"] == "USD"


def test_cost_by_day_and_by_workflow_adds_up() -> None:
    runs = several()
    by_day, by_workflow = runs.cost_by("day"), runs.cost_by("workflow")
    assert by_day["day"].tolist() == ["2026-11-25", "2026-11-24"]
    assert by_workflow["workflow"].tolist()[0] == "triage"
    assert by_day["cost_usd"].sum() == pytest.approx(0.22) == by_workflow["cost_usd"].sum()
    assert by_day["unpriced"].sum() == 1
    with pytest.raises(InputError, match="did you mean 'day'"):
        runs.cost_by("days")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["day", "workflow"])
def test_costs_can_be_drawn(by: Any) -> None:
    for runs in (several(), runs_view([])):
        ax = runs.plot_cost(by)
        ax.get_figure(root=True).savefig(BytesIO())  # type: ignore[union-attr]


def test_an_empty_history_says_what_to_do() -> None:
    assert "workflow.run()" in shown(agentflow.runs())
    assert "No run fits" in shown(agentflow.runs(workflow="x"))


def test_filters_choose_runs() -> None:
    for name in ("one", "two"):
        workflow = Workflow(name)
        workflow.add_step("divide", lambda number: 1 / number)
        workflow.run(number=1)
    with pytest.raises(WorkflowError):
        workflow.run(number=0)
    assert len(agentflow.runs()) == 3
    assert agentflow.runs(workflow="two")["status"].tolist() == ["failed", "ok"]
    assert agentflow.runs(workflow=["one", "two"], status="ok")["workflow"].tolist() == ["two", "one"]
    assert len(agentflow.runs(limit=1)) == 1
    for since in ("1h", "7d", timedelta(minutes=5), date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01"):
        assert len(agentflow.runs(since=since)) == 3
    assert agentflow.runs(since=datetime.now(UTC) + timedelta(hours=1)).empty
    assert "status failed" in shown(agentflow.runs(status="failed"))


@pytest.mark.parametrize("filters", [{"status": "fialed"}, {"since": "soon"}, {"limit": 0}, {"workflow": 3}])
def test_a_wrong_filter_is_named(filters: Any) -> None:
    with pytest.raises(InputError):
        agentflow.runs(**filters)


@pytest.mark.soak
def test_listing_runs_needs_no_matplotlib() -> None:
    code = "import sys, agentflow; agentflow.runs()._repr_html_(); sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
