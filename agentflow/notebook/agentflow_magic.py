"""The `%agentflow` magic: everything that is no step."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from IPython.core.error import UsageError

from agentflow.core.budget import Budget, dollars
from agentflow.core.errors import AgentFlowError, nearest
from agentflow.core.surroundings import surroundings
from agentflow.models.bedrock_client import BedrockClient
from agentflow.notebook.backend import backend_words, choose_backend, credential_words, region_words
from agentflow.notebook.listing import steps_listing
from agentflow.notebook.state import kernel_state


@dataclass(frozen=True, slots=True)
class _Command:
    """A word after `%agentflow`: what it takes, what it does, and the function that does it."""

    takes: str
    does: str
    run: Callable[[Sequence[str]], None]
    most: int = 0


def agentflow_magic(line: str) -> None:
    """Do one thing: `%agentflow help` lists what there is."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%agentflow: the line cannot be read: {str(error).lower()}.") from None
    name, *arguments = words or ["help"]
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"%agentflow {name}: there is no such command{nearest(name, COMMANDS)}. See %agentflow help.")
    if len(arguments) > command.most:
        raise UsageError(f"%agentflow {name} takes {command.takes or 'nothing'}, and not {' '.join(arguments)!r}.")
    try:
        command.run(arguments)
    except AgentFlowError as error:
        raise UsageError(f"%agentflow {name}: {error}") from None


def status_line() -> str:
    """Return where this kernel stands, in one line: version, region, credentials, backend, budget."""
    from agentflow import __version__

    client = BedrockClient()
    told = [
        f"AgentFlow {__version__}",
        f"region {region_words(client)}",
        f"credentials {credential_words(client)}",
        f"backend {backend_words(client)}",
        f"budget {_budget_words()}",
    ]
    return " · ".join(told)


def _budget_words() -> str:
    budget = surroundings.budget
    if budget is None:
        return "none"
    return f"${budget.limit_usd:f}, ${dollars(max(budget.left_usd, budget.left_usd * 0))} left"


def _display(value: object) -> None:
    from IPython.display import display

    display(value)  # type: ignore[no-untyped-call]


def _help(_: Sequence[str]) -> None:
    width = max(len(f"{name} {command.takes}") for name, command in COMMANDS.items())
    lines = [f"%agentflow {f'{name} {command.takes}':<{width}}  {command.does}" for name, command in COMMANDS.items()]
    print(
        "\n".join(
            [
                "%%step NAME --model MODEL".ljust(width + 13) + "a step, the prompt below it; see %%step?",
                *lines,
            ]
        )
    )


def _models(_: Sequence[str]) -> None:
    from agentflow.models.choice import list_models

    _display(list_models())


def _budget(arguments: Sequence[str]) -> None:
    if arguments:
        given = arguments[0].removeprefix("$")
        surroundings.budget = None if given == "off" else Budget(given)
    print(f"budget {_budget_words()}{'' if surroundings.budget else ': %agentflow budget 1.00 sets one'}")


def _runs(_: Sequence[str]) -> None:
    from agentflow.core.history import runs

    _display(runs())


def _backend(arguments: Sequence[str]) -> None:
    if arguments:
        choose_backend(arguments[0])
        if own := kernel_state().reconnect():
            print(f"These steps were given a client of their own, which stays: {', '.join(own)}.")
    print(status_line())


def _steps(_: Sequence[str]) -> None:
    _display(steps_listing(kernel_state()))


def _forget(arguments: Sequence[str]) -> None:
    if not arguments:
        raise UsageError("%agentflow forget takes the name of a step; %agentflow steps lists them.")
    workflow = kernel_state().forget(arguments[0])
    left = ", ".join(workflow.steps) or "no step"
    print(f"Step {arguments[0]!r} is out of workflow {workflow.config.name!r}, which has {left} now.")


def _edit(arguments: Sequence[str]) -> None:
    from agentflow.notebook.edit_form import show_form

    if not arguments:
        raise UsageError("%agentflow edit takes the name of a step, or a new name.")
    show_form(kernel_state(), arguments[0])


def _asyncio(_: Sequence[str]) -> None:
    import nest_asyncio2

    nest_asyncio2.apply()


COMMANDS: Mapping[str, _Command] = {
    "models": _Command("", "the models to ask, their ids and prices", _models),
    "budget": _Command("[USD|off]", "what this kernel may spend now", _budget, 1),
    "runs": _Command("", "past runs, newest first", _runs),
    "backend": _Command("[local|aws|URL]", "where models are asked", _backend, 1),
    "steps": _Command("", "steps, and the cells that made them", _steps),
    "forget": _Command("STEP", "take a step out of its workflow", _forget, 1),
    "edit": _Command("STEP", "change a step in a form, or start a new one", _edit, 1),
    "asyncio": _Command("", "let asyncio.run(...) work in this kernel", _asyncio),
    "help": _Command("", "this list", _help),
}
