"""How a display learns of a run that begins: it reads the run along, and may cancel it. Nothing of it is core's.

The port `run_display` makes displays. It is asked only where somebody may look: in a kernel, where a display was
asked for, and where the log takes lines of runs; elsewhere a run costs what it did before.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from agentflow.core import ports
from agentflow.core.budget import Budget, budgets_in_force
from agentflow.core.errors import described
from agentflow.core.events import Event, current_step
from agentflow.core.plan import Plan
from agentflow.core.result import RunResult
from agentflow.utils.env import setting

if TYPE_CHECKING:
    from agentflow.core.engine import Run

How = Literal["run", "execute", "start"]

RUN_LOG = logging.getLogger("agentflow.runs")  # takes a line for each change of a step

_log = logging.getLogger(__name__)
_asked_for: str | None = None


@dataclass(slots=True)
class Watched:
    """A run that begins, on the thread and in the cell of its caller.

    Attributes
    ----------
    how : `run` blocks the caller, `execute` is awaited by it, `start` goes on in the background.
    result : what is known of the run; it changes while it goes on.
    budgets : what limits its money.
    cancel : interrupts it, on any thread; None where the caller alone can.
    """

    how: How
    name: str
    result: RunResult
    plan: Plan
    budgets: Sequence[Budget]
    cancel: Callable[[], object] | None = None


class Display(Protocol):
    """What shows one run.

    Attributes
    ----------
    wants_deltas : whether it is given the text of answers while it comes.
    is_on_page : whether it shows the run, with what its steps print, on a page that a person reads.
    """

    wants_deltas: bool
    is_on_page: bool

    def take(self, event: Event, result: RunResult) -> None:
        """Take an event in; never blocks and never raises. Any thread calls it."""

    def end(self) -> None:
        """Take in that the run has ended; never blocks and never raises. Any thread calls it."""

    def close(self) -> None:
        """Show the end, before the caller goes on. Never raises."""


def ask_for_display(mode: str) -> None:
    """Have runs shown in a way from now on, whatever the environment says."""
    global _asked_for  # noqa: PLW0603 - there is one page
    _asked_for = mode


def display_mode() -> str:
    """Return how runs are to be shown: as asked for, else as `AGENTFLOW_DISPLAY` says."""
    return _asked_for or setting("AGENTFLOW_DISPLAY").value or "auto"


def watch(run: Run, how: How, cancel: Callable[[], object] | None = None, *, mode: str = "auto") -> Display | None:
    """Offer a run to a display before it begins; None where nobody looks, or where it is a step of another run.

    Parameters
    ----------
    mode : what the environment asked for when the workflow was made; a look at it takes longer than a short run.
    """
    nobody_looks = "ipykernel" not in sys.modules and not RUN_LOG.isEnabledFor(logging.INFO)
    if current_step.get() is not None or (nobody_looks and (_asked_for or mode) in {"auto", "off"}):
        return None
    try:
        budgets = (*budgets_in_force(), *run.budgets)
        watched = Watched(how, run.plan.name, run.result, run.plan, budgets, cancel)
        display: Display | None = ports.load("run_display")(watched)
    except Exception as error:  # noqa: BLE001 - a run that cannot be shown runs all the same
        _log.warning("a run cannot be shown", extra={"error": described(error)})
        return None
    if display is not None:
        run.read_along(display)
    return display
