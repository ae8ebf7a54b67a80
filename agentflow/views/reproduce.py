"""How to go on from a run: open it again, resume it, open one step of it in a notebook, run the same once more."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from agentflow.core.explaining.evidence import InMemory
from agentflow.core.places import Place
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.views.format import plural
from agentflow.views.html_parts import code_block, element, small
from agentflow.views.outputs import one_line
from agentflow.views.summary import so_far

_MOST_NAMED = 5  # steps


def is_kept(result: RunResult) -> bool:
    """Return whether a run is in the journal, as far as that is known."""
    return bool(result.run_id) and not isinstance(result._evidence, InMemory)


def open_command(run_id: str, step: str | None = None, item: int | None = None) -> str:
    """Return the command that writes a notebook from a run, ready for a terminal.

    >>> open_command("r-1", "say it", 3)
    "agentflow open r-1 --step 'say it' --item 3"
    """
    words = ["agentflow", "open", run_id]
    words += [] if step is None else ["--step", step]
    words += [] if item is None else ["--item", str(item)]
    return shlex.join(one_line(word, 200) for word in words)


def ways_on(result: RunResult) -> Sequence[tuple[str, str]]:
    """Return what can be done with a run, each as a sentence and its code."""
    if not is_kept(result):
        return ()
    run_id = one_line(result.run_id, 60)
    ways = [("Open this run again, in any notebook:", f"agentflow.get_run({run_id!r})")]
    if result.status in {"failed", "interrupted", "budget_exceeded"}:
        ways.append(
            ("Go on where it stopped; what is finished is not paid again:", f"await workflow.resume({run_id!r})")
        )
    ways.append(("Compare it with another run:", f"agentflow.get_run({run_id!r}).diff(other_run_id)"))
    failed = failed_places(result)
    what = "Write a notebook of the step that failed" if failed else "Write a notebook from it"
    ways.append((f"{what}, in a terminal:", open_command(run_id, *(failed[0] if failed else ()))))
    return ways


def failed_places(result: RunResult) -> list[Place]:
    """Return the steps of a run that failed; of a mapped one, the first item that did."""
    found = []
    for row in result.rows.values():
        if row.status is StepStatus.FAILED:
            item = next((part.item for part in row.items or () if part.status is StepStatus.FAILED), None)
            found.append((row.step, item))
    return found


def _items_ok(row: StepRow) -> str:
    """Return how many items of a mapped step that did not end well are finished."""
    if row.status is StepStatus.OK or not row.items:
        return ""
    return f"{sum(item.status is StepStatus.OK for item in row.items):,} of {plural(len(row.items), 'item')}"


def kept_words(result: RunResult, *, with_bill: bool = True) -> str:
    """Return what a run that did not end well has finished, where that is, and what it cost."""
    where = "in .result and in the journal" if is_kept(result) else "in .result"
    told = f"{finished_words(result)}, {where}."
    return f"{told} {so_far(result)}" if with_bill else told


def finished_words(result: RunResult) -> str:
    """Return what a run has finished, such as ``1 of 2 steps finished (ask), 3 of 4 items of reply``."""
    finished = [one_line(row.step, 40) for row in result.rows.values() if row.status is StepStatus.OK]
    names = f" ({', '.join(finished[:_MOST_NAMED])}{', …' if len(finished) > _MOST_NAMED else ''})" if finished else ""
    items = [f"{note} of {row.step}" for row in result.rows.values() if row.items and (note := _items_ok(row))]
    parts = "".join(f", {one_line(part, 80)}" for part in items[:_MOST_NAMED])
    return f"{len(finished):,} of {plural(len(result.rows), 'step')} finished{names}{parts}"


def then_words(result: RunResult, *, was_code: bool = False) -> str:
    """Return how to go on from a run that did not end well.

    Parameters
    ----------
    was_code : a function of the user's failed, which is then changed.
    """
    if not is_kept(result):
        return "run it again; with WorkflowConfig(journal=True), the default, it could go on where it stopped."
    more = "budget_usd=..." if result.status == "budget_exceeded" else "accept_changes=True" if was_code else ""
    call = f"await workflow.resume({result.run_id!r}{', ' + more if more else ''})"
    places = failed_places(result)
    opened = f"; `{open_command(result.run_id, *places[0])}` opens the step in a notebook" if places else ""
    return f"{call} goes on where it stopped{opened}."


def how_to_open(result: RunResult) -> str:
    """Return how to open the first step that failed in a notebook of its own; nothing where that is not possible."""
    failed = failed_places(result)
    if not failed or not is_kept(result):
        return ""
    label = element("strong", "Open the step that failed in a notebook, with what it was given")
    return label + code_block(open_command(result.run_id, *failed[0]))


def reproduce_html(result: RunResult) -> str:
    """Return how to reproduce a run, folded."""
    ways = ways_on(result)
    if not ways:
        is_over = result.run_id and result.status != "running"
        return small(
            "This run is in no journal: it cannot be opened again." if is_over else "", style="margin:8px 0 0 0"
        )
    head = element("summary", "how to reproduce", style="cursor:pointer")
    body = "".join(small(told, style="margin:6px 0 0 0") + code_block(code) for told, code in ways)
    return element("details", head + element("div", body, style="margin:0 0 0 14px"), style="margin:6px 0 0 0")
