"""What a person may set on a workflow and on an agent: validated, with the unit in the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from agentflow.core.budget import as_limit
from agentflow.core.content import CacheTime
from agentflow.core.errors import DefinitionError, nearest
from agentflow.core.model import DEFAULT_MAX_TOKENS, Guardrail, Latency, ServiceTier
from agentflow.core.output_types import from_short_form, is_output_type
from agentflow.core.surroundings import surroundings
from agentflow.core.tools import as_tools
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
    found = setting("AGENTFLOW_CACHE")
    if found.source == "default" and surroundings.reuses_answers:
        return True
    value = found.value or "0"
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
        alone, and nothing is sent. Default `AGENTFLOW_CACHE`, else True in a kernel
        that has the extension loaded, else False. A workflow that is a step does as the
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
    output_type : a pydantic model or a dataclass that the answer is parsed into, or a short form
        (`core/output_types.py`), such as ``"urgent: bool, product: str"``; None gives text.
    output_retries : how many times the model is asked again where its answer does not fit `output_type`.
    tools : Python functions that the model may have called; their signatures and docstrings are what it knows of them.
        Those of one answer run at the same time, sync ones on threads. What a tool raises goes to the model. Results
        are in the run's `tools_frame()` and in its journal, from which a resume takes them: no tool that has given a
        result acts twice in a run. Answers from the cache call the tools again.
    max_tool_rounds : the most answers in a row that may ask for tools.
    cache_prompt : have Bedrock keep what is the same in all of the agent's requests for so long, `5m` or `1h` after its
        last use; None has nothing kept. Worth it for long texts that are sent often: keeping costs a quarter more, or
        twice as much for an hour; what is sent again then costs a tenth.
    top_p : 0 to 1; None is the model's own default.
    effort : how much the model thinks, in its own words, such as `low`; None is its own default.
    guardrail : of Bedrock's, which prompt and answer have to pass.
    service_tier : `priority`, `default`, `flex` or `reserved`; None is the account's default.
    latency : `optimized` for a faster and dearer answer, where a model has that.
    extra_fields : parameters of the model that have no name here, such as ``{"top_k": 50}``.
    """

    name: str = Field(min_length=1)
    model_type: str | None = Field(default=None, min_length=1)
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=1)
    system: str | None = Field(default=None, min_length=1)
    stop_sequences: tuple[str, ...] = ()
    output_type: type[Any] | str | None = None
    output_retries: int = Field(default=1, ge=0)
    tools: tuple[Callable[..., Any], ...] = ()
    max_tool_rounds: int = Field(default=10, ge=1)
    cache_prompt: CacheTime | None = None
    top_p: float | None = Field(default=None, ge=0, le=1)
    effort: str | None = Field(default=None, min_length=1, max_length=16)
    guardrail: Guardrail | None = None
    service_tier: ServiceTier | None = None
    latency: Latency | None = None
    extra_fields: Mapping[str, Any] | None = None

    @field_validator("output_type", mode="before")
    @classmethod
    def _as_class(cls, value: object) -> object:
        output_type = from_short_form(value) if isinstance(value, str) else value
        if output_type is None or is_output_type(output_type):
            return output_type
        message = "give a pydantic model, a dataclass or a short form; for a list a field of one: 'items: list[str]'"
        raise ValueError(message)

    @field_validator("tools")
    @classmethod
    def _can_be_told(cls, value: tuple[Callable[..., Any], ...]) -> tuple[Callable[..., Any], ...]:
        as_tools(value)
        return value

    @property
    def output_class(self) -> type[Any] | None:
        """The class that the answer is parsed into; None where it is text."""
        return self.output_type if isinstance(self.output_type, type) else None

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
        from agentflow.core.definition.workflows import agent_config_from_yaml

        return agent_config_from_yaml(source)

    def to_yaml(self, path: Path | str | None = None) -> str:
        """Return the settings as YAML text, and write it to a file where a path is given.

        Raises
        ------
        DefinitionError
            `output_type` is a class that cannot be imported, such as one of a notebook's cell.
        """
        from agentflow.core.definition.workflows import agent_config_to_yaml

        return agent_config_to_yaml(self, path)
