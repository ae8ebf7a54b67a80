"""`%load_ext agentflow` and `%unload_ext agentflow`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic import no_var_expand

from agentflow.core.surroundings import surroundings
from agentflow.notebook.agentflow_magic import agentflow_magic, status_line
from agentflow.notebook.completion import complete_agentflow, complete_step
from agentflow.notebook.state import KernelState, kernel_state, set_kernel_state
from agentflow.notebook.step_magic import step_magic

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_loaded_in: InteractiveShell | None = None


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics and have workflows that are made from now on reuse answers; says where this kernel stands."""
    global _loaded_in  # noqa: PLW0603 - a kernel is one process
    if _loaded_in is not shell:
        if _loaded_in is not None:
            unload_ipython_extension(_loaded_in)
        _loaded_in = shell
        state = KernelState(shell)
        set_kernel_state(state)
        surroundings.reuses_answers = True
        surroundings.workflow_made = state.made
        surroundings.input_hint = state.input_hint
        shell.events.register("pre_run_cell", state.cells.begin)
        shell.events.register("post_run_cell", state.cells.end)
        shell.register_magic_function(no_var_expand(step_magic), "line_cell", "step")  # type: ignore[arg-type]  # its decorator hides self
        shell.register_magic_function(no_var_expand(agentflow_magic), "line", "agentflow")  # type: ignore[arg-type]  # likewise
        shell.set_hook("complete_command", complete_step, str_key="%%step")  # type: ignore[no-untyped-call]
        shell.set_hook("complete_command", complete_agentflow, str_key="%agentflow")  # type: ignore[no-untyped-call]
    print(status_line())


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take all of it back; workflows and what they were given stay."""
    global _loaded_in  # noqa: PLW0603 - as above
    if _loaded_in is not shell:
        return
    _loaded_in = None
    state = kernel_state()
    shell.events.unregister("pre_run_cell", state.cells.begin)
    shell.events.unregister("post_run_cell", state.cells.end)
    for kind in ("cell", "line"):
        for name in ("step", "agentflow"):
            shell.magics_manager.magics[kind].pop(name, None)
    for key in ("%%step", "%agentflow"):
        shell.strdispatchers["complete_command"].strs.pop(key, None)
    surroundings.reuses_answers = False
    surroundings.budget = surroundings.workflow_made = surroundings.input_hint = None
    set_kernel_state(None)
