"""The widget of the live view: one model, one state, and what the page sends back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

_MODULE = files("agentflow.notebook").joinpath("live_view.js").read_text(encoding="utf-8")


class RunView(anywidget.AnyWidget):
    """Draws the state that it has, each time it is set.

    Parameters
    ----------
    on_message : is given what the page sends, on the kernel's main thread; it never raises.
    """

    _esm = _MODULE
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, state: Mapping[str, Any], on_message: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(state=dict(state))
        self.on_msg(lambda _view, message, _buffers: on_message(message))

    def as_output(self, name: str) -> Mapping[str, Any]:
        """Return the widget as an output of a cell."""
        view = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": f"{name}: running"}
