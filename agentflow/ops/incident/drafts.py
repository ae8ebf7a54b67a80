"""Drafts of what is told to others: the stakeholder message and the post-mortem, in Markdown.

What only people know is left open as `[...]`. All text that comes from records is escaped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.ops.archive import write_file
from agentflow.views.format import duration
from agentflow.views.markdown import escaped, fenced, table
from agentflow.views.outputs import one_line

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.ops.incident.incident import Incident

_MOST_ROWS = 8  # of evidence
_WIDEST_CELL = 80  # characters
_SEAL = re.compile(r"\n<!-- draft ([0-9a-f]{16}) -->\n\Z")


@dataclass(frozen=True)
class Draft:
    """A text that was written to a file.

    Attributes
    ----------
    text : Markdown; a notebook shows it as such.
    path : its file.
    """

    text: str
    path: Path

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def written_draft(path: Path, text: str) -> Draft:
    """Write a draft. One that somebody has edited is kept: the new one gets another name."""
    if path.exists() and _is_edited(path.read_text(encoding="utf-8", errors="replace")):
        path = path.with_name(f"{path.stem}.new{path.suffix}")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    write_file(path, f"{text}\n<!-- draft {digest} -->\n".encode())
    return Draft(text, path)


def _is_edited(text: str) -> bool:
    seal = _SEAL.search(text)
    return seal is None or hashlib.sha256(text[: seal.start()].encode()).hexdigest()[:16] != seal[1]


def stakeholder_message(incident: Incident) -> str:
    """Return the message to those who depend on the workflows: what, since when, how much, what is done, what next."""
    classified, impact = incident.classified, incident.impact
    since = f"{incident.began_at:%Y-%m-%d %H:%M} UTC" if incident.began_at else "[since when]"
    cause = incident.found.findings[0] if incident.found.findings else None
    known = f"{cause.cause.replace('_', ' ')} ({100 * cause.confidence:.0f}% sure)" if cause else "not known yet"
    lines = [
        f"**[{classified.name}] {escaped(', '.join(impact.workflows) or 'AgentFlow')}: {_headline(incident)}**",
        "",
        f"- **Since:** {since}",
        f"- **Impact:** {escaped(impact.sentence)}",
        f"- **Cause:** {escaped(known)}",
        f"- **State:** {escaped(incident.state)}",
        "- **What we do:** [what is being done, and by whom]",
        f"- **Response:** {classified.respond}. **Next update:** [when]",
        "",
        f"Incident {incident.id}, as of {datetime.now(UTC):%H:%M} UTC.",
    ]
    return "\n".join(lines)


def _headline(incident: Incident) -> str:
    if incident.impact.failed:
        return f"{incident.impact.failed_percent:.0f}% of the runs fail"
    return "slower or dearer than usual, nothing fails" if incident.found.findings else "no fault found"


def post_mortem(incident: Incident) -> str:
    """Return the post-mortem: what it did, when, why, with the evidence, and what is to be done."""
    return "\n".join(_post_mortem(incident))


def _post_mortem(incident: Incident) -> Iterator[str]:
    classified, impact = incident.classified, incident.impact
    began = f"{incident.began_at:%Y-%m-%d %H:%M} UTC" if incident.began_at else "[when]"
    yield f"# Post-mortem {incident.id}: {_headline(incident)}"
    yield ""
    yield "*A draft, made of the records; what stands in [brackets] is for people to say. Blameless.*"
    yield ""
    so_far = "" if impact.is_over else " so far"
    facts = [
        ("Severity", f"{classified.name}: {classified.why}"),
        ("Began", began),
        ("State", incident.state),
        ("Lasted", duration(impact.lasted_ms) + so_far if impact.lasted_ms is not None else "[how long]"),
        ("Impact", impact.sentence),
        ("Looked at", f"{incident.found.window}, {incident.found.source}"),
    ]
    yield table(("", ""), facts)
    yield "\n## Timeline\n"
    yield incident.timeline().to_markdown()
    yield "\n## Root cause\n"
    if not incident.found.findings:
        yield "No rule found a cause: [what it was]."
    for finding in incident.found.findings:
        yield f"**{escaped(finding.cause)}** ({finding.severity}, {100 * finding.confidence:.0f}% sure):\n"
        yield escaped(finding.summary) + "\n"
        yield _evidence(finding.evidence.head(_MOST_ROWS))
        if len(finding.evidence) > _MOST_ROWS:
            yield f"\n{len(finding.evidence):,} records in all; they are in the evidence bundle."
        yield ""
    if incident.found.unexplained:
        yield "Errors that no rule knows:\n"
        rows = [(f"{times:,}", error) for error, times in incident.found.unexplained.items()]
        yield table(("times", "error"), rows) + "\n"
    yield "## Mitigation and resolution\n"
    notes = [event for event in incident.timeline() if event.kind == "note"]
    yield (
        "\n".join(f"- {event.at:%H:%M} {escaped(event.what)}" for event in notes) or "[what was done, and what helped]"
    )
    yield "\n## Action items\n"
    actions = [f"Prevent {finding.cause.replace('_', ' ')}" for finding in incident.found.findings]
    yield table(("Action", "Owner", "Due"), [(each, "[who]", "[when]") for each in (*actions, "Update the runbook")])
    for finding in incident.found.findings:
        yield f"\nFix of {escaped(finding.cause)}, as `agentflow diagnose` proposes it:\n"
        yield fenced(finding.fix, "text")
    yield "\n## What went well, what did not\n"
    yield "- [detection: which alarm, how soon]\n- [what helped]\n- [what was in the way]"


def _evidence(records: pd.DataFrame) -> str:
    """Return records as a table, each text cut to what a table has room for."""
    shown = records.copy()
    if "timestamp" in shown:
        shown["timestamp"] = shown["timestamp"].dt.strftime("%H:%M:%S")
    cells = shown.astype("string").fillna("").map(lambda text: one_line(text, _WIDEST_CELL))
    return table([escaped(str(name)) for name in shown.columns], cells.itertuples(index=False, name=None))
