"""An output of a notebook that can be replaced later, from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

EMPTY: Mapping[str, Any] = {"text/html": "", "text/plain": ""}


class Page:
    """The place of one output. It exists from the first `show` on."""

    def __init__(self, shell: Any) -> None:
        self._publish = shell.display_pub.publish
        self._transient = {"display_id": f"agentflow-{os.urandom(8).hex()}"}
        self._lock = threading.Lock()
        self._is_there = False
        self._shown: Mapping[str, Any] | None = None

    def show(self, data: Mapping[str, Any]) -> None:
        """Show something, in the place of what was shown before."""
        with self._lock:
            if data != self._shown:
                self._publish(data=dict(data), metadata={}, transient=self._transient, update=self._is_there)
            self._shown, self._is_there = data, True
