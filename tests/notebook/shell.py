"""A real IPython shell in this process, with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from agentflow.core.workflow import Workflow
from agentflow.notebook.state import kernel_state


class Shell:
    """A shell, what its cells print, and what they display."""

    def __init__(self, capfd: Any) -> None:
        self.shell = InteractiveShell.instance()
        self._capfd = capfd

    def run(self, code: str, *, cell_id: str | None = None, deleted: list[str] | None = None) -> str:
        """Run a cell and return what it prints, errors among it."""
        self._capfd.readouterr()
        metadata = {"deletedCells": deleted} if deleted else None
        run_cell: Any = self.shell.run_cell
        run_cell(code, store_history=True, cell_id=cell_id, cell_meta=metadata)
        return "".join(self._capfd.readouterr())

    @property
    def variables(self) -> dict[str, Any]:
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    def workflow(self, name: str | None = None) -> Workflow:
        return kernel_state().workflow(name)[0]

    def prompt(self, step: str) -> str:
        agent: Any = self.workflow().steps[step].agent
        prompt: str = agent.prompt_template
        return prompt


@contextmanager
def loaded_shell(capfd: Any) -> Iterator[Shell]:
    """Load the extension into a new shell until the end of the block."""
    InteractiveShell.clear_instance()
    shell = Shell(capfd)
    shell.run("%load_ext agentflow")
    try:
        yield shell
    finally:
        shell.run("%unload_ext agentflow")
        InteractiveShell.clear_instance()
