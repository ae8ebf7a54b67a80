"""What a prompt takes until it has its output: the rounds of tools, and asking again where an answer does not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from agentflow.core.config import AgentConfig
from agentflow.core.content import Block, CachePoint, Content, ToolResult
from agentflow.core.errors import OutputFormatError, ToolRoundsError
from agentflow.core.events import report_rejected
from agentflow.core.model import ANSWER_TOOL, Model, Reply, Request, ToolCall, ToolUse
from agentflow.core.output_types import parse_output
from agentflow.core.tools import Tool, called, problems_of

_MALFORMED = "malformed_tool_use"  # the stop reason of an answer whose calls are not what the model meant

# What happened to an answer that is not all that the model had to say, by its stop reason, and what to do next. It is
# no slip of the form: asking again brings the same, and a tool that it asks for may have been meant otherwise.
_ENDED: Mapping[str, tuple[str, str]] = {
    "max_tokens": ("was cut off at max_tokens={max_tokens}", "Raise max_tokens."),
    "model_context_window_exceeded": (
        "was cut off, since the model's context is full (model_context_window_exceeded)",
        "Shorten the prompt or its inputs, or use a model with a larger context.",
    ),
    "guardrail_intervened": (
        "was stopped by the guardrail (guardrail_intervened)",
        "Change the prompt, its inputs or the guardrail, which says why with Guardrail(trace='enabled').",
    ),
    "content_filtered": (
        "was stopped by Bedrock's content filter (content_filtered)",
        "Change the prompt or its inputs, or use another model.",
    ),
    "refusal": ("was refused by the model (refusal)", "Change the prompt or its inputs, or use another model."),
}


class Conversation:
    """The talk of one agent with a model about one prompt.

    Parameters
    ----------
    tools : by name.
    """

    def __init__(self, client: Model, config: AgentConfig, tools: Mapping[str, Tool]) -> None:
        self._client = client
        self._config = config
        self._tools = tools
        self._tool_rounds = 0
        self._retries = 0

    async def run(self, request: Request) -> Any:
        """Ask, call the tools that the model wants, and return the output.

        Raises
        ------
        OutputFormatError
            The answer does not fit the `output_type`, also after the retries, or it was cut off.
        ToolRoundsError
            The model asks for tools in more rounds than are allowed.
        ModelCallError
            A call failed.
        """
        while True:
            reply = await self._client.answer(self._config.model_type, request)
            uses = [use for use in reply.tool_uses if use.name != ANSWER_TOOL]
            if uses:
                request = await self._after_tools(request, reply, uses)
                continue
            output_type = self._config.output_class
            if output_type is None:
                return reply.text
            try:
                return parse_output(output_type, reply.text)
            except ValidationError as error:
                report_rejected(reply)
                request = self._after_rejection(request, reply, output_type, error)

    async def _after_tools(self, request: Request, reply: Reply, uses: list[ToolUse]) -> Request:
        """Call the tools of one answer, all at once, and return the request with their results."""
        if reply.stop_reason in _ENDED:
            report_rejected(reply)
            what, fix = _ENDED[reply.stop_reason]
            how = what.format(max_tokens=request.max_tokens)
            raise OutputFormatError(f"The call of the tool {uses[-1].name!r} {how}.", fix=fix, text=reply.text)
        self._tool_rounds += 1
        if self._tool_rounds > self._config.max_tool_rounds:
            raise ToolRoundsError(
                f"{self._config.name!r} asked for tools in more than {self._config.max_tool_rounds} answers in a row, "
                f"at last for {uses[-1].name!r}.",
                fix="Raise max_tool_rounds of its AgentConfig, or say in the prompt when it is to stop.",
            )
        if reply.stop_reason == _MALFORMED:
            uses = [replace(use, arguments=_as_text(use.arguments)) for use in uses]
        calls = await _all_called(self._tools, uses)
        answers = [ToolResult(use.tool_use_id, "Not taken: other tools were asked for beside it.", is_error=True)
                   for use in reply.tool_uses if use.name == ANSWER_TOOL]  # fmt: skip
        results = [ToolResult(call.tool_use_id, call.output, call.is_error) for call in calls]
        kept: list[Block] = [CachePoint(self._config.cache_prompt)] if self._config.cache_prompt else []
        return _without_last_point(request).answered(reply.content, (*results, *answers, *kept))

    def _after_rejection(
        self, request: Request, reply: Reply, output_type: type[Any], error: ValidationError
    ) -> Request:
        """Return the request that asks again, with what was wrong."""
        name, problems = output_type.__name__, problems_of(error)
        if reply.stop_reason in _ENDED:
            how, fix = _ENDED[reply.stop_reason]
            what = f"The answer {how.format(max_tokens=request.max_tokens)}, so it is no {name}"
        else:
            what, fix = f"The answer is no {name}: {problems}", "Say in the prompt what is wanted there."
        if reply.stop_reason in _ENDED or self._retries >= self._config.output_retries:
            raise OutputFormatError(f"{what} (the answer: {reply.text[:200]!r}).", fix=fix, text=reply.text) from error
        self._retries += 1
        again = f"That answer does not fit: {problems}. Give the whole answer again, as it was asked for."
        results = [ToolResult(use.tool_use_id, again, is_error=True) for use in reply.tool_uses]
        if not results and not reply.text.strip():  # Bedrock takes no empty message
            return replace(request, prompt=(*_blocks(request.prompt), again))
        return request.answered(reply.content, tuple(results) or again)


async def _all_called(tools: Mapping[str, Tool], uses: list[ToolUse]) -> list[ToolCall]:
    """Call tools at the same time; where one ends the run, the others are cancelled."""
    calls = [asyncio.create_task(called(tools, use)) for use in uses]
    try:
        return await asyncio.gather(*calls)
    finally:
        for call in calls:
            call.cancel()


def _as_text(arguments: Mapping[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _blocks(content: Content) -> tuple[Block, ...]:
    return (content,) if isinstance(content, str) else content


def _without_last_point(request: Request) -> Request:
    """Return a request whose last results have no cache point: a request takes four, and the next results get one."""
    content = request.prompt
    if isinstance(content, tuple) and isinstance(content[0], ToolResult) and isinstance(content[-1], CachePoint):
        return replace(request, prompt=content[:-1])
    return request
