"""A run as a card for a notebook: complete when saved, exported or not trusted, calm in light and dark.

Inline styles only, and only those that JupyterLab's sanitizer keeps. Text inherits the page's colour; what has a
colour of its own (marks, bars) was chosen to stand out from white and from `#111`.
"""

from __future__ import annotations

from agentflow.core.result import RunResult
from agentflow.views.html_details import step_details
from agentflow.views.html_parts import MUTED, badge, card, element, error_note, fact_blocks, safe, warnings_note
from agentflow.views.html_table import steps_table
from agentflow.views.reproduce import how_to_open, reproduce_html
from agentflow.views.summary import INTERRUPTED, headline, so_far, warnings_of


def run_html(result: RunResult) -> str:
    """Return a run as an HTML card; the same result gives the same HTML.

    All text that comes from workflows, models and errors is escaped. An output is cut at 20,000 characters, at fewer
    where a run has more than ten steps.
    """
    result.tell_why()
    parts = [
        _title(result),
        fact_blocks(headline(result)),
        _note(result),
        warnings_note(warnings_of(result)),
        steps_table(result),
        step_details(result),
        reproduce_html(result),
    ]
    return card(parts)


def _title(result: RunResult) -> str:
    name = element("strong", safe(result.workflow or "workflow"), style="font-size:16px;overflow-wrap:break-word")
    run_id = element("span", f"run {safe(result.run_id)}", style=MUTED) if result.run_id else ""
    row = "display:flex;flex-wrap:wrap;gap:2px 12px;align-items:center"
    return element("div", f"{name} {badge(result.status)} {run_id}", style=row)


def _note(result: RunResult) -> str:
    if result.error is not None:
        return error_note(result.error, how_to_open(result))
    if result.status == "interrupted":
        said = f"{INTERRUPTED}<br>{element('strong', safe(so_far(result)))}"
        return element("div", said, style="margin:0 0 12px 0")
    return ""
