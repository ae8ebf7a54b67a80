"""An answer that arrives bit by bit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

from agentflow.core.errors import DefinitionError
from agentflow.core.events import StepScope, TextDelta
from agentflow.core.model import Reply
from agentflow.models import converse
from agentflow.models.call import Answered, Call, Send

DELTA_SECONDS = 0.05  # between the pieces of one answer that a run's readers are given


class ReplyStream:
    """An answer that arrives bit by bit: iterate it for the text; `reply` has the whole, once it is complete."""

    def __init__(self, call: Call, idle_seconds: float) -> None:
        self._call = call
        self._idle_seconds = idle_seconds
        self.reply: Reply | None = None
        self._read = False

    async def __aiter__(self) -> AsyncIterator[str]:
        if self._read:
            raise DefinitionError("This stream was read already.", fix="Call client.stream() again, or use its reply.")
        self._read = True
        loop = asyncio.get_running_loop()
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        call = self._call
        abandoned = False

        def take(text: str) -> bool:
            if text and not abandoned:
                call.shown = True
                loop.call_soon_threadsafe(texts.put_nowait, text)
            return not abandoned

        async def fill() -> Reply:
            try:
                return await call.run(streaming(call, self._idle_seconds, take))
            finally:
                texts.put_nowait(None)

        filling = asyncio.create_task(fill())
        try:
            while (text := await texts.get()) is not None:
                yield text
            self.reply = await filling
            if not call.shown and self.reply.text:  # answered before the run was stopped
                yield self.reply.text
        finally:
            abandoned = True
            filling.cancel()


def streaming(call: Call, idle_seconds: float, take: Callable[[str], bool] = lambda _text: True) -> Send:
    """Return what asks for an answer bit by bit; those who read the run along are given its text too.

    Parameters
    ----------
    idle_seconds : the longest that the stream may say nothing.
    take : is given each piece of text, empty ones too; False ends the reading. Called on a thread.
    """

    def send(client: Any, arguments: dict[str, Any]) -> Answered:
        sent = time.perf_counter()
        first_ms = None
        response = client.converse_stream(**converse.stream_arguments(arguments, call.request))
        reader = converse.StreamReader(converse.is_answered_by_tool(arguments))
        deltas = _Deltas(call.scope) if call.scope and call.scope.run.wants_deltas else None
        with closing(response["stream"]) as events:
            _limit_idle_time(events, idle_seconds)
            for event in events:
                text = reader.take(event)
                if text and first_ms is None:
                    first_ms = (time.perf_counter() - sent) * 1000
                if not take(text):
                    break
                if deltas:
                    deltas.add(text)
        if deltas:
            deltas.flush()
        if reader.complete is None:
            raise IncompleteStream("the stream ended before the answer was complete")
        return Answered(reader.complete, response["ResponseMetadata"], first_ms)

    return send


class _Deltas:
    """Gives the text of one answer to those who read the run along, in pieces that come no faster than they can use."""

    def __init__(self, scope: StepScope) -> None:
        self._scope = scope
        self._text = ""
        self._next = 0.0

    def add(self, text: str) -> None:
        """Take a piece in; it is given on at once, or with the ones that follow."""
        self._text += text
        if self._text and time.perf_counter() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Give on what was held back."""
        if self._text:
            self._scope.run.show(TextDelta(self._scope.step_id, self._text, self._scope.item))
        self._text, self._next = "", time.perf_counter() + DELTA_SECONDS


def _limit_idle_time(events: Any, seconds: float) -> None:
    """Have reading fail after so long without a byte.

    The client's own limit is that of whole answers, which send nothing until they are complete. botocore has no public
    way to the socket of a stream of events; where this one is closed, the client's limit holds.
    """
    from botocore.compat import set_socket_timeout

    try:
        set_socket_timeout(events._raw_stream, seconds)
    except AttributeError:
        return


class IncompleteStream(Exception):  # noqa: N818 - named like botocore's own, whose table of meanings it joins
    """A stream ended without its stop reason or its usage."""
