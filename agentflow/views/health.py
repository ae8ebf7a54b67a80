"""A health check as text for a terminal, and as a card."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from agentflow.views.format import MARKS, plural
from agentflow.views.html_parts import (
    CELL,
    HEAD,
    MONO,
    MUTED,
    ROW,
    TABLE,
    badge,
    card,
    element,
    head_row,
    plain,
    safe,
    small,
)
from agentflow.views.outputs import one_line
from agentflow.views.text_table import GAP, WIDTH

_LONGEST = 4_000  # characters of a figure or a fix: a policy can have some thousand
_INDENT = "    "
# State -> the word in the narrow column of a terminal, its colour, and what stands before its fix.
_WORDS = {
    "ok": ("ok", "32", "fix: "),
    "warning": ("warn", "33", "fix: "),
    "failed": ("FAIL", "1;31", "fix: "),
    "not configured": ("off", "2", "to turn it on: "),
    "not checked": ("?", "33", "fix: "),
}

Record = Mapping[str, Any]


def health_text(records: Sequence[Record], place: str, *, width: int = WIDTH, colours: bool = False) -> str:
    """Return the checks as text: a line each, what to do below where there is something, and the verdict.

    Parameters
    ----------
    width : in columns.
    colours : whether the states are coloured, for a terminal.
    """
    names = max((len(record["check"]) for record in records), default=0)
    states = max(len(word) for word, _, _ in _WORDS.values())
    lines = [one_line(f"health of {place}", width), ""]
    for record in records:
        word, colour, before_fix = _WORDS[record["state"]]
        state = word.ljust(states)
        shown = f"\x1b[{colour}m{state}\x1b[0m" if colours else state
        lead = f"{state}{GAP}{record['check'].ljust(names)}{GAP}"
        first, *more = _wrapped(record["figure"], width, first=" " * len(lead), rest=" " * len(lead)) or [lead]
        lines.append((shown + lead[len(state) :] + first[len(lead) :]).rstrip())
        lines += more
        if record["fix"]:
            lines += _wrapped(record["fix"], width, first=_INDENT + before_fix, rest=_INDENT)
    return "\n".join([*lines, "", *_wrapped(_verdict(records), width, first="", rest="")])


def health_html(records: Sequence[Record], place: str) -> str:
    """Return the checks as an HTML card; all texts are escaped."""
    rows = "".join(_row(record) for record in records)
    table = element(
        "table", head_row({"check": HEAD, "state": HEAD, "found": HEAD}) + element("tbody", rows), style=TABLE
    )
    title = element("strong", safe(f"health of {one_line(place, 200)}"), style="font-size:16px")
    verdict = element("div", safe(_verdict(records)), style=f"{MUTED};margin:2px 0 12px 0")
    return card([title, verdict, table])


def _row(record: Record) -> str:
    _, _, before_fix = _WORDS[record["state"]]
    fix = plain(safe(_clean(before_fix + record["fix"]))) if record["fix"] else ""
    found = plain(safe(_clean(record["figure"])), style="overflow-wrap:anywhere")
    cells = [
        element("td", safe(record["check"]), style=f"{CELL};{MONO};font-size:12px;white-space:nowrap"),
        element("td", badge(record["state"]), style=CELL),
        element("td", found + small(fix, style="overflow-wrap:anywhere"), style=CELL),
    ]
    return element("tr", "".join(cells), style=ROW)


def _verdict(records: Sequence[Record]) -> str:
    by_state = {state: [record["check"] for record in records if record["state"] == state] for state in MARKS}
    failed, warnings = by_state["failed"], by_state["warning"]
    said = (
        f"{len(failed)} of {plural(len(records), 'check')} failed: {', '.join(failed)}."
        if failed
        else (f"Nothing failed in {plural(len(records), 'check')}.")
    )
    said += f" To look at: {', '.join(warnings)}." if warnings else ""
    for state in ("not checked", "not configured"):
        said += f" {state.capitalize()}: {', '.join(by_state[state])}." if by_state[state] else ""
    return said


def _wrapped(text: str, width: int, *, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        _clean(text),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _clean(text: str) -> str:
    """Return a text in one line, with nothing that steers a terminal."""
    return one_line(text, _LONGEST)
