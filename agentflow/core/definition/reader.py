"""From plain data to a workflow. What is wrong is collected, so that it can be said at once."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentflow.core import ports
from agentflow.core.agent import SimpleAgent
from agentflow.core.config import AgentConfig, WorkflowConfig
from agentflow.core.definition.import_path import import_object, is_import_path
from agentflow.core.errors import DefinitionError, nearest
from agentflow.core.model import Model
from agentflow.core.step import Reference
from agentflow.core.surroundings import untold
from agentflow.core.template import parse_reference

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow

T = TypeVar("T")

_KINDS = ("agent", "function", "object", "workflow")
_OF_AN_AGENT = ("prompt_template", "examples", "client")
_WIRING = ("inputs", "depends_on", "when", "map_over", "optional", "timeout_seconds")
_CLIENT: Mapping[str, type] = {
    "region_name": str,
    "endpoint_url": str,
    "profile_name": str,
    "max_connections": int,
    "base_models": dict,
    "regions": list,
    "fallback_model": str,
}
_INPUT = ("step", "value", "file", "bytes")


@dataclass
class DefinitionReader:
    """Reads workflows and settings from plain data.

    Attributes
    ----------
    bedrock_client : answers all prompts; None makes the clients that the data describes.
    files : the file that is read, behind those that name it.
    where : the place that is read, for the problems.
    problems : a sentence for each thing that is wrong; what was read is of no use then.
    """

    bedrock_client: Model | None = None
    files: tuple[Path, ...] = ()
    where: str = ""
    problems: list[str] = field(default_factory=list)
    clients: dict[str, Model | None] = field(default_factory=dict)

    def workflow(self, data: Any) -> Workflow | None:
        """Read a workflow."""
        from agentflow.core.workflow import Workflow  # which has the doors to this module

        parts = self._mapping(data, (*WorkflowConfig.model_fields, "steps"))
        if parts is None:
            return None
        steps = parts.pop("steps", None)
        config = self._try(lambda: WorkflowConfig(**parts))
        if not isinstance(steps, Mapping):
            self._add("has no `steps`: a mapping of step ids to steps")
            return None
        workflow = Workflow(config or "unreadable")
        for step_id, step in steps.items():
            self._at(f"step {step_id!r}")._step(workflow, step_id, step, steps)
        return workflow

    def agent_config(self, data: Any) -> AgentConfig | None:
        """Read the settings of an agent."""
        parts = self._mapping(data, AgentConfig.model_fields)
        if parts is None:
            return None
        output_type = parts.get("output_type")
        if isinstance(output_type, str) and is_import_path(output_type):
            parts["output_type"] = self._import(output_type)
        if "tools" in parts:
            tools = [self._import(path) for path in self._texts("tools", parts["tools"])]
            parts["tools"] = [tool for tool in tools if tool is not None]
        return self._try(lambda: AgentConfig(**parts))

    def _step(self, workflow: Workflow, step_id: str, data: Any, step_ids: Collection[str]) -> None:
        before = len(self.problems)
        parts = self._mapping(data, (*_KINDS, *_OF_AN_AGENT, *_WIRING))
        if parts is None:
            return
        agent = self._agent(parts)
        wiring = {name: self._wiring(name, parts[name], step_ids) for name in _WIRING if name in parts}
        if len(self.problems) == before:
            self._try(lambda: workflow.add_step(step_id, agent, **wiring))

    def _agent(self, parts: Mapping[str, Any]) -> Any:
        """Read what a step runs."""
        kinds = [kind for kind in _KINDS if kind in parts]
        if len(kinds) != 1:
            self._add(f"has {' and '.join(kinds) or 'nothing to run'}; give it one of {', '.join(_KINDS)}")
            return None
        value = parts[kinds[0]]
        if kinds == ["agent"]:
            return self._prompt(value, parts)
        for name in _OF_AN_AGENT:
            if name in parts:
                self._add(f"has {name!r}, which only a step with `agent` has")
        return self._nested(value) if kinds == ["workflow"] else self._import(value)

    def _prompt(self, agent: Any, parts: Mapping[str, Any]) -> SimpleAgent | None:
        config = self._at("its agent").agent_config(agent)
        prompt = self._text("prompt_template", parts.get("prompt_template"))
        examples = parts.get("examples", [])
        client = self._at("its client")._client(parts["client"]) if "client" in parts else None
        if not isinstance(examples, list) or not all(map(_is_pair, examples)):
            self._add("has `examples` that are no list of [what a user says, what the model answers]")
            return None
        if config is None or prompt is None:
            return None
        return self._try(
            lambda: SimpleAgent(config, self.bedrock_client or client, prompt_template=prompt, examples=examples)
        )

    def _client(self, data: Any) -> Model | None:
        """Return the client with these arguments, one for all steps."""
        given = self._mapping(data, _CLIENT) or {}
        for name, value in given.items():
            if type(value) is not _CLIENT[name]:
                self._add(f"has {name}={value!r}, which is no {_CLIENT[name].__name__}")
                return None
        if self.bedrock_client is not None or not given:
            return None
        key = repr(sorted(given.items()))
        if key not in self.clients:
            self.clients[key] = self._try(lambda: ports.load("model_client")(**given))
        return self.clients[key]

    def _nested(self, value: Any) -> Workflow | None:
        """Read a workflow that is a step: from its data, or from its file."""
        if not isinstance(value, str):
            with untold():
                return self._at("its workflow").workflow(value)
        from agentflow.core.definition.yaml_text import load_source

        path = (self.files[-1].parent if self.files else Path()) / value
        files = (*self.files, path)
        if path.resolve() in {file.resolve() for file in self.files}:
            self._add(f"holds the workflow that it is part of: {' -> '.join(map(str, files))}")
            return None
        inside = replace(self._at(str(path)), files=files)
        loaded = inside._try(lambda: load_source(path))
        with untold():
            return loaded and inside.workflow(loaded[0])

    def _wiring(self, name: str, value: Any, step_ids: Collection[str]) -> Any:
        match name:
            case "inputs":
                inputs = self._mapping(value, None) or {}
                return {
                    input_: self._at(f"input {input_!r}")._input(given, step_ids) for input_, given in inputs.items()
                }
            case "depends_on":
                return [self._known(step_id, step_ids) for step_id in self._texts(name, value)]
            case "when":
                is_function = isinstance(value, str) and ":" in value
                return self._import(value) if is_function else self._reference(value, step_ids)
            case "map_over":
                return self._text(name, value)
            case "optional":
                return self._texts(name, value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            self._add(f"has {name}={value!r}, which is no number of seconds")
        return value

    def _input(self, value: Any, step_ids: Collection[str]) -> Any:
        if not isinstance(value, Mapping):
            return value
        match tuple(value.items()):
            case (("step", reference),):
                return self._reference(reference, step_ids)
            case (("value", literal),):
                return literal
            case (("file", str(path)),):
                return Path(path)
            case (("bytes", str(text)),):
                return self._bytes(text)
        self._add(f"is none of {', '.join(f'{{{name}: ...}}' for name in _INPUT)}; write a mapping as {{value: ...}}")
        return None

    def _bytes(self, text: str) -> bytes | None:
        try:
            return b64decode(text, validate=True)
        except ValueError as error:
            self._add(f"is no base64 text ({error})")
            return None

    def _reference(self, value: Any, step_ids: Collection[str]) -> Reference | None:
        parts = parse_reference(value) if isinstance(value, str) else value if isinstance(value, list) else ()
        names_and_numbers = all(type(part) in {str, int} for part in parts)
        reference = Reference(str(parts[0]), tuple(parts[1:])) if parts and names_and_numbers else None
        if reference is None or value not in (repr(reference), [reference._step_id, *reference._path]):
            self._add(f"refers to {value!r}; write `step.field[0]`, or a list of such parts: [step, field, 0]")
            return None
        self._known(reference._step_id, step_ids)
        return reference

    def _known(self, step_id: str, step_ids: Collection[str]) -> str:
        if step_id not in step_ids:
            self._add(f"refers to step {step_id!r}, which the workflow does not have{nearest(step_id, step_ids)}")
        return step_id

    def _import(self, path: Any) -> Any:
        if isinstance(path, str):
            return self._try(lambda: import_object(path))
        self._add(f"has {path!r} where an import path belongs: package.module:name")
        return None

    def _mapping(self, data: Any, known: Collection[str] | None) -> dict[str, Any] | None:
        """Return the known parts of a mapping, None where it is none."""
        if not isinstance(data, Mapping):
            self._add(f"is {_shown(data)} where a mapping belongs")
            return None
        for name in data:
            if not isinstance(name, str):
                self._add(f"has the key {name!r}, which is no text")
            elif known is not None and name not in known:
                self._add(f"has no {name!r}{nearest(name, known)}; it has {', '.join(known)}")
        return {name: value for name, value in data.items() if known is None or name in known}

    def _text(self, name: str, value: Any) -> str | None:
        if isinstance(value, str):
            return value
        self._add(f"has no {name!r}" if value is None else f"has {name}={_shown(value)}, which is no text")
        return None

    def _texts(self, name: str, value: Any) -> list[str]:
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(item, str) for item in values):
            return values
        self._add(f"has {name}={_shown(value)}, which is no list of names")
        return []

    def _at(self, place: str) -> DefinitionReader:
        return replace(self, where=f"{self.where}, {place}" if self.where else place[0].upper() + place[1:])

    def _try(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except DefinitionError as error:
            self.problems += [f"{self.where}: {problem}" if self.where else problem for problem in error.problems]
            return None

    def _add(self, problem: str) -> None:
        self.problems.append(f"{self.where or 'The workflow'} {problem}.")


def _is_pair(example: Any) -> bool:
    return isinstance(example, list) and len(example) == 2 and all(isinstance(text, str) for text in example)


def _shown(value: Any) -> str:
    """Return a value as an error shows it: not all of a long one."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
