"""The `%agentflow` magic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics: what `%load_ext agentflow` calls."""
    shell.register_magic_function(agentflow, "line", "agentflow")  # type: ignore[arg-type]  # its decorator hides self


def agentflow(line: str) -> None:
    """Run `%agentflow asyncio`: let `asyncio.run(...)` work in this kernel, where a loop already runs.

    With it the operation runbook's scripts can be pasted into a cell. AgentFlow's own `await workflow.execute()` and
    `workflow.run()` do not need it.
    """
    from IPython.core.error import UsageError

    if line.strip() != "asyncio":
        raise UsageError(f"%agentflow {line}: there is only `%agentflow asyncio`.")
    import nest_asyncio2

    nest_asyncio2.apply()
