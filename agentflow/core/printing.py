"""What steps print: it goes into their rows, while prints of everybody else go where they went before."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from agentflow.core.events import current_step
from agentflow.core.step_row import StepStatus

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # and what else steers a terminal

MOST_PRINTED = 65_536  # characters of one step, or one item of it, that are kept

_lock = threading.Lock()
_runs = 0  # that are going on
# print borrows sys.stdout: one that is put back while a thread prints must not be freed, or the process crashes.
_used: deque[_StepsApart] = deque(maxlen=8)


class _StepsApart:
    """Standard output, but what the code of a step writes is kept in the step's row too.

    Where the run is shown on the page, it stands there, and is not written a second time: a print from a thread would
    land below whichever cell was run last.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def write(self, text: str) -> int:
        scope = current_step.get()
        if scope is None or scope.run.result.row(scope.step_id, scope.item).status is not StepStatus.RUNNING:
            written: int = self.inner.write(text)
            return written
        row = scope.run.result.row(scope.step_id, scope.item)
        with _lock:
            row.printed = (row.printed + _COLOURS.sub("", text))[:MOST_PRINTED]
            scope.has_printed = True
        if not scope.run.is_on_page:
            self.inner.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def begin_capture() -> None:
    """Keep what steps print from now on; as many `end_capture` end it."""
    global _runs  # noqa: PLW0603 - there is one standard output
    with _lock:
        _runs += 1
        if not isinstance(sys.stdout, _StepsApart) and sys.stdout is not None:
            apart = next((used for used in _used if used.inner is sys.stdout), None)
            if apart is None:
                apart = _StepsApart(sys.stdout)
                _used.append(apart)
            sys.stdout = apart


def end_capture() -> None:
    """Say that a run has ended; after the last one standard output is what it was."""
    global _runs  # noqa: PLW0603 - as above
    with _lock:
        _runs -= 1
        if _runs == 0 and isinstance(sys.stdout, _StepsApart):  # else somebody has replaced it meanwhile
            sys.stdout = sys.stdout.inner
