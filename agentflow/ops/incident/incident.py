"""An incident as the engineer on call works on it: classified, with a timeline, drafts and sealed evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from agentflow.core.errors import InputError
from agentflow.core.run_filter import Since, moment
from agentflow.ops.diagnosis.diagnose import Diagnosis, diagnose, examined
from agentflow.ops.diagnosis.seen import FAILED, Seen
from agentflow.ops.incident.drafts import Draft, post_mortem, stakeholder_message, written_draft
from agentflow.ops.incident.evidence import Evidence, sealed
from agentflow.ops.incident.impact import Impact, impact_of
from agentflow.ops.incident.redacted import shareable, shareable_records
from agentflow.ops.incident.severity import Classified, classified
from agentflow.ops.incident.timeline import Event, Timeline, events_of
from agentflow.utils.env import home_folder
from agentflow.views.format import plural
from agentflow.views.html_parts import MUTED, card, element, fact_blocks, safe
from agentflow.views.summary import Fact

_NOTES = "notes.jsonl"
_MESSAGE, _POST_MORTEM = "stakeholder_message.md", "post_mortem.md"
_COLOURS = {"P0": "#b42318", "P1": "#b42318", "P2": "#b54708", "P3": "#475467"}


def open_incident(
    run_id: str | None = None,
    *,
    since: Since = None,
    source: str | Path = "store",
    severity: str = "",
    folder: str | Path = "",
) -> Incident:
    """Look at the records of a time, and return the incident that they show.

    Whatever it says may be shown to others: prompts, answers, words that may quote them, secrets and the numbers of
    accounts are taken out of the records before anything is made of them.

    Parameters
    ----------
    run_id, since, source : as for `agentflow.diagnose`.
    severity : P0 to P3 where somebody has decided; else by the runbook's table.
    folder : of all incidents; default `incidents` in the store's folder.

    Raises
    ------
    InputError
        An argument is none, or the source or the folder cannot be used.
    RunNotFoundError, JournalError
        As for `agentflow.diagnose`.
    """
    found = diagnose(run_id or None, since=since, source=source)
    return Incident(found, severity=severity, folder=folder, with_alarms_of_cloudwatch=source == "cloudwatch")


class Incident:
    """An incident, whose folder has its notes, drafts and evidence.

    Parameters
    ----------
    found : what `diagnose` found, with its records.
    severity, folder : as for `open_incident`.
    with_alarms_of_cloudwatch : whether CloudWatch is asked when its alarms went off.

    Attributes
    ----------
    found : the same, of records without what is not to be shown.
    classified : its severity, and what that rests on.
    began_at : when the first record shows it (UTC); None where none does.
    id : by its beginning, so that looking again finds its folder.
    """

    def __init__(
        self,
        found: Diagnosis,
        *,
        severity: str = "",
        folder: str | Path = "",
        with_alarms_of_cloudwatch: bool = False,
    ) -> None:
        self.found = _shareable(found)
        self.classified: Classified = classified(self.found, severity)
        minutes = [each.first_bad_minute for each in self.found.findings if each.first_bad_minute]
        self.began_at = min(minutes, default=None) or self._first_failure()
        self.id = f"INC-{self.began_at or datetime.now(UTC):%Y%m%d-%H%M}"
        self._with_alarms_of_cloudwatch = with_alarms_of_cloudwatch
        self.folder = (Path(folder).expanduser() if folder else home_folder() / "incidents") / self.id
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder} cannot be made: {error.strerror}.", fix="Give another folder.") from error

    @cached_property
    def impact(self) -> Impact:
        """How many runs failed, of which workflows, for how long."""
        return impact_of(self.found)

    @property
    def state(self) -> str:
        """Whether it goes on, by the runs after the last failed one."""
        impact = self.impact
        if not impact.failed:
            return "no run failed"
        good = f"{plural(impact.good_since, 'good run')} since the last failure"
        return good if impact.is_over else "going on: no good run since the last failure"

    def note(self, what: str, at: str | datetime | None = None) -> None:
        """Add what was done or seen to the timeline; the same words again, as of a cell that is run again, do nothing.

        Parameters
        ----------
        at : when; default: now. A time such as `20:14` is one of today, in UTC.

        Raises
        ------
        InputError
            The time is none.
        """
        if any(event.what == what for event in self._notes()):
            return
        line = json.dumps({"at": _when(at).isoformat(), "what": what}, ensure_ascii=False)
        with (self.folder / _NOTES).open("a", encoding="utf-8") as notes:
            notes.write(f"{line}\n")

    def timeline(self) -> Timeline:
        """Return what happened when, with the notes. Blocks where CloudWatch has the alarms."""
        return Timeline([*self._events, *self._notes()])

    @cached_property
    def _events(self) -> list[Event]:
        return events_of(self.found, with_alarms_of_cloudwatch=self._with_alarms_of_cloudwatch)

    def _notes(self) -> list[Event]:
        path = self.folder / _NOTES
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        notes = [json.loads(line) for line in lines if line.strip()]
        return [Event(datetime.fromisoformat(note["at"]), "note", shareable(note["what"])) for note in notes]

    def stakeholder_message(self) -> Draft:
        """Draft the message to those who depend on the workflows, into the incident's folder."""
        return written_draft(self.folder / _MESSAGE, stakeholder_message(self))

    def post_mortem(self) -> Draft:
        """Draft the post-mortem, into the incident's folder."""
        return written_draft(self.folder / _POST_MORTEM, post_mortem(self))

    def seal(self, health: Mapping[str, Any] | None = None) -> Evidence:
        """Write the evidence into an archive, with the SHA-256 of each file in it, and of the whole beside it.

        Parameters
        ----------
        health : what `agentflow.health_check()` found.
        """
        return sealed(self, health)

    def _first_failure(self) -> datetime | None:
        if self.found.seen is None:
            return None
        ended = self.found.seen.new(self.found.seen.ended)
        first = ended.loc[ended["status"].isin(FAILED), "timestamp"].min()
        return None if first != first else first.floor("min").to_pydatetime()  # noqa: PLR0124 - NaT

    def __repr__(self) -> str:
        began = f", since {self.began_at:%Y-%m-%d %H:%M} UTC" if self.began_at else ""
        return (
            f"{self.id}: {self.classified.name}{began} (respond: {self.classified.respond})\n"
            f"{self.impact.sentence}\n{self.classified.why}\n{self.state}"
        )

    def _repr_html_(self) -> str:
        level = self.classified.severity
        badge = element(
            "span",
            safe(self.classified.name),
            style=f"background:{_COLOURS[level]};color:white;border-radius:4px;padding:2px 10px;font-weight:600",
        )
        title = element("strong", safe(self.id), style="font-size:16px")
        impact, began = self.impact, self.began_at
        facts = [
            Fact("respond", self.classified.respond),
            Fact("since, UTC", f"{began:%Y-%m-%d %H:%M}" if began else "-"),
            Fact("runs failed", f"{impact.failed:,} of {impact.runs:,}"),
            Fact("causes", ", ".join(dict.fromkeys(each.cause for each in self.found.findings)) or "none found"),
        ]
        lines = [self.classified.why, self.impact.sentence, self.state]
        told = "".join(element("div", safe(line), style="overflow-wrap:anywhere") for line in lines)
        row = "display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center"
        where = element("div", f"folder: {safe(str(self.folder))}", style=f"{MUTED};overflow-wrap:anywhere")
        return card([element("div", f"{badge} {title}", style=row), fact_blocks(facts), told, where])


def _shareable(found: Diagnosis) -> Diagnosis:
    """Return what the rules find in the records without what is not to be shown."""
    if found.seen is None:
        return found
    seen = Seen(shareable_records(found.seen.records), found.seen.now, found.seen.limits)
    return examined(seen, found.window, shareable(found.source), map(shareable, found.notes))


def _when(at: str | datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    if isinstance(at, datetime):
        return at.astimezone(UTC)
    try:
        return datetime.combine(datetime.now(UTC), datetime.strptime(at, "%H:%M").replace(tzinfo=UTC).timetz())
    except ValueError:
        return moment(at) or datetime.now(UTC)
