"""The live view of one run: a card in the cell that began it, drawn by a thread of its own, until the run has ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import described
from agentflow.core.events import Event
from agentflow.core.result import RunResult
from agentflow.core.watching import Mode, Watched
from agentflow.notebook import front_end
from agentflow.notebook.live_html import folded_html, live_html
from agentflow.notebook.live_state import LiveState
from agentflow.notebook.page import EMPTY, Page

if TYPE_CHECKING:
    from agentflow.notebook.run_view import RunView

PAUSE_SECONDS = 0.2  # between two drawings of the widget
HTML_PAUSE_SECONDS = 0.25
NEWS_SECONDS = 1.0  # something is sent so often, so that a page can tell that the kernel is there
MOST_SHARE = 20  # a drawing is followed by a pause of so many times what it took
CELL_SECONDS = 0.5  # how long a view that has ended waits whether its cell shows the result itself
END_SECONDS = 5.0  # how long the end of a cell waits for its views

_log = logging.getLogger(__name__)


class LiveDisplay:
    """Shows one run, and its result in the same place once it has ended.

    Parameters
    ----------
    wants : ``widget`` and ``html`` are drawn as such; ``auto`` is the widget as soon as the front end has said that
        it can draw one.
    ends_as_line : the cell has many runs: a line is enough in the end.
    beside : what there is to say of other runs; empty for nothing.
    """

    wants_deltas = True
    is_on_page = True

    def __init__(self, watched: Watched, page: Page, *, wants: Mode, ends_as_line: bool, beside: str) -> None:
        self.result = watched.result
        self._watched = watched
        self._page = page
        self._ends_as_line = ends_as_line
        self._beside = beside
        self._state = LiveState(watched)
        self._view: RunView | None = None
        self._cancelling = False
        self._problem = ""
        self._drawn_at = 0.0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._cell_is_over = threading.Event()
        self._is_shown_by_cell = False
        self._over = threading.Event()
        if wants == "widget" or (wants == "auto" and front_end.can_draw()):
            self.draw_as_widget()
        self._draw()
        if wants == "auto" and self._view is None:
            front_end.ask(self)
        threading.Thread(target=self._serve, name="agentflow-display", daemon=True).start()

    def take(self, event: Event, _result: RunResult) -> None:
        """Take an event in."""
        self._state.take(event)

    def end(self) -> None:
        """Take in that the run has ended."""
        self._ended.set()

    close = end  # the end of the cell waits for the page; the caller need not

    @property
    def is_over(self) -> bool:
        """Whether the end is shown."""
        return self._over.is_set()

    def end_of_cell(self, *, is_shown: bool, ends_as_line: bool) -> None:  # noqa: ARG002 - the run knew it at its start
        """Have the end shown before the cell's; not where the cell shows the same result itself."""
        if not self._ended.is_set():  # it goes on in the background
            return
        self._is_shown_by_cell = is_shown
        self._cell_is_over.set()
        self._over.wait(END_SECONDS)
        if is_shown:
            self._page.show(EMPTY)

    def draw_as_widget(self) -> None:
        """Go on as a widget; called when the front end has said that it can draw one."""
        from agentflow.notebook.run_view import RunView

        with self._lock:
            if self._ended.is_set() or self._view is not None:
                return
            self._view = RunView(self._full_state(), self._on_message)
            self._page.show(self._view.as_output(self._watched.name))

    @property
    def needs_no_widget(self) -> bool:
        """Whether a widget would come too late, or could not be asked anything: its caller waits for the run."""
        return self._watched.how == "run" or self._ended.is_set()

    def _on_message(self, message: Mapping[str, Any]) -> None:
        """Do what a button of the view asks for; what goes wrong is shown in the view."""
        try:
            if message.get("kind") == "cancel" and self._watched.cancel is not None:
                self._cancelling = True
                self._watched.cancel()
        except Exception as error:  # noqa: BLE001 - else nobody would see it
            self._problem = f"Cancel failed: {described(error)}"
        self._draw()

    def _full_state(self) -> dict[str, Any]:
        return self._state.snapshot() | {
            "can_cancel": self._watched.cancel is not None,
            "cancelling": self._cancelling,
            "problem": self._problem,
            "beside": self._beside,
        }

    def _draw(self) -> None:
        with self._lock:
            state = self._full_state()
            self._drawn_at = time.monotonic()
            if self._view is not None:
                self._view.state = state
            else:
                self._page.show({"text/html": live_html(state), "text/plain": f"{self._watched.name}: running"})

    def _serve(self) -> None:
        pause = PAUSE_SECONDS
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                if self._state.is_new or began - self._drawn_at >= NEWS_SECONDS:
                    self._draw()
            except Exception as error:  # noqa: BLE001 - the run goes on, and the next drawing may work
                self._problem = f"The view has failed: {described(error)}. The run goes on."
                _log.warning("a run cannot be shown", extra={"error": described(error)})
            least = PAUSE_SECONDS if self._view is not None else HTML_PAUSE_SECONDS
            pause = max(least, MOST_SHARE * (time.monotonic() - began))
        try:
            self._draw()
            if self._watched.how != "start":
                self._cell_is_over.wait(CELL_SECONDS)
            self._show_end()
        except Exception as error:  # noqa: BLE001 - the result has all of it
            _log.warning("a run cannot be shown", extra={"error": described(error)})
        finally:
            self._over.set()

    def _show_end(self) -> None:
        result = self.result
        if self._is_shown_by_cell or not result.run_id:  # the latter never began, and the caller is told why
            self._page.show(EMPTY)
        elif self._ends_as_line:
            self._page.show({"text/html": folded_html(result), "text/plain": f"{result.workflow} · {result.status}"})
        else:
            self._page.show({"text/html": result._repr_html_(), "text/plain": repr(result)})
        with self._lock:
            if self._view is not None:
                self._view.close()
