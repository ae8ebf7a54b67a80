"""Why a step ran or did not: what changed since an earlier run, where its answer came from, or what kept it back.

A word for each, which the tables have: a kind of change (`changes.py`), `new`, `again` (it ran though nothing changed),
`cached`, `skipped`, `not run`, `cancelled` or `running`; empty where nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentflow.core import ports
from agentflow.core.errors import AgentFlowError, InputError, RunNotFoundError, nearest
from agentflow.core.explaining.changes import KINDS, Reason, part_changes, value_changes
from agentflow.core.explaining.held_back import held_back
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.journal import PastRun
from agentflow.core.model import Origin
from agentflow.core.places import Place, all_rows
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts
from agentflow.core.step_row import StepRow, StepStatus

CACHED = "cached"
_MOST_COMPARED = 500  # rows; to compare more would keep a table, and whoever asks for a repr, waiting for long
_MOST_ORIGINS = 3
# Why a step runs though nothing changed, by what it is.
_AGAIN = {
    "prompt": "The model was asked again: no earlier answer was taken (the cache was off, or passed over).",
    "python": "A Python step runs each time: its output is not reused.",
    "agent": "An agent of one's own runs each time: its output is not reused.",
    "workflow": "A workflow that is a step runs each time; each of its steps says why it ran.",
}
_AGAIN["rows"] = _AGAIN["workflow"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a step of a run, or an item of it, ran or did not.

    Attributes
    ----------
    step, item : the step by its path; the item of a mapped step.
    word : as in the tables, see the module.
    said : the explanation in a sentence.
    reasons : what changed, or what else is to be said; the first decides the word.
    compared_with : the id of the earlier run; None where there was none.
    """

    run_id: str
    step: str
    item: int | None
    word: str
    said: str
    reasons: tuple[Reason, ...] = ()
    compared_with: str | None = None

    def __repr__(self) -> str:
        text: str = ports.load("explanation_text")(self)
        return text

    def _repr_html_(self) -> str:
        html: str = ports.load("explanation_html")(self)
        return html


def explain(result: RunResult, step: str, item: int | None = None) -> Explanation:
    """Explain a step of a run; see `RunResult.explain`."""
    rows = {place: (row, holder) for place, row, holder in all_rows(result)}
    if (step, item) not in rows:
        raise _unknown(result.run_id, rows, step, item)
    row, holder = rows[step, item]
    if word := _without_comparison(row):
        said, reasons = _origins(result, row) if word == CACHED else (held_back(result, step, row, holder), ())
        return Explanation(result.run_id, step, item, word, said, reasons)
    return _Comparison(result, [(step, item)]).explain((step, item), row)


def fill_words(result: RunResult) -> None:
    """Give every row its word, with one reading of the journal.

    Those that ran have none where the journal cannot be read, or where they are more than 500.
    """
    compared = {}
    for place, row, _ in all_rows(result):
        row.why = row.why or _without_comparison(row)  # an inner run was explained with the one that it is a part of
        if not row.why:
            compared[place] = row
    if len(compared) > _MOST_COMPARED:
        return
    try:
        comparison = _Comparison(result, compared)
    except AgentFlowError:  # a damaged journal must not keep anybody from seeing the run
        return
    for place, row in compared.items():
        with suppress(AgentFlowError):
            row.why = comparison.explain(place, row).word


def _without_comparison(row: StepRow) -> str:
    """Return the word of a step that needs no comparison; empty for one that ran."""
    if row.status not in {StepStatus.OK, StepStatus.FAILED}:
        return row.status.value
    replies = row.replies
    return CACHED if replies and all(reply.origin is not None for reply in replies) else ""


def _unknown(run_id: str, rows: Iterable[Place], step: str, item: int | None) -> InputError:
    steps = list(dict.fromkeys(path for path, _ in rows))
    if step not in steps:
        what = f"Run {run_id} has no step {step!r}{nearest(step, steps)}."
        return InputError(what, fix=f"It has {', '.join(steps[:20]) or 'none'}.")
    items = sum(path == step and number is not None for path, number in rows)
    if not items:
        return InputError(f"Step {step!r} has no items: it is not mapped, or did not start.", fix="Leave item= out.")
    return InputError(f"Step {step!r} has no item {item!r}.", fix=f"It has {items:,}; the first is 0.")


class _Comparison:
    """Compares steps of a run that ran with the same steps of earlier runs.

    Parameters
    ----------
    places : those that are to be explained.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """

    def __init__(self, result: RunResult, places: Collection[Place]) -> None:
        self._result = result
        self._now: PastInputs | None = None
        self._earlier: Mapping[Place, PastRun] = {}
        self._inputs: dict[str, PastInputs] = {}  # by the id of an earlier run
        self._changes: dict[
            tuple[str, str], list[Reason]
        ] = {}  # by step and earlier run: all items have the same parts
        if result._evidence is None or not places:
            return
        with suppress(RunNotFoundError):  # it was deleted
            self._now = PastInputs(result._evidence.past_run(result))
            self._earlier = result._evidence.earlier_runs(result, places)

    def explain(self, place: Place, row: StepRow) -> Explanation:
        """Explain one step."""
        run_id, evidence, now = self._result.run_id, self._result._evidence, self._now
        parts = now.parts(place[0]) if now else None
        if evidence is None or now is None or parts is None:
            return Explanation(run_id, *place, "", f"It ran. {self._not_known()}")
        earlier = self._earlier.get(place)
        if earlier is None:
            word, said = ("new", "It is new") if evidence.is_complete else ("", "It ran")
            return Explanation(run_id, *place, word, f"{said}: {evidence.nothing_earlier}.")
        return self._compared(place, row, parts, earlier, now)

    def _compared(self, place: Place, row: StepRow, parts: StepParts, earlier: PastRun, now: PastInputs) -> Explanation:
        run_id, before_id = self._result.run_id, earlier.result.run_id
        if before_id not in self._inputs:
            self._inputs[before_id] = PastInputs(earlier)
        before = self._inputs[before_id]
        old = before.parts(place[0])
        if old is None:
            said = f"It ran. The journal does not have what it was made of in run {before_id}."
            return Explanation(run_id, *place, "", said, (), before_id)
        if (place[0], before_id) not in self._changes:
            self._changes[place[0], before_id] = list(part_changes(old, parts))
        reasons = [
            *self._changes[place[0], before_id],
            *value_changes(parts, before.of(*place), now.of(*place), old.wiring),
        ]
        kinds = list(dict.fromkeys(reason.kind for reason in reasons if reason.kind))
        since = f"run {before_id}, {_ago(earlier.result.started_at, self._result.started_at)} before"
        if kinds:
            said = f"It ran, since {_joined(KINDS[kind] for kind in kinds)} changed after {since}."
        else:
            said = f"It ran again, though nothing that can be compared changed after {since}."
            reasons.append(Reason("", _AGAIN[parts.kind]))
        reused = sum(reply.origin is not None for reply in row.replies)
        if reused:
            reasons.append(Reason("", f"{reused:,} of its {len(row.replies):,} answers were taken from the cache."))
        return Explanation(run_id, *place, (kinds or ["again"])[0], said, tuple(reasons), before_id)

    def _not_known(self) -> str:
        if self._result._evidence is None:
            return "There is nothing to compare it with: of its run only the result is known."
        if self._now is None:
            return f"Run {self._result.run_id} is not in the journal any more, so there is nothing to compare it with."
        return f"The journal does not have what it was made of in run {self._result.run_id}."


def _origins(result: RunResult, row: StepRow) -> tuple[str, tuple[Reason, ...]]:
    """Return where the answers of a step were taken from."""
    origins = list(dict.fromkeys(reply.origin for reply in row.replies if reply.origin))
    reasons = [
        Reason("", f"Asked {_ago(origin.at, result.started_at)} before, by {_place(origin)} of run {origin.run_id}.")
        for origin in origins[:_MOST_ORIGINS]
    ]
    if len(origins) > _MOST_ORIGINS:
        reasons.append(Reason("", f"... and {len(origins) - _MOST_ORIGINS:,} more."))
    answers = "Its answer was" if len(row.replies) == 1 else f"Its {len(row.replies):,} answers were"
    return f"{answers} taken from the cache: nothing was paid.", tuple(reasons)


def _place(origin: Origin) -> str:
    return f"step {origin.step!r}" if origin.item is None else f"item {origin.item} of step {origin.step!r}"


def _joined(words: Iterable[str]) -> str:
    """Return words as a list in a sentence: ``a, b and c``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _ago(before: datetime, after: datetime) -> str:
    """Return the time between two moments in the unit that fits it."""
    seconds = max((after - before) / timedelta(seconds=1), 0.0)
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
