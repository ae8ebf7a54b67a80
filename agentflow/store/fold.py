"""A past run from what the journal has of it: the same fold over the same events that made the fresh result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentflow.core.events import StepFinished
from agentflow.core.model import ABANDONED, Attempt, Reply
from agentflow.core.outputs import NotKept
from agentflow.core.places import Place, all_rows, inner_prefix
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.store.records import Body, event_of, read

Answers = Mapping[Place, Sequence[tuple[str, Reply]]]


def fold(result: RunResult, bodies: Iterable[Body], outputs: Mapping[Place, Any], answers: Answers) -> None:
    """Bring a result to the state that the journal has.

    Parameters
    ----------
    result : knows its run and its steps, and nothing of them yet.
    """
    folding = _Folding(outputs)
    lost = 0
    for body in bodies:
        try:
            folding.apply(result, body)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            lost += 1  # a damaged or newer event, or one whose predecessors are gone with the file that held them
    if lost:
        result.warnings.append(f"{lost} events of this run could not be read: its rows may be incomplete.")
    left = dict.fromkeys([*folding.attempts, *answers])
    for place, row, _ in all_rows(result):
        left.pop(place, None)
        _add_calls(row, folding.attempts[place], [reply for _, reply in answers.get(place, ())])
        row.rejected = tuple(reply for reply in row.own_replies if reply.key in folding.rejected[place])
    for place in left:  # of items and inner steps that are no more, since their step runs again: the bill remains
        if (above := _row_above(result, place)) is not None:
            _add_calls(above, folding.attempts[place], [reply for _, reply in answers.get(place, ())])


class _Folding:
    """One pass over the events.

    Attributes
    ----------
    attempts : those that were not answered, with their model's id.
    rejected : the keys of answers that a step could not use.
    """

    def __init__(self, outputs: Mapping[Place, Any]) -> None:
        self.attempts: defaultdict[Place, list[tuple[Attempt, str]]] = defaultdict(list)
        self.rejected: defaultdict[Place, set[str]] = defaultdict(set)
        self._outputs = outputs

    def apply(self, result: RunResult, body: Body, prefix: str = "") -> None:
        kind = body["type"]
        if kind == "NestedEvent":
            row = result.row(body["step_id"], body.get("item"))
            row.inner = row.inner or RunResult()
            self.apply(row.inner, body["event"], prefix + inner_prefix(body["step_id"], body.get("item")))
        elif kind == "AttemptFinished":
            row = result.row(body["step_id"], body.get("item"))
            self.attempts[prefix + row.step, row.item].append((read(Attempt, body["attempt"]), body["model_id"]))
        elif kind == "ReplyRejected":  # the answers come when all events are there
            self.rejected[prefix + body["step_id"], body.get("item")].add(body["key"])
        elif event := event_of(body):
            if isinstance(event, StepFinished):
                missing = NotKept("the journal has no output of this step")
                event.output = self._outputs.get((prefix + event.step_id, event.item), missing)
            result.apply(event)


def _row_above(result: RunResult, place: Place) -> StepRow | None:
    above = [step for step in result.rows if place[0] == step or place[0].startswith((f"{step}.", f"{step}["))]
    return result.rows[max(above, key=len)] if above else None


def _add_calls(row: StepRow, unanswered: Sequence[tuple[Attempt, str]], replies: Sequence[Reply]) -> None:
    """Give a row its answers and attempts; one that was given up and answered later counts as answered."""
    answered = [
        (attempt, reply.model_id) for reply in replies for attempt in reply.attempts if attempt.error_code is None
    ]
    late = {(attempt.number, attempt.started_at) for attempt, _ in answered}
    given_up = [
        (attempt, model_id)
        for attempt, model_id in unanswered
        if attempt.error_code != ABANDONED or (attempt.number, attempt.started_at) not in late
    ]
    came_back = {(attempt.number, attempt.started_at) for attempt, _ in (*unanswered, *answered)}
    row.own_pending = tuple(sent for sent in row.own_pending if (sent.number, sent.started_at) not in came_back)
    attempts = sorted(given_up + answered, key=lambda pair: pair[0].started_at)
    row.own_replies += tuple(replies)
    row.own_attempts += tuple(attempt for attempt, _ in attempts)
    if attempts:
        row.model_id = attempts[-1][1]
    elif replies:
        row.model_id = replies[-1].model_id
