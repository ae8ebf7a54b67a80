"""What a notebook shows of an error: what happened, why, the fix, what was kept, and how to go on; `%tb` gives all."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from agentflow.core.errors import (
    AgentFlowError,
    BudgetExceeded,
    CassetteError,
    DefinitionError,
    InputError,
    ItemsFailedError,
    ModelCallError,
    OutputFormatError,
    ResumeError,
    RunNotFoundError,
    StepError,
    StepTimeoutError,
    UnknownPriceError,
    WorkflowError,
    WorkflowTimeoutError,
)
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow
from agentflow.views.format import duration, explain, plural
from agentflow.views.outputs import encodable, one_line
from agentflow.views.reproduce import failed_places, kept_words, then_words
from agentflow.views.text import interrupted_text

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_TB = ("core", "magics", "execution.py")  # where IPython has the magic
_MOST_FRAMES = 6
_MOST_NAMED = 5  # steps, and problems
_WIDTH = 400  # of a problem

Told = Iterator[tuple[str, str]]


def error_lines(error: AgentFlowError) -> list[str]:
    """Return an error for a notebook: the frames of the user's own function where that failed, and five lines.

    Our own frames, and those of the libraries below, say nothing that the lines do not say better.
    """
    if _is_asked_for_all():
        return _all_lines(error)
    kind, what = type(error).__name__, _headline(error)
    told = {"Why": "", "Fix": error.fix, **dict(_told(error))}
    lines = [f"{label + ':':6}{_printable(text)}" for label, text in told.items() if text]
    return [*_own_frames(error), f"{kind}: {_printable(what)}", *lines]


def interrupted_lines(error: BaseException, result: RunResult) -> list[str]:
    """Return what a notebook shows of an interrupt: the bill, what was kept, how to go on, and the table."""
    return _all_lines(error) if _is_asked_for_all() else [f"{type(error).__name__}: {interrupted_text(result)}"]


def _is_asked_for_all() -> bool:
    """Return whether it is `%tb` that wants the error shown, for which IPython asks the error as well."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "tb" and Path(frame.f_code.co_filename).parts[-3:] == _TB:
            return True
        frame = frame.f_back
    return False


def _all_lines(error: BaseException) -> list[str]:
    return "".join(traceback.format_exception(error)).rstrip().splitlines()


def _headline(error: AgentFlowError) -> str:
    if isinstance(error, DefinitionError) and len(error.problems) > 1:
        return f"{plural(len(error.problems), 'problem')} keep the workflow from running."
    return explain(error)[0]


def _told(error: AgentFlowError) -> Told:
    if isinstance(error, WorkflowError) and error.result is not None:
        yield from _of_run(error, error.result)
    elif isinstance(error, DefinitionError):
        more = len(error.problems) - _MOST_NAMED
        listed = [one_line(problem, _WIDTH) for problem in error.problems[:_MOST_NAMED]]
        if len(error.problems) > 1:
            numbered = [f"{number}. {problem}" for number, problem in enumerate(listed, 1)]
            yield "Why", "\n".join([*numbered, *([f"… {more:,} more: .problems"] if more > 0 else [])])
        yield "Kept", "nothing was run, and nothing was paid."
        yield "Then", "correct it, and run the cell again."
    elif isinstance(error, InputError | UnknownPriceError | CassetteError):
        yield "Kept", "nothing was called, and nothing was paid."
        yield "Then", "correct it, and run the cell again."
    elif isinstance(error, ModelCallError):
        yield "Why", _code(error)
        yield "Kept", "the call is part of no run; what it was billed for, if anything, has no answer here."
        yield "Then", "call again: it may pass." if error.retryable else "call again, once that is done."
    elif isinstance(error, RunNotFoundError | ResumeError):
        yield "Kept", "the journal is as it was; agentflow.runs() lists what it has."


def _of_run(error: WorkflowError, result: RunResult) -> Told:
    """Return what is to be said of an error that ended a run."""
    places = failed_places(result)
    row = result.row(*places[0]) if places else None
    cause = _root(error)
    yield "Why", _why(error, cause, row)
    if not error.fix and not isinstance(cause, AgentFlowError) and places:
        yield "Fix", f"correct the function of step {places[0][0]!r}, or what it is given, and add the step again."
    yield "Kept", kept_words(result)
    yield "Then", then_words(result, was_code=not isinstance(cause, AgentFlowError))


def _root(error: BaseException) -> BaseException:
    """Return what a step raised."""
    while isinstance(error, WorkflowError | StepError | ItemsFailedError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _why(error: WorkflowError, cause: BaseException, row: StepRow | None) -> str:
    if isinstance(error, BudgetExceeded):
        return "a call is sent only if its worst case fits into what is left of the budget."
    if isinstance(cause, WorkflowTimeoutError | StepTimeoutError):
        return "the time limit ended it; attempts and waits are in .result.attempts_frame()."
    told = []
    if isinstance(cause, ModelCallError):
        told.append(_code(cause))
    elif not isinstance(cause, AgentFlowError):
        frames = _user_frames(cause)
        if frames:
            last = frames[-1]
            where = "its cell" if "ipykernel" in last.filename else Path(last.filename).name
            told.append(f"raised in {last.name}, line {last.lineno} of {where}, shown above")
    if row is not None and row.attempts:
        waited = sum(attempt.wait_ms for attempt in row.attempts)
        told.append(
            f"after {plural(len(row.attempts), 'attempt')}" + (f" and {duration(waited)} of waiting" if waited else "")
        )
    return ", ".join(filter(None, told)) + "." if any(told) else ""


def _code(error: ModelCallError) -> str:
    if isinstance(error, OutputFormatError) and error.text:
        return f"the answer was: {one_line(error.text, 160)}"
    kind = "" if error.kind == "other" else f" ({error.kind})"
    return f"AWS says {error.code}{kind}" if error.code else f"a problem of the kind {error.kind!r}" if kind else ""


def _own_frames(error: AgentFlowError) -> list[str]:
    """Return the frames of the function that failed, from the first that is the user's."""
    cause = _root(error)
    if isinstance(cause, AgentFlowError):
        return []
    frames = _user_frames(cause)
    return [line.rstrip("\n") for line in traceback.format_list(frames[-_MOST_FRAMES:])]


def _user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if _is_users(Path(frame.filename))]


def _is_users(path: Path) -> bool:
    return not any(folder in path.parents for folder in (_PACKAGE, *_LIBRARIES))


def _printable(text: str) -> str:
    """Keep the lines of a message, below one another, and nothing that steers a terminal."""
    lines = encodable(text).splitlines() or [""]
    return "\n      ".join("".join(char if char.isprintable() else " " for char in line) for line in lines)
