"""A Bedrock that gives the answers that a test wrote down, over HTTP, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from agentflow.local import eventstream

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}


def answer(*blocks: Mapping[str, Any] | str, stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    """A Converse response of these blocks; a text is a text block."""
    content = [{"text": block} if isinstance(block, str) else block for block in blocks]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop,
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
        **more,
    }


def tool_use(name: str, use_id: str = "use-1", **arguments: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": use_id, "name": name, "input": arguments}}


def asks_for(*uses: Mapping[str, Any]) -> dict[str, Any]:
    return answer(*uses, stop="tool_use")


def streamed(*blocks: Sequence[tuple[str, Mapping[str, Any]]], stop: str = "end_turn") -> dict[str, Any]:
    """A response whose stream has these blocks: for each its `start` and its `delta`s, in order."""
    return {**answer(stop=stop), "streamed": blocks}


def events(response: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The events of a stream that says the same as a response, each text in two pieces."""
    found: list[tuple[str, Mapping[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(response["output"]["message"]["content"]):
        if use := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            found.append(("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            text = json.dumps(use["input"])
            deltas = [{"toolUse": {"input": text[:4]}}, {"toolUse": {"input": text[4:]}}]
        elif reasoning := block.get("reasoningContent"):
            deltas = [{"reasoningContent": {name: value}} for name, value in reasoning["reasoningText"].items()]
        else:
            deltas = [{"text": block["text"][:4]}, {"text": block["text"][4:]}]
        found += [("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
        found.append(("contentBlockStop", {"contentBlockIndex": index}))
    names = {"start": "contentBlockStart", "delta": "contentBlockDelta"}
    for index, parts in enumerate(response.get("streamed", ())):
        found += [(names[kind], {"contentBlockIndex": index, kind: part}) for kind, part in parts]
        found.append(("contentBlockStop", {"contentBlockIndex": index}))
    found.append(("messageStop", {"stopReason": response["stopReason"]}))
    found.append(("metadata", {"usage": response["usage"], "metrics": response["metrics"]}))
    return found


class Dictated:
    """The server. `answers` are given in turn, and the last one again; `requests` are the bodies that came.

    Attributes
    ----------
    pauses : seconds before an event of a stream, by its number.
    answer_seconds : before a whole answer.
    sent_at : when each event was sent, by `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.answers: list[Mapping[str, Any]] = []
        self.requests: list[Any] = []
        self.paths: list[str] = []
        self.pauses: dict[int, float] = {}
        self.sent_at: list[float] = []
        self.answer_seconds = 0.0

    def says(self, *answers: Mapping[str, Any]) -> None:
        self.answers = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(unquote(request.raw_path))
        self.requests.append(await request.json())
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if "status" in given:
            headers = {"x-amzn-ErrorType": given["code"]}
            return web.json_response({"message": given["message"]}, status=given["status"], headers=headers)
        if not request.path.endswith("converse-stream"):
            await asyncio.sleep(self.answer_seconds)
            return web.json_response(given)
        response = web.StreamResponse(headers={"Content-Type": eventstream.CONTENT_TYPE})
        await response.prepare(request)
        for number, (kind, body) in enumerate(events(given)):
            await asyncio.sleep(self.pauses.get(number, 0))
            self.sent_at.append(time.perf_counter())
            await response.write(eventstream.event(kind, body))
        return response

    async def serve(self, started: threading.Event, ended: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await ended.wait()
        await runner.cleanup()


@contextmanager
def dictated_server() -> Iterator[Dictated]:
    """Run a server on a thread until the end of the block."""
    bedrock, started = Dictated(), threading.Event()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[bedrock.serve(started, ended)])
    thread.start()
    started.wait()
    try:
        yield bedrock
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def results_of(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The results of tools in the last message of a request."""
    return [block["toolResult"] for block in request["messages"][-1]["content"] if "toolResult" in block]
