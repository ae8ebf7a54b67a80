"""Which way a run is shown while it goes on, and what its cell shows in the end: the port `run_display`."""

from __future__ import annotations

import sys
from typing import Any

from agentflow.core.portal import RunHandle
from agentflow.core.watching import Display, Mode, Watched, display_mode
from agentflow.notebook.live import LiveDisplay
from agentflow.notebook.log_lines import LogDisplay
from agentflow.notebook.page import Page
from agentflow.utils.env import in_jupyter_session
from agentflow.views.html_parts import small

MOST_LIVE = 8  # runs that are shown live at the same time
_MORE = "More runs go on than are shown: <code>agentflow.runs()</code> has all of them."
MOST_CARDS = 3  # runs of one cell that end as a card; the others end as a line


class Cell:
    """The runs that the cell which is being run has begun, and what becomes of their views at its end."""

    def __init__(self, shell: Any) -> None:
        self.begun: list[LiveDisplay | LogDisplay] = []
        self._live: list[LiveDisplay] = []
        self._has_told = False
        shell.events.register("post_run_cell", self.end)

    def show_live(self, watched: Watched, page: Page, *, wants: Mode) -> Display | None:
        """Return the live view of a run; None where there are so many that nobody could follow them."""
        self._live = [display for display in self._live if not display.is_over]
        if len(self._live) >= MOST_LIVE:
            if not self._has_told:
                page.show({"text/html": small(_MORE), "text/plain": "More runs go on than are shown."})
            self._has_told = True
            return None
        earlier = [display.result for display in self._live if display not in self.begun]
        same = " and ".join(result.run_id for result in earlier if result.workflow == watched.name)
        beside = f"Of this workflow {same} goes on too, though its cell may show it no more." if same else ""
        is_many = len(self.begun) >= MOST_CARDS
        display = LiveDisplay(watched, page, wants=wants, ends_as_line=is_many, beside=beside)
        self._live.append(display)
        self.begun.append(display)
        return display

    def end(self, executed: Any) -> None:
        """Leave each run shown once: what the cell's last line returned shows itself. IPython calls it."""
        begun, self.begun, self._has_told = self.begun, [], False
        value = getattr(executed, "result", None)
        shown = value.result if isinstance(value, RunHandle) and value.done else value
        for place, display in enumerate(begun):
            display.end_of_cell(is_shown=display.result is shown, ends_as_line=place >= MOST_CARDS)


_cells: dict[int, Cell] = {}


def run_display(watched: Watched) -> Display | None:
    """Return what shows a run that begins, on the thread and in the cell of its caller."""
    mode = display_mode()
    if mode == "off":
        return None
    shell = kernel_shell()
    if shell is None:
        return LogDisplay(watched) if mode == "log" else None  # a log has records of all runs anyway
    cell = _cells.get(id(shell)) or _cells.setdefault(id(shell), Cell(shell))
    page = Page(shell)
    if mode in {"widget", "html"} or (mode == "auto" and has_front_end(shell)):
        return cell.show_live(watched, page, wants=mode)
    display = LogDisplay(watched, page)
    cell.begun.append(display)
    return display


def kernel_shell() -> Any:
    """Return the shell of the kernel that this process is; None where it is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if shell is not None and hasattr(shell, "kernel") else None


def has_front_end(shell: Any) -> bool:
    """Tell whether somebody may look: JupyterLab, VS Code and Colab leave signs; programs that run notebooks do not."""
    return in_jupyter_session() or "google.colab" in sys.modules or "__vsc_ipynb_file__" in shell.user_ns
