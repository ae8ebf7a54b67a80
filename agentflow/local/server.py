"""The HTTP server: Bedrock's paths, headers and errors around a model.

Each request passes the same stages: it is admitted (a stranger, a wrong body and an unknown model are not), meets the
faults of the script, reserves its quota, is answered, and is billed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from hashlib import blake2b
from inspect import isawaitable
from random import getrandbits
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from agentflow.local import anthropic, converse, eventstream
from agentflow.local.answers import Answer, Timing, answer, collect
from agentflow.local.billing import Bill, Call
from agentflow.local.chat import Begin, Block, ChatRequest, Finish, Items, LocalModel, Piece
from agentflow.local.errors import BrokenOffError, Refusal, invalid
from agentflow.local.facts import MODEL_HEADER, ServedModel, ServedModels, bare_name
from agentflow.local.fault_script import wrong_field
from agentflow.local.incoming import LARGE_BODY_BYTES, parsed, signed_region
from agentflow.local.job_files import JobFiles
from agentflow.local.job_runner import JobRunner
from agentflow.local.jobs import Jobs
from agentflow.local.quotas import Reservation
from agentflow.local.region import Region, Settings
from agentflow.local.routes import Incoming, Work, routes
from agentflow.local.scripted import ScriptedModel

BODY_LIMIT_BYTES = 25_000_000
LARGE_BODIES_AT_ONCE = 8  # the others wait, so that no crowd of clients fills the memory
LARGE_BODY_SECONDS = 10.0  # for one to arrive in, so that no client keeps the others waiting

_OWN_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_JSON_TYPE = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Frames(Protocol):
    """The bytes of one streamed answer, in a wire format."""

    def opening(self, begin: Begin, /) -> bytes:
        """Return the frames before the first block."""

    def block(self, block: Block, /) -> bytes:
        """Return the frames between two blocks, which may be none."""

    def delta(self, piece: Piece, /) -> bytes:
        """Return the frame of some text."""

    def closing(self, begin: Begin, finish: Finish, timing: Timing, /) -> bytes:
        """Return the frames after the last text."""


class WireFormat(Protocol):
    """What the modules `converse` and `anthropic` have in common."""

    def parse(self, body: object, model: ServedModel, /) -> ChatRequest:
        """Return the request in a body."""

    def response(self, answer: Answer, timing: Timing, model: ServedModel, /) -> Mapping[str, Any]:
        """Return the body of a whole answer."""

    def headers(self, answer: Answer, timing: Timing, /) -> Mapping[str, str]:
        """Return the headers of a whole answer."""

    def Frames(self, model: ServedModel, /) -> Frames:  # noqa: N802 - a class
        """Return the frames of a streamed answer."""


class Operation(NamedTuple):
    """One of Bedrock's operations that answer."""

    name: str
    wire: WireFormat
    streamed: bool


#: The operation of each path.
OPERATIONS: Mapping[str, Operation] = {
    "converse": Operation("Converse", converse, streamed=False),
    "converse-stream": Operation("ConverseStream", converse, streamed=True),
    "invoke": Operation("InvokeModel", anthropic, streamed=False),
    "invoke-with-response-stream": Operation("InvokeModelWithResponseStream", anthropic, streamed=True),
}


class Endpoint:
    """Bedrock's operations in one region over one model, and the endpoint's own `/_stats`, `/_config` and `/_reset`."""

    def __init__(self, model: LocalModel, served: ServedModels, region: Region, files: JobFiles) -> None:
        self._model = model
        self._served = served
        self._region = region
        self._label = quote(model.label, safe=" ()+,/:;=@")
        self._jobs = Jobs(JobRunner(model, served, region, files), served)
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self._refusals], client_max_size=BODY_LIMIT_BYTES)
        app.on_response_prepare.append(self._common_headers)
        app.router.add_post(f"/model/{{model}}/{{operation:{'|'.join(OPERATIONS)}}}", self._operation)
        for method, path, work in routes(self._model, self._served, self._region, self._jobs):
            app.router.add_route(method, path, self._as_handler(work))
        app.router.add_get("/_stats", self._show_stats)
        app.router.add_post("/_config", self._configure)
        app.router.add_post("/_reset", self._reset)
        app.on_shutdown.append(self._forget_jobs)
        return app

    def _as_handler(self, work: Work) -> Handler:
        """Return the handler of an operation that gives no answer of the model."""

        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            incoming = Incoming(
                {**request.query, **request.match_info},
                await parsed(raw) if raw else None,
                signed_region(request.headers, self._region.name),
                request.headers.get("X-Amz-Target", ""),
            )
            done = work(incoming)
            return _json(await done if isawaitable(done) else done)

        return handle

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        operation = OPERATIONS[request.match_info["operation"]]
        with self._region.stats.request():
            if request.content_length is not None and request.content_length <= LARGE_BODY_BYTES:
                return await self._answer(request, operation)
            async with self._large_bodies:
                await _arrival(request)
                return await self._answer(request, operation)

    async def _answer(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        arrived = time.monotonic()
        region = self._region
        stats, cache = region.stats, region.cache  # those of now: a reset during the answer puts others in their place
        call = await self._admit(request, operation)
        plan = region.faults.plan(call, streamed=operation.streamed)
        reservation = Reservation(0)
        if region.quotas.limit(call.called_as):
            prompt_tokens = await self._model.count_tokens(call.chat)
            reservation = region.quotas.reserve(call.called_as, prompt_tokens + call.max_tokens)
        with Bill(call, stats, cache, reservation) as bill:
            items = plan.apply(bill.watch(answer(self._model, call.chat)))
            if operation.streamed:
                return await self._stream(request, operation.wire, bill, items, arrived)
            whole = await collect(items)
            timing = Timing(_ms_since(arrived), _ms_since(arrived))
            bill.answered()
            headers = operation.wire.headers(whole, timing)
            return _json(operation.wire.response(whole, timing, call.model), headers=headers)

    async def _admit(self, request: web.Request, operation: Operation) -> Call:
        """Return the request, if it is one that Bedrock would answer."""
        model = self._served.find(request.match_info["model"])
        raw = await request.read()
        chat = operation.wire.parse(await parsed(raw), model)
        model.check_max_tokens(chat.max_tokens)
        if operation.streamed:
            chat = replace(chat, streamed=True)
        called_as = bare_name(request.match_info["model"])
        metadata = request.headers.get("X-Amzn-Bedrock-Request-Metadata", "")  # Converse has it in its body
        identity = blake2b(f"{called_as} {metadata} ".encode() + raw, digest_size=16).digest()
        return Call(operation.name, called_as, model, chat, identity)

    async def _stream(
        self, request: web.Request, wire: WireFormat, bill: Bill, items: Items, arrived: float
    ) -> web.StreamResponse:
        async with aclosing(items):
            begin = cast("Begin", await anext(items))  # what is refused is refused here, before the status line
            first_byte_ms = _ms_since(arrived)
            frames = wire.Frames(bill.call.model)
            response = web.StreamResponse(
                headers={"Content-Type": eventstream.CONTENT_TYPE, "X-Amzn-Bedrock-Content-Type": _JSON_TYPE}
            )
            await response.prepare(request)
            try:
                await response.write(frames.opening(begin))
                async for item in items:
                    if isinstance(item, Piece):
                        await response.write(frames.delta(item))
                    elif isinstance(item, Block):
                        if between := frames.block(item):
                            await response.write(between)
                    elif isinstance(item, Finish):
                        bill.answered()
                        timing = Timing(first_byte_ms, _ms_since(arrived))
                        await response.write(frames.closing(begin, item, timing))
            except ConnectionResetError:  # the client hung up
                bill.abandon()
            except BrokenOffError as broken:
                if broken.how == "bad_checksum":
                    await _write_last(response, eventstream.damaged(frames.delta(Piece("?", 0))))
                elif broken.how == "reset":
                    _reset_connection(request)
                elif broken.how == "cut_stream" and request.transport is not None:
                    request.transport.abort()  # what was sent before arrives
            except Exception as error:  # noqa: BLE001 - the status line is sent: only an event can tell of an error now
                bill.cancel()
                bill.stats.refused += 1
                await _write_last(response, self._broken_stream(error))
        return response

    def _broken_stream(self, error: Exception) -> bytes:
        refusal = error if isinstance(error, Refusal) else _internal(error)
        self._region.stats.errors[refusal.code] += 1
        return eventstream.exception(refusal.code[0].lower() + refusal.code[1:], {"message": refusal.message})

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _refuse_strangers(request)
            if not request.path.startswith("/_"):
                self._region.faults.check_outage()
            return await handler(request)
        except BrokenOffError:
            _reset_connection(request)
            return web.Response()  # which nobody gets
        except Refusal as error:
            refusal = error
        except web.HTTPRequestEntityTooLarge:
            constraint = f"Member must have length less than or equal to {BODY_LIMIT_BYTES}"
            refusal = invalid(
                f"1 validation error detected: Value at 'body' failed to satisfy constraint: {constraint}"
            )
        except RecursionError:  # a schema may be as deep as JSON can be
            refusal = invalid("The request is nested too deeply.")
        except web.HTTPException:  # no such path, or another method
            refusal = Refusal("UnknownOperationException", "Unknown operation")
        except Exception as error:  # noqa: BLE001 - whatever breaks one request, the server stays up
            refusal = _internal(error)
        self._region.stats.errors[refusal.code] += 1
        error_type = f"{refusal.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        told = {"message": refusal.message}
        if "X-Amz-Target" in request.headers:  # the protocol of Service Quotas has the type in the body
            told["__type"] = refusal.code
        return _json(told, status=refusal.status, headers={"x-amzn-ErrorType": error_type})

    async def _common_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        # No secret: a source of chance that does not ask the system each time.
        response.headers["x-amzn-RequestId"] = str(UUID(int=getrandbits(128), version=4))
        response.headers[MODEL_HEADER] = self._label

    async def _show_stats(self, _request: web.Request) -> web.Response:
        region = self._region
        return _json({"region": region.name, "clock_seconds": region.clock.now(), **region.stats.shown()})

    async def _configure(self, request: web.Request) -> web.Response:
        body = await parsed(await request.read())
        try:
            settings = Settings.model_validate(body)
        except ValidationError as error:
            raise invalid(f"These settings cannot be used: {wrong_field(error, body)}") from error
        if settings.script is not None:
            if not isinstance(self._model, ScriptedModel):
                label = self._model.label
                raise invalid(f"Only the scripted model takes a script; this endpoint answers with {label}.")
            self._model.follow(settings.script)
        self._region.follow(settings)
        return _json(settings.model_dump(exclude_unset=True))

    async def _forget_jobs(self, _app: web.Application) -> None:
        self._jobs.forget()

    async def _reset(self, _request: web.Request) -> web.Response:
        self._jobs.forget()
        self._region.reset()
        return await self._show_stats(_request)


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


async def _write_last(response: web.StreamResponse, frames: bytes) -> None:
    with suppress(ConnectionResetError):  # a client that has hung up meanwhile needs no more
        await response.write(frames)


def _reset_connection(request: web.Request) -> None:
    """Break the connection so that the client sees a reset, not an orderly end."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


async def _arrival(request: web.Request) -> None:
    """Wait for the body, which the request then keeps."""
    try:
        async with asyncio.timeout(LARGE_BODY_SECONDS):
            await request.read()
    except TimeoutError as error:
        message = f"The body of the request did not arrive within {LARGE_BODY_SECONDS:g} seconds."
        raise Refusal("SerializationException", message) from error


def _internal(error: Exception) -> Refusal:
    traceback.print_exception(error)
    message = "The system encountered an unexpected error during processing. Try your request again."
    return Refusal("InternalServerException", message)


def _ms_since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
