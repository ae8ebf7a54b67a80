"""Python functions as tools of a model: their schemas, their calls, and what the model is told of them."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from datetime import UTC, datetime
from functools import cached_property, partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from agentflow.core.errors import BudgetExceeded, DefinitionError, described
from agentflow.core.events import current_step
from agentflow.core.model import ANSWER_TOOL, ToolCall, ToolSpec, ToolUse
from agentflow.core.parameters import named_parameters
from agentflow.core.template import as_text
from agentflow.utils.threads import function_pool

_NO_TEXT = (bytes, bytearray, memoryview, GeneratorType, AsyncGeneratorType)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # botocore's service model `bedrock-runtime`, ToolName


class Tool:
    """A Python function that a model may have called. Its name, docstring and signature are what the model is told.

    A sync function runs on a thread, an async one on the event loop. Arguments are validated by the annotations.

    Raises
    ------
    DefinitionError
        Its name is none that Bedrock takes, or its signature cannot be told to a model.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        if not hasattr(function, "__name__"):
            raise DefinitionError(
                f"An object of type {type(function).__name__} has no name by which a model could ask for it.",
                fix="Give a function (def) that calls it.",
            )
        self.name: str = function.__name__
        if not _NAME.fullmatch(self.name) or self.name == ANSWER_TOOL:
            raise DefinitionError(
                f"A tool cannot be called {self.name!r}.",
                fix=f"Name the function with letters, digits and _, at most 64, and not {ANSWER_TOOL!r}.",
            )
        self._arguments = _arguments_of(function, self.name)

    @cached_property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        return ToolSpec(self.name, inspect.getdoc(self.function) or "", self._arguments.json_schema())

    async def call(self, arguments: Mapping[str, Any] | str) -> tuple[str, bool]:
        """Return what the model is given, and whether that is an error. Raises nothing but what ends a run."""
        if isinstance(arguments, str):
            return f"It was not called: its arguments are no JSON object (given: {_short(arguments)}).", True
        try:
            values = self._arguments.validate_python(dict(arguments))
        except ValidationError as error:
            return f"The arguments do not fit: {problems_of(error)}", True
        try:
            if inspect.iscoroutinefunction(self.function):
                output = await self.function(**values)
            else:
                output = await function_pool().run(partial(copy_context().run, partial(self.function, **values)))
                if inspect.isawaitable(output):
                    output = await output
            if isinstance(output, _NO_TEXT):
                return f"It gave a value of type {type(output).__name__}, which is no text.", True
            return as_text(output), False
        except BudgetExceeded:  # of a call that the tool makes: it ends the run
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is for the model to deal with
            return described(error), True


def _arguments_of(function: Callable[..., Any], name: str) -> TypeAdapter[dict[str, Any]]:
    """Return what validates the arguments of a function, and has their schema."""
    named_parameters(function)

    def arguments(**values: Any) -> dict[str, Any]:
        return values

    try:
        arguments.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # inspect reads it from any function
        arguments.__annotations__ = get_type_hints(function, include_extras=True) | {"return": dict[str, Any]}
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", arguments), config=ConfigDict(extra="forbid"))
        adapter.json_schema()
    except (PydanticUserError, ValueError, TypeError, NameError) as error:
        raise DefinitionError(
            f"The tool {name!r} cannot be told to a model: {error}", fix="Annotate its parameters with plain types."
        ) from error
    return adapter


def as_tools(functions: Sequence[Callable[..., Any]]) -> Mapping[str, Tool]:
    """Return functions as tools, by name.

    Raises
    ------
    DefinitionError
        One of them cannot be a tool, or two have the same name.
    """
    tools = {tool.name: tool for tool in map(Tool, functions)}
    if len(tools) < len(functions):
        raise DefinitionError("Two tools have the same name.", fix="Give each function a name of its own.")
    return tools


async def called(tools: Mapping[str, Tool], use: ToolUse) -> ToolCall:
    """Call a tool that a model has asked for, unless this run has done so before it was stopped.

    The result is durable before it is returned, since a tool may have side effects.
    """
    scope = current_step.get()
    if scope and (before := scope.run.recall_tool(scope, use)):
        return before
    started_at, started = datetime.now(UTC), time.perf_counter()
    if (tool := tools.get(use.name)) is not None:
        output, is_error = await tool.call(use.arguments)
    else:
        output, is_error = f"There is no tool {use.name!r}; there are {', '.join(tools)}.", True
    latency_ms = (time.perf_counter() - started) * 1000
    call = ToolCall(use.tool_use_id, use.name, use.arguments, output, is_error, started_at, latency_ms)
    if scope:
        await function_pool().run(partial(scope.run.keep_tool_call, scope, call))
    return call


def problems_of(error: ValidationError) -> str:
    """Return what does not fit, in words that a model can act on."""
    problems = (
        f"{'.'.join(str(part) for part in problem['loc']) or 'the whole'}: {problem['msg']} "
        f"(given: {_short(problem['input'])})"
        for problem in error.errors(include_url=False)
    )
    return "; ".join(problems)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
