"""Whether the front end can draw our widget: it is asked, since a lab may run without anywidget's half.

A widget that is never shown is sent; a front end that can draw it loads its module, which says so. While a cell blocks
the kernel the answer waits; until then views are drawn as HTML.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import described

if TYPE_CHECKING:
    from agentflow.notebook.live import LiveDisplay

MOST_TIMES = 3  # that a front end is asked; one that has not answered then never will

_log = logging.getLogger(__name__)
_asked: list[Any] = []  # the widgets that were sent, until the front end has answered
_can_draw = False
_waiting: weakref.WeakSet[LiveDisplay] = weakref.WeakSet()


def can_draw() -> bool:
    """Return whether the front end has said that it can draw the widget."""
    return _can_draw


def ask(display: LiveDisplay | None = None) -> None:
    """Ask the front end, without waiting for its answer.

    Parameters
    ----------
    display : goes on as a widget when the answer comes, where that is of use.
    """
    if display is not None:
        _waiting.add(display)
    if not _can_draw and len(_asked) < MOST_TIMES:
        threading.Thread(target=_send, name="agentflow-front-end", daemon=True).start()  # the import takes a while


def _send() -> None:
    try:
        from agentflow.notebook.run_view import RunView

        _asked.append(RunView({}, _on_message))
    except Exception as error:  # noqa: BLE001 - without widgets the view is HTML
        _asked.extend([None] * MOST_TIMES)
        _log.info("no widget can be shown", extra={"error": described(error)})


def _on_message(message: Any) -> None:
    global _can_draw  # noqa: PLW0603 - there is one front end
    if message.get("kind") != "here":
        return
    _can_draw = True
    for view in _asked:
        view.close()
    _asked.clear()
    for display in list(_waiting):
        if not display.needs_no_widget:
            display.draw_as_widget()
    _waiting.clear()
