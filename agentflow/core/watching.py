"""How a display learns of a run that begins: it reads the run along, and may cancel it. Nothing of it is core's.

The port `run_display` makes displays. It is asked only where somebody may look: in a kernel, where a display was
asked for, and where the log takes lines of runs; elsewhere a run costs what it did before.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from agentflow.core import ports
from agentflow.core.budget import Budget, budgets_in_force
from agentflow.core.errors import DefinitionError, described, nearest
from agentflow.core.events import Event, current_step
from agentflow.core.plan import Plan
from agentflow.core.result import RunResult
from agentflow.utils.env import SettingError, setting

if TYPE_CHECKING:
    from agentflow.core.engine import Run

How = Literal["run", "execute", "start"]
Mode = Literal["auto", "widget", "html", "log", "off"]
MODES: Sequence[str] = get_args(Mode)
_QUIET = frozenset({"auto", "off"})

RUN_LOG = logging.getLogger("agentflow.runs")  # takes a line for each change of a step

_log = logging.getLogger(__name__)
_asked_for: Mode | None = None


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


def display(mode: Mode) -> None:
    """Say how runs are shown while they go on, from now on; `AGENTFLOW_DISPLAY` says it for a whole process.

    Parameters
    ----------
    mode : ``auto`` is the live view in a notebook that somebody looks at, a log line for each change of a step under
        papermill, nbconvert and other programs that run notebooks, and nothing in a script but what its logging
        takes. ``widget`` and ``html`` choose how the live view is drawn, ``log`` wants lines everywhere, ``off``
        nothing.

    Raises
    ------
    DefinitionError
        There is no such mode.

    Examples
    --------
    >>> import agentflow
    >>> agentflow.display("auto")
    """
    global _asked_for  # noqa: PLW0603 - there is one page
    if mode not in MODES:
        raise DefinitionError(
            f"{mode!r} is no way to show runs{nearest(str(mode), MODES)}.", fix=f"Give one of {', '.join(MODES)}."
        )
    _asked_for = mode


def display_mode() -> Mode:
    """Return how runs are to be shown: as asked for, else as `AGENTFLOW_DISPLAY` says.

    Raises
    ------
    SettingError
        `AGENTFLOW_DISPLAY` is no mode.
    """
    return _asked_for or mode_of_environment()


def mode_of_environment() -> Mode:
    """Return what `AGENTFLOW_DISPLAY` says; errors as for `display_mode`."""
    asked = setting("AGENTFLOW_DISPLAY")
    mode = (asked.value or "auto").lower()
    if mode not in MODES:
        message = f"AGENTFLOW_DISPLAY={asked.value} (from {asked.source}) is none of {', '.join(MODES)}: set it to one."
        raise SettingError(message)
    return cast("Mode", mode)


def nobody_looks(mode: Mode) -> bool:
    """Tell whether no run can be shown; `mode` as for `watch`. It takes less than a microsecond."""
    return "ipykernel" not in sys.modules and (_asked_for or mode) in _QUIET


def watch(run: Run, how: How, cancel: Callable[[], object] | None = None, *, mode: Mode = "auto") -> Display | None:
    """Offer a run to a display before it begins; None where nobody looks, or where it is a step of another run.

    Parameters
    ----------
    mode : what the environment asked for when the workflow was made; a look at it takes longer than a short run.
    """
    if nobody_looks(mode) or current_step.get() is not None:
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
