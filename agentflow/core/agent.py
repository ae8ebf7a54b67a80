"""What a step runs: the Agent protocol, prompts (`SimpleAgent`) and Python functions (`FunctionAgent`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from functools import cached_property, partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Literal, Protocol, cast, runtime_checkable

from pydantic import ValidationError

from agentflow.core import ports
from agentflow.core.budget import unknown_price
from agentflow.core.config import AgentConfig
from agentflow.core.content import CachePoint, Content, attached, takes_time
from agentflow.core.conversation import Conversation
from agentflow.core.errors import DefinitionError, InputError
from agentflow.core.model import Model, Reply, Request, Turn
from agentflow.core.output_types import parse_output, schema_of
from agentflow.core.parameters import named_parameters
from agentflow.core.template import Path, Template, as_content, as_text
from agentflow.core.tools import Tool, as_tools
from agentflow.utils.threads import function_pool

_UNFINISHED = (GeneratorType, AsyncGeneratorType, CoroutineType)


@runtime_checkable
class Agent(Protocol):
    """Anything that can be a step."""

    @property
    def parameters(self) -> Mapping[str, bool]:
        """The names that it needs a value for, each with whether it is required."""

    def check(self) -> None:
        """Raise a `DefinitionError` where it cannot run as it is written. Calls nothing."""

    async def run(self, values: Mapping[str, Any]) -> Any:
        """Return the step's output for a value of each required parameter."""


class SimpleAgent:
    """A prompt for a model. `{name}` in the prompt or the system prompt is the output of the step `name`, or an input.

    Parameters
    ----------
    config : the model and its parameters.
    bedrock_client : who answers; default a `BedrockClient()` with the settings of the environment.
    prompt_template : the user message, with placeholders.
    examples : pairs of what a user says and what the model should answer, sent before the prompt. Their text is sent as
        it is: braces in it are text, and no placeholders.

    Raises
    ------
    DefinitionError
        The prompt is empty, or an example is no pair of texts.

    Notes
    -----
    The step's output is the answer's text, or an instance of `config.output_type`. A placeholder of the prompt whose
    value is a `pathlib.Path`, the bytes of an image or a PDF, an image of Pillow, an `Attachment`, or a list of such
    values, becomes an image or a document.
    """

    def __init__(
        self,
        config: AgentConfig,
        bedrock_client: Model | None = None,
        *,
        prompt_template: str,
        examples: Sequence[tuple[str, str]] = (),
    ) -> None:
        if not isinstance(config, AgentConfig):
            raise DefinitionError(
                f"SimpleAgent({config!r}): that is no AgentConfig.", fix="Give AgentConfig(name=...)."
            )
        if bedrock_client is not None and not hasattr(bedrock_client, "answer"):
            raise DefinitionError(f"{bedrock_client!r} is no client.", fix="Give a BedrockClient, or nothing.")
        if not isinstance(prompt_template, str) or not prompt_template.strip():
            raise DefinitionError(f"Agent {config.name!r} has an empty prompt.", fix="Give it a prompt_template.")
        self.config = config
        self.examples: tuple[tuple[str, str], ...] = tuple(_checked_example(config.name, pair) for pair in examples)
        self._client = bedrock_client
        self._prompt = Template(prompt_template)
        self._system = Template(config.system) if config.system else None
        self.tools: Mapping[str, Tool] = as_tools(config.tools)
        self._turns = self._example_turns()

    def _example_turns(self) -> tuple[Turn, ...]:
        turns = [turn for user, answer in self.examples for turn in (Turn("user", user), Turn("assistant", answer))]
        if self._cached_part == "examples" and self.config.cache_prompt:
            turns[-1] = Turn("assistant", (self.examples[-1][1], CachePoint(self.config.cache_prompt)))
        return tuple(turns)

    @cached_property
    def client(self) -> Model:
        """Who answers."""
        return self._client or cast("Model", ports.load("model_client")())

    @property
    def prompt_template(self) -> str:
        """The prompt as it was written."""
        return self._prompt.text

    @property
    def references(self) -> tuple[Path, ...]:
        """What the placeholders of the prompt and the system prompt refer to."""
        return self._prompt.references + (self._system.references if self._system else ())

    @property
    def parameters(self) -> Mapping[str, bool]:
        """The names of the placeholders; all are required."""
        return dict.fromkeys((*self._prompt.names, *(self._system.names if self._system else ())), True)

    def check(self) -> None:
        """Raise `UnknownModelError` where the model's name is not known."""
        self.client.check(self.config.model_type)

    def check_price(self) -> None:
        """Raise an `UnknownPriceError` where the model's price is not known, so that a budget could not be kept."""
        config = self.config
        request = Request(
            self.prompt_template,
            config.max_tokens,
            cache_system=config.cache_prompt,
            service_tier=config.service_tier,
            latency=config.latency,
        )
        estimate = self.client.estimate(config.model_type, request)
        if estimate.most_usd is None:
            raise unknown_price(estimate.model)

    async def run(self, values: Mapping[str, Any]) -> Any:
        """Ask the model.

        Raises
        ------
        InputError
            A placeholder names a field that its value does not have, or a file cannot be sent.
        ModelCallError
            The call failed; `OutputFormatError` where the answer does not fit `output_type`, `ToolRoundsError` where
            the model asks for tools without an end.
        """
        request = self._request(await self._content(values), values)
        return await Conversation(self.client, self.config, self.tools).run(request)

    def output_of(self, reply: Reply) -> Any:
        """Return the step's output after an answer; None after one that asks for tools or does not fit."""
        if any(use.name in self.tools for use in reply.tool_uses):
            return None
        output_type = self.config.output_class
        try:
            return reply.text if output_type is None else parse_output(output_type, reply.text)
        except ValidationError:
            return None

    def request(self, values: Mapping[str, Any]) -> Request:
        """Return what the model would be asked. Reads files, and sends nothing.

        Raises
        ------
        InputError
            As for `run`.
        """
        return self._request(self._as_prompt(self._prompt.fill(values)), values)

    def _request(self, prompt: Content, values: Mapping[str, Any]) -> Request:
        config, cached = self.config, self._cached_part
        return Request(
            prompt=prompt,
            max_tokens=config.max_tokens,
            system=self._system_text(values),
            temperature=config.temperature,
            stop_sequences=config.stop_sequences,
            output_schema=schema_of(config.output_class) if config.output_class else None,
            turns=self._turns,
            top_p=config.top_p,
            tools=tuple(tool.spec for tool in self.tools.values()),
            cache_tools=config.cache_prompt if cached == "tools" else None,
            cache_system=config.cache_prompt if cached == "system" else None,
            guardrail=config.guardrail,
            service_tier=config.service_tier,
            latency=config.latency,
            effort=config.effort,
            extra_fields=config.extra_fields,
        )

    async def _content(self, values: Mapping[str, Any]) -> Content:
        pieces = self._prompt.fill(values)
        if any(map(takes_time, pieces)):  # on a thread, so that the other steps go on
            return await function_pool().run(partial(self._as_prompt, pieces))
        return self._as_prompt(pieces)

    def _as_prompt(self, pieces: Sequence[Any]) -> Content:
        """Return the prompt of the pieces of its template, with the cache point that ends what is always the same."""
        if self._cached_part != "prompt" or self.config.cache_prompt is None:
            return as_content(pieces)
        leading = self._prompt.leading
        rest = as_content(pieces[len(leading) :])
        if isinstance(rest, str):  # Bedrock refuses a block of blanks
            rest = (rest,) if rest.strip() else ()
        return ("".join(leading), CachePoint(self.config.cache_prompt), *rest)

    @cached_property
    def _cached_part(self) -> Literal["", "tools", "system", "examples", "prompt"]:
        """Where the cache point goes that ends what all requests begin with: tools, system prompt, examples, prompt."""
        if self.config.cache_prompt is None:
            return ""
        if self._system is None or not self._system.names:
            if any(piece.strip() for piece in self._prompt.leading):
                return "prompt"
            if self.examples:
                return "examples"
            if self._system:
                return "system"
        return "tools" if self.tools else ""

    def _system_text(self, values: Mapping[str, Any]) -> str | None:
        pieces = self._system.fill(values) if self._system else ()
        if any(map(attached, pieces)):
            raise InputError(
                f"The system prompt of {self.config.name!r} is given an image or a document, which models take in the "
                "user's message only.",
                fix="Put its placeholder into the prompt_template.",
            )
        return "".join(map(as_text, pieces)) or None

    def __repr__(self) -> str:
        return f"SimpleAgent({self.config.name!r}, model={self.config.model_type or 'fast'})"


def _checked_example(agent: str, pair: Any) -> tuple[str, str]:
    texts = tuple(pair) if isinstance(pair, list | tuple) else ()
    if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DefinitionError(
            f"Agent {agent!r}: the example {pair!r} is no pair of texts.",
            fix='Give examples=[("what a user says", "what the model answers"), ...].',
        )
    return texts


class FunctionAgent:
    """A Python function as a step: its parameters bind by name, those with a default are optional.

    A sync function runs on a thread, so that it never blocks the other steps.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.parameters: Mapping[str, bool] = named_parameters(function)

    def check(self) -> None:
        """Do nothing: a function that has a signature can run."""

    async def run(self, values: Mapping[str, Any]) -> Any:
        """Call the function."""
        output = await function_pool().run(partial(copy_context().run, self.function, **values))
        if inspect.isawaitable(output):
            output = await output
        if isinstance(output, _UNFINISHED):
            raise DefinitionError(
                f"{self!r} returned a {type(output).__name__}, which no other step can use.", fix="Return its values."
            )
        return output

    def __repr__(self) -> str:
        return f"FunctionAgent({getattr(self.function, '__name__', self.function)})"


class CoroutineAgent(FunctionAgent):
    """An `async def` function as a step: it runs on the event loop."""

    def run(self, values: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
        """Return the function's own coroutine: one of ours around it would cost as much as the engine itself."""
        coroutine: Coroutine[Any, Any, Any] = self.function(**values)
        return coroutine


def as_agent(thing: Agent | Callable[..., Any]) -> Agent:
    """Return what a step runs.

    Raises
    ------
    DefinitionError
        It is neither an agent nor a function.
    """
    if isinstance(thing, Agent) and not isinstance(thing, type):
        return thing
    if callable(thing):
        return CoroutineAgent(thing) if inspect.iscoroutinefunction(thing) else FunctionAgent(thing)
    raise DefinitionError(
        f"{thing!r} cannot be a step.", fix="Give add_step a SimpleAgent, a Python function or an Agent of your own."
    )
