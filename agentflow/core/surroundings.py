"""What surrounds the workflows of this process, such as a notebook's kernel: it is told of them, and may help them.

Nothing is there by itself. `notebook/extension.py` fills this in when the extension is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentflow.core.budget import Budget
    from agentflow.core.workflow import Workflow


@dataclass(slots=True)
class Surroundings:
    """What the surroundings ask for.

    Attributes
    ----------
    reuses_answers : whether workflows that do not say reuse answers that were paid for.
    budget : what all model calls of the process may cost together, beside the budgets that are in force anyway.
    workflow_made : told of each workflow that is made.
    input_hint : returns what to do about an input that a run lacks, by its name; empty where it cannot help.
    """

    reuses_answers: bool = False
    budget: Budget | None = None
    workflow_made: Callable[[Workflow], None] | None = None
    input_hint: Callable[[Workflow, str], str] | None = None


surroundings = Surroundings()

_is_untold: ContextVar[bool] = ContextVar("agentflow_untold", default=False)


def tell_of(workflow: Workflow) -> None:
    """Tell the surroundings of a new workflow."""
    if surroundings.workflow_made is not None and not _is_untold.get():
        surroundings.workflow_made(workflow)


@contextmanager
def untold() -> Iterator[None]:
    """Have the workflows that are made in a `with` block told to nobody: they are parts of others."""
    token = _is_untold.set(True)
    try:
        yield
    finally:
        _is_untold.reset(token)
