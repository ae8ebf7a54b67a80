"""An answer that arrives bit by bit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

from agentflow.core.errors import DefinitionError
from agentflow.core.model import Reply
from agentflow.models import converse
from agentflow.models.call import Answered, Call


class ReplyStream:
    """An answer that arrives bit by bit: iterate it for the text; `reply` has the whole, once it is complete."""

    def __init__(self, call: Call) -> None:
        self._call = call
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

        def send(client: Any, arguments: dict[str, Any]) -> Answered:
            sent = time.perf_counter()
            first_ms = None
            response = client.converse_stream(**arguments)
            reader = converse.StreamReader()
            with closing(response["stream"]) as events:
                for event in events:
                    if abandoned:
                        break
                    if text := reader.take(event):
                        if first_ms is None:
                            first_ms = (time.perf_counter() - sent) * 1000
                            call.shown = True
                        loop.call_soon_threadsafe(texts.put_nowait, text)
            if reader.complete is None:
                raise IncompleteStream("the stream ended before the answer was complete")
            return Answered(reader.complete, response["ResponseMetadata"], first_ms)

        async def fill() -> Reply:
            try:
                return await call.run(send)
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


class IncompleteStream(Exception):  # noqa: N818 - named like botocore's own, whose table of meanings it joins
    """A stream ended without its stop reason or its usage."""
