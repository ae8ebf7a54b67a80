"""From a workflow to plain data. What cannot be written is collected, so that it can be said at once."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.agent import Agent, FunctionAgent, SimpleAgent
from agentflow.core.config import AgentConfig, WorkflowConfig
from agentflow.core.definition.import_path import import_path_of
from agentflow.core.model import Guardrail
from agentflow.core.nested import WorkflowAgent
from agentflow.core.output_types import short_form_of
from agentflow.core.step import Reference, Step, as_reference
from agentflow.core.template import parse_reference

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

_HOLDS_A_PASSWORD = re.compile(r"//[^/]*@")


class DefinitionWriter:
    """Writes workflows and settings as plain data.

    Attributes
    ----------
    problems : a sentence for each thing that cannot be written; the data is of no use then.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def workflow(self, workflow: Workflow, within: str = "") -> dict[str, Any]:
        """Write a workflow.

        Parameters
        ----------
        within : the step that it is nested in, for the problems.
        """
        data = self.config(workflow.config, f"{within}WorkflowConfig")
        data["steps"] = {
            step_id: self._step(step, f"{within}Step {step_id!r}") for step_id, step in workflow.steps.items()
        }
        return data

    def config(self, config: WorkflowConfig | AgentConfig, where: str) -> dict[str, Any]:
        """Write the settings that were given, without those that are the default anyway."""
        data = {}
        for name, field in type(config).model_fields.items():
            value = getattr(config, name)
            if name not in config.model_fields_set or value == field.default:
                continue
            if isinstance(value, type):
                value = short_form_of(value) or self._import_path(value, f"{where}: its {name} {value.__name__}")
            elif name == "tools":
                value = [self._import_path(tool, f"{where}: its tool {tool!r}") for tool in value]
            elif isinstance(value, Guardrail):
                value = asdict(value)
            elif isinstance(value, Decimal):
                value = str(value)
            elif isinstance(value, tuple):
                value = list(value)
            if not _is_plain(value):
                self._add(f"{where}: {name}={value!r} cannot be written", "Give plain text, numbers and lists.")
            data[name] = _number(value)
        return data

    def _step(self, step: Step, where: str) -> dict[str, Any]:
        data = self._agent(step.agent, where)
        if step.inputs:
            data["inputs"] = {
                name: self._input(value, f"{where}: its input {name!r}") for name, value in step.inputs.items()
            }
        if step.depends_on:
            data["depends_on"] = list(step.depends_on)
        if step.when is not None:
            data["when"] = self._condition(step.when, f"{where}: its condition")
        if step.map_over is not None:
            data["map_over"] = step.map_over
        if step.optional:
            data["optional"] = list(step.optional)
        if step.timeout_seconds is not None:
            data["timeout_seconds"] = _number(step.timeout_seconds)
        return data

    def _agent(self, agent: Agent, where: str) -> dict[str, Any]:
        if isinstance(agent, FunctionAgent):
            return {"function": self._import_path(agent.function, f"{where}: {agent!r}")}
        if isinstance(agent, WorkflowAgent):
            return {"workflow": self.workflow(agent.workflow, f"{where}: ")}
        if type(agent) is not SimpleAgent:
            return {"object": self._import_path(agent, f"{where}: {agent!r}")}
        data: dict[str, Any] = {"agent": self.config(agent.config, where), "prompt_template": agent.prompt_template}
        if agent.examples:
            data["examples"] = [list(pair) for pair in agent.examples]
        if agent._client is not None and (given := self._client(agent._client, where)):
            data["client"] = given
        return data

    def _client(self, client: Any, where: str) -> dict[str, Any]:
        """Write what a client was given, which is never a key."""
        kind = ports.load("model_client")
        if type(client) is not kind:
            self._add(
                f"{where}: its client {client!r} is no {kind.__name__}, so it cannot be written",
                "Leave it out, and give from_yaml the bedrock_client.",
            )
            return {}
        given = dict(client.given)
        for name, value in given.items():
            if isinstance(value, str) and _HOLDS_A_PASSWORD.search(value):
                self._add(f"{where}: its client's {name} holds a password, which is never written", "Leave it out.")
        return given

    def _input(self, value: Any, where: str) -> Any:
        if (reference := as_reference(value)) is not None:
            return {"step": self._reference(reference, where)}
        if type(value) is bytes:
            return {"bytes": b64encode(value).decode()}
        if isinstance(value, Path):
            return {"file": value.as_posix()}
        if not _is_plain(value):
            self._add(
                f"{where} is of type {type(value).__name__}, or holds what cannot be written",
                "Give text, numbers, lists and mappings of these, bytes or a Path; or make it an input of the run.",
            )
        return {"value": value} if isinstance(value, list | dict) else value

    def _condition(self, condition: Agent | Reference, where: str) -> Any:
        if (reference := as_reference(condition)) is not None:
            return self._reference(reference, where)
        thing = condition.function if isinstance(condition, FunctionAgent) else condition
        return self._import_path(thing, f"{where} {condition!r}")

    def _reference(self, reference: Reference, where: str) -> Any:
        """Write a reference: as text where that can be read again, else as the list of its parts."""
        parts = (reference._step_id, *reference._path)
        if parse_reference(repr(reference)) == parts:
            return repr(reference)
        if any(type(part) not in {str, int} for part in parts):
            self._add(
                f"{where}, {reference!r}, has a part that is neither a name nor a number", "Use names and numbers."
            )
        return list(parts)

    def _import_path(self, thing: Any, what: str) -> str | None:
        path = import_path_of(thing)
        if path is None:
            self._add(
                f"{what} has no import path",
                "Move it into a module of your own, under a name of its own, and import it from there.",
            )
        return path

    def _add(self, problem: str, fix: str) -> None:
        self.problems.append(f"{problem}. {fix}")


def _is_plain(value: Any) -> bool:
    """Return whether a value is the same after it was written as JSON and read again."""
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return value is None or type(value) in {str, int, float, bool}


def _number(value: Any) -> Any:
    """Return a whole number without `.0`: pydantic makes a float of every limit in seconds."""
    return int(value) if type(value) is float and value.is_integer() else value
