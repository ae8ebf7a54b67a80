"""Pure functions over steps and the edges between them."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping

from agentflow.core.errors import CycleError


def execution_order(upstream: Mapping[str, Collection[str]]) -> list[str]:
    """Return the steps so that each stands behind those it needs.

    Parameters
    ----------
    upstream : step -> the steps it needs.

    Raises
    ------
    CycleError
        Steps wait for each other; the message shows the path.

    Examples
    --------
    >>> execution_order({"reply": ["classify"], "classify": []})
    ['classify', 'reply']
    """
    try:
        return list(graphlib.TopologicalSorter(upstream).static_order())
    except graphlib.CycleError as error:
        path = " -> ".join(repr(step) for step in error.args[1])
        problem = f"Steps wait for each other: {path}."
        raise CycleError(problem, fix="Take one of these references out.", problems=[problem]) from error
