"""What a person may set on a workflow and on an agent: validated, with the unit in the name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from agentflow.core.budget import as_limit
from agentflow.core.errors import DefinitionError, nearest
from agentflow.core.model import DEFAULT_MAX_TOKENS
from agentflow.core.output_types import from_short_form
from agentflow.utils.env import setting

ConfigT = TypeVar("ConfigT", bound="_Config")


class _Config(BaseModel):
    """A frozen set of settings. A wrong value or an unknown name is a `DefinitionError` that says what is allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [_sentence(type(self), problem) for problem in error.errors()]
            raise DefinitionError(" ".join(problems), problems=problems) from error


def _sentence(config: type[BaseModel], problem: ErrorDetails) -> str:
    """Turn one of pydantic's problems into a sentence."""
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(config.model_fields)
        return f"{config.__name__} has no {name!r}{nearest(name, config.model_fields)}; it has {known}."
    if problem["type"] == "missing":
        return f"{config.__name__} needs {name!r}."
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{config.__name__}({name}={problem['input']!r}): {message}."


def _cache_setting() -> bool | str:
    """Return what `AGENTFLOW_CACHE` says: 1 or 0, or what `WorkflowConfig(cache=...)` takes."""
    value = setting("AGENTFLOW_CACHE").value or "0"
    return {"1": True, "true": True, "0": False, "false": False}.get(value.lower(), value)


class WorkflowConfig(_Config):
    """How a workflow runs.

    Attributes
    ----------
    name : shown in every table, log and error.
    enable_parallel : run independent steps at the same time (default), or one after the other.
    timeout_seconds : the longest that a run may take; default `AGENTFLOW_TIMEOUT`, else 300.
    max_concurrency : the most steps of a run at the same time; None is no limit of the workflow's own.
    on_error : `fail` stops the run at the first failure; `continue` runs all that can still run, then fails.
    journal : whether the run is written to the store as it happens, so that it can be looked at and resumed later.
    cache : True gives an answer again that was paid for before, where the very same request is made; a path does so
        from a file of recorded answers, which it records the missing ones into; ``replay:PATH`` from such a file
        alone, and nothing is sent. Default `AGENTFLOW_CACHE`, else False. A workflow that is a step does as the
        outer one.
    budget_usd : the most that a run may cost, its resumes included, at Bedrock's list price: a call that could pass it
        is not sent, and the run ends with `BudgetExceeded`. None is no limit.
    keep_outputs : False drops an output as soon as no later step needs it; those of the last steps are kept.
    large_output_bytes : an output that takes more bytes than this in the journal stays there, and is read when it is
        asked for.
    """

    name: str = Field(min_length=1)
    enable_parallel: bool = True
    timeout_seconds: float = Field(
        default_factory=lambda: setting("AGENTFLOW_TIMEOUT").number(at_least=0.001), gt=0, allow_inf_nan=False
    )
    max_concurrency: int | None = Field(default=None, ge=1)
    on_error: Literal["fail", "continue"] = "fail"
    journal: bool = True
    cache: bool | str = Field(default_factory=_cache_setting)
    budget_usd: Decimal | float | str | None = None
    keep_outputs: bool = True
    large_output_bytes: int = Field(default=1_000_000, ge=0)

    @field_validator("cache")
    @classmethod
    def _names_a_file(cls, value: bool | str) -> bool | str:
        if isinstance(value, str) and not value.removeprefix("replay:").strip():
            message = "give True, False, a path, or 'replay:PATH'"
            raise ValueError(message)
        return value

    @field_validator("budget_usd", mode="before")
    @classmethod
    def _exact(cls, value: Decimal | float | str | None) -> Decimal | None:
        try:
            return None if value is None else as_limit(value)
        except DefinitionError as error:
            message = "give dollars above 0, or None"
            raise ValueError(message) from error


class AgentConfig(_Config):
    """What a prompt is sent with.

    Attributes
    ----------
    name : the agent's name, for people.
    model_type : a `ModelType`, an alias, a Bedrock id; None is the catalog's fast model.
    max_tokens : the most tokens of an answer.
    temperature : 0 to 1; None is the model's own default.
    system : the system prompt.
    stop_sequences : texts that end an answer.
    output_type : a pydantic model that the answer is parsed into, or its short form (`core/output_types.py`), such as
        ``"urgent: bool, product: str"``; None gives text.
    """

    name: str = Field(min_length=1)
    model_type: str | None = Field(default=None, min_length=1)
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=1)
    system: str | None = Field(default=None, min_length=1)
    stop_sequences: tuple[str, ...] = ()
    output_type: type[BaseModel] | None = None

    @field_validator("output_type", mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return from_short_form(value) if isinstance(value, str) else value

    @classmethod
    def from_yaml(cls, source: Path | str) -> AgentConfig:
        """Return the settings that are written in a YAML file.

        Parameters
        ----------
        source : a path; a string is a path if it ends in .yaml, .yml or .json, else YAML text.

        Raises
        ------
        DefinitionError
            The file cannot be read, or a setting is wrong; `problems` lists all that is.
        """
        from agentflow.core.definition import agent_config_from_yaml

        return agent_config_from_yaml(source)

    def to_yaml(self, path: Path | str | None = None) -> str:
        """Return the settings as YAML text, and write it to a file where a path is given.

        Raises
        ------
        DefinitionError
            `output_type` is a class that cannot be imported, such as one of a notebook's cell.
        """
        from agentflow.core.definition import agent_config_to_yaml

        return agent_config_to_yaml(self, path)
