"""The HTTP server: Bedrock's paths, headers and errors around a model."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web
from pydantic import ValidationError

from agentflow.local import anthropic, converse, eventstream
from agentflow.local.answers import Answer, Timing, answer, collect
from agentflow.local.chat import Begin, ChatRequest, Finish, Items, LocalModel, Piece
from agentflow.local.errors import Refusal, invalid
from agentflow.local.facts import MODEL_HEADER, ServedModel, ServedModels
from agentflow.local.scripted import Script, ScriptedModel

BODY_LIMIT_BYTES = 25_000_000

_OWN_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_JSON_TYPE = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WireFormat(Protocol):
    """What the modules `converse` and `anthropic` have in common."""

    def parse(self, body: object, model: ServedModel, /) -> ChatRequest:
        """Return the request in a body."""

    def response(self, answer: Answer, timing: Timing, model: ServedModel, /) -> Mapping[str, Any]:
        """Return the body of a whole answer."""

    def headers(self, answer: Answer, timing: Timing, /) -> Mapping[str, str]:
        """Return the headers of a whole answer."""

    def opening(self, begin: Begin, model: ServedModel, /) -> bytes:
        """Return the frames before the first text."""

    def delta(self, piece: Piece, begin: Begin, /) -> bytes:
        """Return the frame of some text."""

    def closing(self, begin: Begin, finish: Finish, timing: Timing, /) -> bytes:
        """Return the frames after the last text."""


#: Path of each operation: its wire format, and whether it streams.
OPERATIONS: Mapping[str, tuple[WireFormat, bool]] = {
    "converse": (converse, False),
    "converse-stream": (converse, True),
    "invoke": (anthropic, False),
    "invoke-with-response-stream": (anthropic, True),
}


@dataclass(slots=True)
class Stats:
    """What `GET /_stats` tells: counted since the start."""

    model: str
    requests: int = 0  # to the four operations
    answers: int = 0  # complete ones
    errors: Counter[str] = field(default_factory=Counter)  # by code, of any request
    billed: Counter[str] = field(default_factory=Counter)  # tokens of complete answers
    by_model: Counter[str] = field(default_factory=Counter)  # complete answers
    in_flight: int = 0
    peak_in_flight: int = 0

    def answered(self, model_id: str, begin: Begin, finish: Finish) -> None:
        """Count a complete answer."""
        self.answers += 1
        self.by_model[model_id] += 1
        self.billed.update(input_tokens=begin.input_tokens, output_tokens=finish.output_tokens)


class Endpoint:
    """The four operations over one model, and the endpoint's own `/_stats` and `/_config`."""

    def __init__(self, model: LocalModel, served: ServedModels) -> None:
        self.stats = Stats(model.label, billed=Counter(input_tokens=0, output_tokens=0))
        self._model = model
        self._served = served

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self._refusals], client_max_size=BODY_LIMIT_BYTES)
        app.on_response_prepare.append(self._common_headers)
        app.router.add_post("/model/{model}/{operation}", self._operation)
        app.router.add_get("/_stats", self._show_stats)
        app.router.add_post("/_config", self._configure)
        return app

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["operation"] not in OPERATIONS:
            raise Refusal("UnknownOperationException", "Unknown operation")
        wire, streamed = OPERATIONS[request.match_info["operation"]]
        arrived = time.monotonic()
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        try:
            model = self._served.find(request.match_info["model"])
            chat = wire.parse(await _body(request), model)
            if chat.max_tokens and chat.max_tokens > model.max_output_tokens:
                limit = model.max_output_tokens
                raise invalid(
                    f"The maximum tokens you requested exceed the model limit of {limit}. Try again with a maximum "
                    f"tokens value lower than {limit}."
                )
            items = _within_context(answer(self._model, chat), model)
            if streamed:
                return await self._stream(request, wire, model, items, arrived)
            whole = await collect(items)
            timing = Timing(_ms_since(arrived), _ms_since(arrived))
            stats.answered(model.model_id, whole.begin, whole.finish)
            return _json(wire.response(whole, timing, model), headers=wire.headers(whole, timing))
        finally:
            stats.in_flight -= 1

    async def _stream(
        self, request: web.Request, wire: WireFormat, model: ServedModel, items: Items, arrived: float
    ) -> web.StreamResponse:
        async with aclosing(items):
            begin = cast("Begin", await anext(items))  # what is refused is refused here, before the status line
            first_byte_ms = _ms_since(arrived)
            response = web.StreamResponse(
                headers={"Content-Type": eventstream.CONTENT_TYPE, "X-Amzn-Bedrock-Content-Type": _JSON_TYPE}
            )
            await response.prepare(request)
            try:
                await response.write(wire.opening(begin, model))
                async for item in items:
                    if isinstance(item, Piece):
                        await response.write(wire.delta(item, begin))
                    elif isinstance(item, Finish):
                        self.stats.answered(model.model_id, begin, item)
                        timing = Timing(first_byte_ms, _ms_since(arrived))
                        await response.write(wire.closing(begin, item, timing))
            except ConnectionResetError:  # the client hung up
                return response
            except Exception as error:  # noqa: BLE001 - the status line is sent: only an event can tell of an error now
                await response.write(self._broken_stream(error))
        return response

    def _broken_stream(self, error: Exception) -> bytes:
        refusal = error if isinstance(error, Refusal) else _internal(error)
        self.stats.errors[refusal.code] += 1
        return eventstream.exception(refusal.code[0].lower() + refusal.code[1:], {"message": refusal.message})

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _refuse_strangers(request)
            return await handler(request)
        except Refusal as error:
            refusal = error
        except web.HTTPRequestEntityTooLarge:
            constraint = f"Member must have length less than or equal to {BODY_LIMIT_BYTES}"
            refusal = invalid(
                f"1 validation error detected: Value at 'body' failed to satisfy constraint: {constraint}"
            )
        except web.HTTPException:  # no such path, or another method
            refusal = Refusal("UnknownOperationException", "Unknown operation")
        except Exception as error:  # noqa: BLE001 - whatever breaks one request, the server stays up
            refusal = _internal(error)
        self.stats.errors[refusal.code] += 1
        error_type = f"{refusal.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        return _json({"message": refusal.message}, status=refusal.status, headers={"x-amzn-ErrorType": error_type})

    async def _common_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-amzn-RequestId"] = str(uuid4())
        response.headers[MODEL_HEADER] = quote(self._model.label, safe=" ()+,/:;=@")

    async def _show_stats(self, _request: web.Request) -> web.Response:
        return _json({name: getattr(self.stats, name) for name in Stats.__slots__})

    async def _configure(self, request: web.Request) -> web.Response:
        if not isinstance(self._model, ScriptedModel):
            raise invalid(f"Only the scripted model takes a script; this endpoint answers with {self._model.label}.")
        try:
            script = Script.model_validate(await _body(request))
        except ValidationError as error:
            raise invalid(f"This script cannot be used: {error}") from error
        self._model.follow(script)
        return _json(script.model_dump())


async def _within_context(items: Items, model: ServedModel) -> Items:
    """Pass an answer on, if its prompt fits the model that the client has named."""
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Begin) and item.input_tokens > model.context_tokens:
                tokens, limit = item.input_tokens, model.context_tokens
                raise invalid(
                    f"The model returned the following errors: prompt is too long: {tokens} tokens > {limit} maximum"
                )
            yield item


def _json(value: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    # As bytes: aiohttp would add a charset to the content type of text, which Bedrock does not send.
    return web.Response(body=json.dumps(value).encode(), status=status, headers=headers, content_type=_JSON_TYPE)


def _refuse_strangers(request: web.Request) -> None:
    """Refuse what a web page could send: its browser names the page's own host, or an origin."""
    host = request.headers.get("Host", "")
    name = host[: host.rfind(":")] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in _OWN_HOSTS or "Origin" in request.headers:
        message = "This endpoint answers programs on this machine only, at 127.0.0.1 or localhost, and no web page."
        raise Refusal("AccessDeniedException", message)


async def _body(request: web.Request) -> object:
    raw = await request.read()
    try:
        # A large body is parsed aside, so that the other clients do not wait for it.
        return await asyncio.to_thread(json.loads, raw) if len(raw) > 1_000_000 else json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal("SerializationException", f"The body of the request is not valid JSON: {error}") from error


def _internal(error: Exception) -> Refusal:
    traceback.print_exception(error)
    message = "The system encountered an unexpected error during processing. Try your request again."
    return Refusal("InternalServerException", message)


def _ms_since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
