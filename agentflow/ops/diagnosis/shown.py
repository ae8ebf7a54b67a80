"""A diagnosis as text for a terminal, and as a card for a notebook."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentflow.ops.diagnosis.finding import Finding, Severity
from agentflow.views.format import plural
from agentflow.views.html_parts import CELL, MONO, MUTED, ROW, TABLE, card, element, plain, safe, small
from agentflow.views.outputs import one_line

if TYPE_CHECKING:
    from agentflow.ops.diagnosis.diagnose import Diagnosis

_WIDEST = 100
_RUNS_SHOWN = 3
_LONGEST = 4_000  # characters of a sentence; a policy may be long
_COLOURS: dict[Severity, str] = {"P0": "#b42318", "P1": "#b42318", "P2": "#b54708", "P3": "#475467"}


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as text, as wide as the terminal."""
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    return "\n".join(_lines(diagnosis, width))


def headline(diagnosis: Diagnosis) -> str:
    """Return what was found, in a sentence."""
    causes = plural(len(diagnosis.findings), "cause") if diagnosis.findings else "nothing"
    failed = f", {diagnosis.failed:,} of them failed" if diagnosis.failed else ""
    runs = plural(diagnosis.runs, "run")
    return f"Found {causes}: {diagnosis.window}, {runs} ended{failed} ({diagnosis.source})"


def _lines(diagnosis: Diagnosis, width: int) -> Iterator[str]:
    yield from textwrap.wrap(headline(diagnosis), width)
    for note in diagnosis.notes:
        yield from textwrap.wrap(f"Note: {one_line(note, _LONGEST)}", width, subsequent_indent="      ")
    for finding in diagnosis.findings:
        yield ""
        yield f"{finding.severity}  {finding.cause}  ({_sureness(finding)})"
        for text in (one_line(finding.summary, _LONGEST), _since(finding)):
            yield from textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
        yield from textwrap.wrap(
            f"Fix: {one_line(finding.fix, _LONGEST)}", width, initial_indent="    ", subsequent_indent="         ",
            break_on_hyphens=False, break_long_words=False,
        )  # fmt: skip
    if diagnosis.unexplained:
        yield ""
        yield "Errors that no rule knows:"
        for error, times in diagnosis.unexplained.items():
            yield from textwrap.wrap(f"{times:,} x {one_line(error, 400)}", width, initial_indent="    ")


def _sureness(finding: Finding) -> str:
    return f"{100 * finding.confidence:.0f}% sure"


def _since(finding: Finding) -> str:
    runs = ", ".join(finding.affected_runs[:_RUNS_SHOWN])
    more = len(finding.affected_runs) - _RUNS_SHOWN
    others = f" and {more:,} more" if more > 0 else ""
    since = f"Since {finding.first_bad_minute:%Y-%m-%d %H:%M} UTC, " if finding.first_bad_minute else ""
    return f"{since}{plural(len(finding.affected_runs), 'run')}: {runs}{others}"


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as an HTML card; all text that comes from records is escaped."""
    title = element("div", element("strong", safe(headline(diagnosis)), style="font-size:15px"))
    notes = "".join(small(safe(note)) for note in diagnosis.notes)
    rows = "".join(_row(finding) for finding in diagnosis.findings)
    table = element("table", element("tbody", rows), style=f"{TABLE};margin-top:10px") if rows else ""
    unknown = "".join(
        small(f"{times:,} &times; {safe(one_line(error, 400))}") for error, times in diagnosis.unexplained.items()
    )
    left = element("div", f"Errors that no rule knows:{unknown}", style="margin-top:10px") if unknown else ""
    return card([title, notes, table, left])


def _row(finding: Finding) -> str:
    colour = _COLOURS[finding.severity]
    badge = element(
        "span",
        finding.severity,
        style=f"background:{colour};color:white;border-radius:4px;padding:1px 7px;font-weight:600",
    )
    name = element("strong", safe(finding.cause)) + small(_sureness(finding))
    what = plain(safe(one_line(finding.summary, _LONGEST)), style="white-space:pre-wrap;overflow-wrap:anywhere")
    fix = plain(
        safe(one_line(finding.fix, _LONGEST)),
        style=f"{MONO};font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere;margin-top:4px",
    )
    cells = [
        element("td", badge, style=CELL),
        element("td", name, style=f"{CELL};white-space:nowrap"),
        element("td", what + fix + element("div", safe(_since(finding)), style=MUTED), style=f"{CELL};width:100%"),
    ]
    return element("tr", "".join(cells), style=ROW)
