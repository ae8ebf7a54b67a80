"""What happened when: runs, changes of steps, first bad minutes, alarms, and what the engineer on call has done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from agentflow.ops.alarm_states import PREFIX, crossings, figure, limit_text, written
from agentflow.ops.cloudwatch import aws_client
from agentflow.ops.diagnosis.diagnose import Diagnosis
from agentflow.ops.diagnosis.seen import FAILED, Seen
from agentflow.views.html_parts import CELL, HEAD, MUTED, ROW, TABLE, card, element, head_row, safe
from agentflow.views.markdown import table
from agentflow.views.outputs import one_line

if TYPE_CHECKING:
    import pandas as pd

_LONGEST, _LONGEST_ERROR = 400, 160  # characters
_MOST_CHANGES = 20
_KINDS = ("change", "cause", "run", "alarm", "note")  # in the order of those of the same moment
_FIRST_FAILED = "first failed run:"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes
    ----------
    at : when, in UTC.
    kind : `change`, `cause`, `run`, `alarm` or `note`.
    what : in a sentence.
    """

    at: datetime
    kind: str
    what: str


class Timeline(tuple[Event, ...]):
    """Events in the order of time; shows itself as a table."""

    __slots__ = ()

    def __new__(cls, events: Iterable[Event]) -> Self:
        """Take the events in any order."""
        return super().__new__(cls, sorted(events, key=lambda each: (each.at, _KINDS.index(each.kind))))

    def to_frame(self) -> pd.DataFrame:
        """Return one row an event: `at` (UTC), `kind`, `what`."""
        import pandas as pd

        frame = pd.DataFrame([(each.at, each.kind, each.what) for each in self], columns=["at", "kind", "what"])
        return frame.astype({"kind": "string", "what": "string"})

    def to_markdown(self) -> str:
        """Return the events as a table of Markdown."""
        return table(("UTC", "", "What"), self._rows())

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        is_one_day = len({each.at.date() for each in self}) < 2
        for each in self:
            yield (
                f"{each.at:{'%H:%M:%S' if is_one_day else '%m-%d %H:%M:%S'}}",
                each.kind,
                one_line(each.what, _LONGEST),
            )

    def __repr__(self) -> str:
        return "\n".join(f"{at}  {kind:<6}  {what}" for at, kind, what in self._rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            element(
                "tr",
                element("td", at, style=f"{CELL};white-space:nowrap;font-variant-numeric:tabular-nums")
                + element("td", element("strong", safe(kind)), style=f"{CELL};white-space:nowrap")
                + element("td", safe(what), style=f"{CELL};width:100%;overflow-wrap:anywhere"),
                style=ROW,
            )
            for at, kind, what in self._rows()
        )
        day = f"{self[0].at:%Y-%m-%d}, UTC" if self else "no events"
        heads = head_row({day: HEAD, "": HEAD, "what": HEAD})
        return (
            card([element("table", heads + element("tbody", rows), style=TABLE)])
            if rows
            else element("div", day, style=MUTED)
        )


def events_of(found: Diagnosis, *, with_alarms_of_cloudwatch: bool = False) -> list[Event]:
    """Return what the records say of the time. Blocks where CloudWatch is asked for the history of its alarms."""
    seen = found.seen
    if seen is None:
        return []
    events = [*_runs(seen), *_changes(seen), *_causes(found)]
    if with_alarms_of_cloudwatch:
        return [*events, *_alarm_history(seen)]
    bad = [each.at for each in events if each.kind == "cause" or each.what.startswith(_FIRST_FAILED)]
    return [*events, *_alarms(seen, min(bad, default=None))]


def _runs(seen: Seen) -> Iterator[Event]:
    ended = seen.new(seen.ended)
    is_bad = ended["status"].isin(FAILED)
    bad, good = ended[is_bad], ended[~is_bad]
    if ended.empty:
        return
    if bad.empty:
        first, last = ended.iloc[0], ended.iloc[-1]
        yield Event(_at(first), "run", f"first run of the window ends: {first['run_id']} {first['status']}")
        yield Event(_at(last), "run", f"last run of the window ends: {last['run_id']} {last['status']}")
        return
    first, last = bad.iloc[0], bad.iloc[-1]
    before, after = good[good["timestamp"] <= first["timestamp"]], good[good["timestamp"] > last["timestamp"]]
    if len(before):
        yield Event(_at(before.iloc[-1]), "run", f"last good run before: {before.iloc[-1]['run_id']}")
    why = one_line(str(first["error"] or first["status"]), _LONGEST_ERROR)
    yield Event(_at(first), "run", f"{_FIRST_FAILED} {first['run_id']}: {why}")
    if len(bad) > 1:
        yield Event(_at(last), "run", f"last failed run so far: {last['run_id']}, of {len(bad):,}")
    if len(after):
        yield Event(_at(after.iloc[0]), "run", f"first good run after: {after.iloc[0]['run_id']}")


def _changes(seen: Seen) -> Iterator[Event]:
    """Give the moments from which a step was another: a deployment, as the records show it."""
    rows = seen.steps.dropna(subset=["version"])
    changes = []
    for (workflow, step), of_step in rows.groupby(["workflow_name", "step_id"], sort=False):
        changed = of_step[(of_step["version"] != of_step["version"].shift()) & of_step["version"].shift().notna()]
        changes += [
            Event(
                _at(row),
                "change",
                f"step {step} of {workflow} is another, in run {row['run_id']} (prompt, code, model)",
            )
            for _, row in changed[changed["is_new"]].iterrows()
        ]
    yield from sorted(changes, key=lambda each: each.at)[-_MOST_CHANGES:]


def _causes(found: Diagnosis) -> Iterator[Event]:
    for each in found.findings:
        if each.evidence is None or each.evidence.empty or each.first_bad_minute is None:
            continue
        at = each.evidence["timestamp"].min().to_pydatetime()
        yield Event(at, "cause", f"first bad minute {each.first_bad_minute:%H:%M}: {each.cause}, {each.severity}")


def _alarms(seen: Seen, first_bad: datetime | None) -> Iterator[Event]:
    """Give when the figure of each alarm first passes its threshold: the alarm itself comes some periods later.

    A period begins before what is bad in it, so that the moment is not before that of the first bad record.
    """
    for name, begin in crossings(seen).items():
        told = f"{written(name, figure(name, seen))} in the window, alert {limit_text(name, seen.limits)}"
        at = max(begin, first_bad or begin)
        yield Event(at, "alarm", f"{name} is over its threshold from the period of {begin:%H:%M} on: {told}")


def _alarm_history(seen: Seen) -> Iterator[Event]:
    from botocore.exceptions import BotoCoreError, ClientError

    begin = seen.new(seen.records)["timestamp"].min()
    if begin != begin:  # noqa: PLR0124 - NaT: there are no records
        return
    try:
        client = aws_client("cloudwatch")
        pages = client.get_paginator("describe_alarm_history").paginate(
            HistoryItemType="StateUpdate", StartDate=begin.to_pydatetime(), EndDate=datetime.now(UTC)
        )
        items: list[Any] = [item for page in pages for item in page["AlarmHistoryItems"]]
    except (BotoCoreError, ClientError) as error:
        yield Event(seen.now, "alarm", f"CloudWatch did not tell the history of its alarms: {type(error).__name__}")
        return
    for item in items:
        if item["AlarmName"].startswith(PREFIX):
            yield Event(item["Timestamp"].astimezone(UTC), "alarm", f"{item['AlarmName']}: {item['HistorySummary']}")


def _at(row: Any) -> datetime:
    at: datetime = row["timestamp"].to_pydatetime()
    return at
