"""A workflow as Python code that builds it again. Texts are the same, byte for byte; lines are short where they can."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.config import AgentConfig, WorkflowConfig
from agentflow.core.definition.source import Sources
from agentflow.core.model import Guardrail
from agentflow.core.nested import WorkflowAgent
from agentflow.core.output_types import short_form_of
from agentflow.core.step import Reference, Step, as_reference

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

_WIDTH = 100
_INDENT = "    "


def to_code(workflow: Workflow) -> str:
    """Return Python code that builds the same workflow; see `Workflow.to_code`."""
    writer = _CodeWriter()
    built = writer.workflow(workflow, "workflow")
    takes = ", ".join(f"{name}=..." for name in workflow.inputs)
    parts = [
        "\n".join(f"# To do: {problem}" for problem in writer.sources.problems),
        "\n".join(writer.sources.imports),
        "\n\n".join(writer.sources.definitions.values()).rstrip(),
        "\n".join(writer.clients.values()),
        built,
        f"# result = workflow.run({takes})",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


class _CodeWriter:
    """Writes one workflow, and those that are its steps.

    Attributes
    ----------
    clients : what a client was given -> the line that makes it.
    """

    def __init__(self) -> None:
        self.sources = Sources()
        self.clients: dict[str, str] = {}
        self._inner = 0

    def workflow(self, workflow: Workflow, name: str) -> str:
        """Return the lines that make a workflow under a name."""
        config = self._settings(workflow.config)
        only_name = list(config) == ["name"]
        made = config["name"] if only_name else self._call("WorkflowConfig", config)
        self._use("Workflow", *(() if only_name else ("WorkflowConfig",)))
        lines = [f"{name} = {_called('Workflow', [made])}"]
        for step in workflow.steps.values():
            lines += self._step(step, name)
        return "\n".join(lines)

    def _step(self, step: Step, name: str) -> list[str]:
        before, agent = self._agent(step.agent, f"step {step.step_id!r}", f"{name}_{_identifier(step.step_id)}")
        arguments = [text_literal(step.step_id), agent]
        if step.inputs:
            inputs = {
                key: self._value(value, f"the input {key!r} of step {step.step_id!r}")
                for key, value in step.inputs.items()
            }
            arguments.append(f"inputs={_mapping(inputs)}")
        if step.depends_on:
            arguments.append(f"depends_on={list(step.depends_on)!r}")
        if step.when is not None:
            arguments.append(f"when={self._condition(step.when, step.step_id)}")
        others = {option: getattr(step, option) for option in ("map_over", "optional", "timeout_seconds")}
        arguments += [f"{option}={value!r}" for option, value in others.items() if value]
        return [*before, _called(f"{name}.add_step", arguments)]

    def _agent(self, agent: Agent, what: str, name: str) -> tuple[list[str], str]:
        """Return the lines before a step, and the expression for what it runs."""
        if isinstance(agent, FunctionAgent):
            return [], self.sources.name_of(agent.function, f"the function of {what}")
        if isinstance(agent, WorkflowAgent):
            return [self.workflow(agent.workflow, name)], name
        if type(agent) is not SimpleAgent:
            return [], self.sources.name_of(agent, f"the agent of {what}")
        self._use("AgentConfig", "SimpleAgent")
        arguments = [self._call("AgentConfig", self._settings(agent.config, what))]
        if agent._client is not None and (client := self._client(agent._client, what)):
            arguments.append(client)
        arguments.append(f"prompt_template={text_literal(agent.prompt_template)}")
        if agent.examples:
            pairs = [f"({text_literal(user)}, {text_literal(answer)})" for user, answer in agent.examples]
            arguments.append(f"examples={_bracketed('[', pairs, ']')}")
        return [], _called("SimpleAgent", arguments)

    def _settings(self, config: WorkflowConfig | AgentConfig, what: str = "") -> dict[str, str]:
        """Return the settings that were given and are not the default, as expressions."""
        found = {}
        for name, field in type(config).model_fields.items():
            value = getattr(config, name)
            if name in config.model_fields_set and (value != field.default or field.is_required()):
                found[name] = self._setting(name, value, what)
        return found

    def _setting(self, name: str, value: Any, what: str) -> str:
        if isinstance(value, type):
            form = short_form_of(value)
            return text_literal(form) if form else self.sources.name_of(value, f"the output_type of {what}")
        if name == "tools":
            return _bracketed("[", [self.sources.name_of(tool, f"a tool of {what}") for tool in value], "]")
        if isinstance(value, Guardrail):
            self._use("Guardrail")
            return repr(value)
        if isinstance(value, Decimal):
            return repr(str(value))
        return self._value(list(value) if isinstance(value, tuple) else value, f"{name} of {what}")

    def _client(self, client: Any, what: str) -> str:
        kind = ports.load("model_client")
        if type(client) is not kind:
            self.sources.problems.append(f"The client of {what}, {type(client).__name__}, has to be made here.")
            return ""
        given = {name: self._value(value, "a client") for name, value in client.given.items()}
        self._use(kind.__name__)
        key = repr(given)
        name = "client" if not self.clients or key == next(iter(self.clients)) else f"client_{len(self.clients) + 1}"
        if key in self.clients:
            return self.clients[key].partition(" ")[0]
        self.clients[key] = f"{name} = {self._call(kind.__name__, given)}"
        return name

    def _condition(self, condition: Agent | Reference, step_id: str) -> str:
        if (reference := as_reference(condition)) is not None:
            return self._reference(reference)
        thing = condition.function if isinstance(condition, FunctionAgent) else condition
        return self.sources.name_of(thing, f"the condition of step {step_id!r}")

    def _reference(self, reference: Reference) -> str:
        self.sources.use("agentflow.core.step", "Reference")
        return f"Reference({reference._step_id!r}, {reference._path!r})"

    def _value(self, value: Any, what: str) -> str:
        if (reference := as_reference(value)) is not None:
            return self._reference(reference)
        if isinstance(value, str):
            return text_literal(str(value))  # of a ModelType, too
        if isinstance(value, list | tuple):
            items = _bracketed("[", [self._value(item, what) for item in value], "]")
            return items if isinstance(value, list) else f"tuple({items})"
        if isinstance(value, Mapping):
            return _mapping({key: self._value(item, what) for key, item in value.items()})
        return self._other_value(value, what)

    def _other_value(self, value: Any, what: str) -> str:
        if value is None or isinstance(value, int | float | bytes):
            return repr(value)
        if isinstance(value, Path):
            self.sources.use("pathlib", "Path")
            return f"Path({str(value)!r})"
        told = f"{what[0].upper()}{what[1:]}, of type {type(value).__name__}, has to be given here."
        self.sources.problems.append(told)
        return "..."

    def _call(self, function: str, arguments: Mapping[str, str]) -> str:
        return _called(function, [f"{name}={value}" for name, value in arguments.items()])

    def _use(self, *names: str) -> None:
        self.sources.use("agentflow", *names)


def text_literal(text: str) -> str:
    """Return a Python literal of a text: of several lines in triple quotes where these say exactly the same.

    >>> text_literal("one")
    '"one"'
    """
    if "\n" not in text:
        return _quoted(text)
    plain = all(char == "\n" or char.isprintable() for char in text)
    blank_ends = any(line != line.rstrip() for line in text.split("\n"))  # editors take them away
    if plain and not blank_ends and "\\" not in text and '"""' not in text and not text.endswith('"'):
        return f'"""\\\n{text}"""'
    lines = [_quoted(line) for line in text.splitlines(keepends=True)]
    return "(\n" + "\n".join(f"{_INDENT}{line}" for line in lines) + "\n)"


def _quoted(text: str) -> str:
    """Return a text on one line: in double quotes, as formatters write it, where it holds none; never with three."""
    written = repr(text)
    if written[0] == "'" and '"' not in text:
        return f'"{written[1:-1]}"'
    return written.replace('"""', r"\"\"\"")


def _called(function: str, arguments: list[str]) -> str:
    return _bracketed(f"{function}(", arguments, ")")


def _mapping(items: Mapping[Any, str]) -> str:
    return _bracketed(
        "{", [f"{_quoted(key) if type(key) is str else repr(key)}: {value}" for key, value in items.items()], "}"
    )


def _bracketed(opening: str, items: list[str], closing: str) -> str:
    """Return items between brackets, on a line each where one line is too short."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    body = ",\n".join(_INDENT + _indented(item) for item in items)
    return f"{opening}\n{body},\n{closing}"


def _indented(item: str) -> str:
    """Return an item with its later lines indented, but for those of texts in triple quotes, which would change."""
    parts = item.split('"""')  # no other literal holds them, see `_quoted`
    return '"""'.join(part if index % 2 else part.replace("\n", f"\n{_INDENT}") for index, part in enumerate(parts))


def _identifier(name: str) -> str:
    plain = "".join(char if char.isalnum() else "_" for char in name)
    return f"step_{plain}" if not plain.isidentifier() or keyword.iskeyword(plain) else plain
