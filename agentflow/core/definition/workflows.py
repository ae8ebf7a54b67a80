"""A workflow as plain data, as JSON and as a YAML file, and back.

The data has the names of the Python calls: a workflow has the fields of its `WorkflowConfig` and `steps`; a step has
what `add_step` takes. What is left at its default is left out. A step runs one of four things:

- `agent`, with `prompt_template` and where wanted `examples` and `client`: a `SimpleAgent`;
- `function`: a function, by its import path `package.module:name`, as the `tools` of an agent are;
- `object`: an agent of one's own, by the import path of the object;
- `workflow`: another workflow, as its data or as the path of its file, seen from this one.

An input is the value itself, or `{step: classify.items[0]}`, `{value: [1, 2]}` for a list or a mapping, `{file: path}`
or `{bytes: base64}`. A reference with a part that is no name is a list: `[classify, "first name", 0]`. `when` is a
reference or the import path of a function. Reading imports the modules that are named: read only files that you trust.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core.agent import SimpleAgent
from agentflow.core.config import AgentConfig
from agentflow.core.definition.reader import DefinitionReader
from agentflow.core.definition.writer import DefinitionWriter
from agentflow.core.errors import DefinitionError
from agentflow.core.model import Model
from agentflow.core.nested import WorkflowAgent
from agentflow.core.step import Reference, Step
from agentflow.core.surroundings import untold

if TYPE_CHECKING:
    from agentflow.core.workflow import Workflow


def to_dict(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow as plain data, which JSON and YAML can hold.

    Raises
    ------
    DefinitionError
        Something cannot be written, such as a function that has no import path; `problems` lists all of it.
    """
    writer = DefinitionWriter()
    data = writer.workflow(workflow)
    _complain(f"Workflow {workflow.config.name!r} cannot be written", writer.problems)
    return data


def from_dict(data: Any, *, bedrock_client: Model | None = None) -> Workflow:
    """Return the workflow that plain data describes.

    Parameters
    ----------
    bedrock_client : answers all prompts, in place of the clients that the data describes.

    Raises
    ------
    DefinitionError
        The data does not describe a workflow; `problems` lists all that is wrong.
    """
    return _workflow(data, None, bedrock_client)


def to_yaml(workflow: Workflow, path: Path | str | None = None) -> str:
    """Return a workflow as YAML text, and write it to a file where a path is given; errors as for `to_dict`."""
    return _written(to_dict(workflow), path)


def from_yaml(source: Path | str, *, bedrock_client: Model | None = None) -> Workflow:
    """Return the workflow of a file or a text; parameters and errors as for `Workflow.from_yaml`."""
    return _workflow(*_loaded(source), bedrock_client)


def definition_json(workflow: Workflow) -> str | None:
    """Return a workflow that holds prompts only as JSON text, None for any other. Never raises."""
    if not all(map(_is_prompt, workflow.steps.values())):
        return None
    writer = DefinitionWriter()
    data = writer.workflow(workflow)
    return None if writer.problems else json.dumps(data, separators=(",", ":"))


def from_definition_json(text: str) -> Workflow:
    """Return the workflow that `definition_json` wrote; errors as for `from_dict`. The surroundings are not told."""
    with untold():
        return from_dict(json.loads(text))


def agent_config_to_yaml(config: AgentConfig, path: Path | str | None = None) -> str:
    """Return the settings of an agent as YAML text, and write it to a file where a path is given.

    Raises
    ------
    DefinitionError
        Its `output_type` has neither a short form nor an import path.
    """
    writer = DefinitionWriter()
    data = writer.config(config, f"AgentConfig {config.name!r}")
    _complain(f"AgentConfig {config.name!r} cannot be written", writer.problems)
    return _written(data, path)


def agent_config_from_yaml(source: Path | str) -> AgentConfig:
    """Return the settings of an agent from a file or a text; errors as for `AgentConfig.from_yaml`."""
    data, path = _loaded(source)
    reader = DefinitionReader(where="The agent")
    config = reader.agent_config(data)
    _complain(f"{path or 'The text'} cannot be read", reader.problems)
    assert config is not None  # noqa: S101 - else there is a problem
    return config


def _is_prompt(step: Step) -> bool:
    """Return whether a step runs no code of the user's."""
    if step.when is not None and not isinstance(step.when, Reference):
        return False
    if isinstance(step.agent, WorkflowAgent):
        return all(map(_is_prompt, step.agent.workflow.steps.values()))
    return type(step.agent) is SimpleAgent and not step.agent.tools


def _workflow(data: Any, path: Path | None, bedrock_client: Model | None) -> Workflow:
    reader = DefinitionReader(bedrock_client, () if path is None else (path,))
    workflow = reader.workflow(data)
    _complain(f"{path or 'The definition'} cannot be read", reader.problems)
    assert workflow is not None  # noqa: S101 - else there is a problem
    return workflow


def _written(data: dict[str, Any], path: Path | str | None) -> str:
    from agentflow.core.definition.yaml_text import dump_yaml

    text = dump_yaml(data)
    if path is not None:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    return text


def _loaded(source: Path | str) -> tuple[Any, Path | None]:
    from agentflow.core.definition.yaml_text import load_source

    try:
        return load_source(source)
    except DefinitionError as error:
        name = source if isinstance(source, Path) or "\n" not in str(source) else "The text"
        raise DefinitionError(f"{name} cannot be read: {error}", problems=error.problems) from error


def _complain(what: str, problems: Sequence[str]) -> None:
    if problems:
        raise DefinitionError(f"{what}: {' '.join(problems)}", problems=problems)
