"""Completion on the lines of the magics: options, models, steps, variables, commands."""

from __future__ import annotations

from typing import Any

from agentflow.core.output_types import is_output_type
from agentflow.models.catalog import load_catalog
from agentflow.notebook.options import OPTIONS
from agentflow.notebook.state import KernelState, kernel_state


def complete_step(_shell: Any, event: Any) -> list[str]:
    """Return what can stand at the cursor of a `%%step` line: IPython's hook `complete_command`."""
    words = event.text_until_cursor.split()
    before = words[1:] if event.symbol == "" else words[1:-1]
    state = kernel_state()
    option = next((word for word in reversed(before) if word.startswith("--")), "")
    if event.symbol.startswith("-"):
        found = list(OPTIONS)
    elif not before:
        found = _cell_step_names(state)
    else:
        found = _values(state, option, before[-1] == option) or list(OPTIONS)
    return sorted(name for name in set(found) if name.startswith(event.symbol))


def _values(state: KernelState, option: str, is_first: bool) -> list[str]:
    """Return what an option takes; nothing where it takes no more."""
    if option in {"--input", "--tool"}:
        is_tool = option == "--tool"
        return [name for name, value in _variables(state).items() if callable(value) == is_tool]
    if not is_first:
        return []
    found: list[str] = []
    match option:
        case "--model":
            found = model_names()
        case "--workflow":
            found = list(state.workflows)
        case "--when":
            found = list(state.workflow()[0].steps) if state.workflows else []
        case "--system":
            found = [name for name, value in _variables(state).items() if isinstance(value, str)]
        case "--output":
            found = [name for name, value in _variables(state).items() if is_output_type(value)]
    return found


def complete_agentflow(_shell: Any, event: Any) -> list[str]:
    """Return what can stand at the cursor of a `%agentflow` line."""
    from agentflow.notebook.agentflow_magic import COMMANDS

    words = event.text_until_cursor.split()
    before = words[1:] if event.symbol == "" else words[1:-1]
    match before:
        case []:
            found = list(COMMANDS)
        case ["backend"]:
            found = ["local", "aws"]
        case ["budget"]:
            found = ["off"]
        case ["edit"]:
            found = _cell_step_names(kernel_state())
        case ["forget"]:
            found = [name for workflow in kernel_state().workflows.values() for name in workflow.steps]
        case _:
            found = []
    return sorted(name for name in found if name.startswith(event.symbol))


def model_names() -> list[str]:
    """Return the names of models: those that people type first."""
    catalog = load_catalog()
    return [*catalog.aliases, *catalog.models]


def _cell_step_names(state: KernelState) -> list[str]:
    return [name for workflow in state.workflows.values() for name in state.cell_steps(workflow)]


def _variables(state: KernelState) -> dict[str, Any]:
    hidden: dict[str, Any] = getattr(state.shell, "user_ns_hidden", {})
    return {
        name: value
        for name, value in list(state.variables.items())
        if not name.startswith("_") and not (name in hidden and hidden[name] is value)
    }
