"""Where the engine finds what it may not import: the views of a result, and the default model client.

The composition root (`agentflow/__init__.py`) says which, by name; a port's module is loaded at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TARGETS: dict[str, str] = {}


def connect(**targets: str) -> None:
    """Say what fills ports, each as `"module:attribute"`."""
    _TARGETS.update(targets)


def load(port: str) -> Any:
    """Return what fills a port.

    Raises
    ------
    KeyError
        Nothing was connected to that name.
    """
    module, _, attribute = _TARGETS[port].partition(":")
    return getattr(import_module(module), attribute)
