"""A small language model in this process, by llama.cpp (package `xllamacpp`)."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from agentflow.local.chat import Begin, ChatRequest, Finish, Items, Piece, StopReason
from agentflow.local.errors import TOO_LONG, LocalEndpointError, Refusal, invalid, missing_package
from agentflow.local.tool_calls import as_blocks, bound_schema, grammar, told_of_tools

# Figures to tune, in one place.
SLOTS = 4  # answers computed at once; the others queue
CONTEXT_TOKENS = 16_384  # shared by the slots; one prompt gets what the model was trained for, 8,192 for SmolLM2
THREADS = max(1, min(4, os.cpu_count() or 1))
# OpenMP's threads wait for each other by spinning: where another program takes one of their CPUs, all of them crawl
# (measured on 2 CPUs with one busy: over a minute for an answer that takes 3 s when they sleep instead).
WAIT_POLICY = "passive"
TEMPERATURE = 0.1  # this and the next two: where the request does not say
TOP_P = 0.9
MAX_TOKENS = 1024
REPEAT_PENALTY = 1.0

NOTICE_BYTES = 300_000_000  # the load of a larger file takes seconds, and is told; the small model's takes one
_CLOSE_SECONDS = 0.5
_MAGIC = b"GGUF"
_UNAVAILABLE = "Bedrock is unable to process your request."
_SEEDS = 2**32 - 1  # llama.cpp takes 32 bits, and all of them set means any seed

Chunk = Mapping[str, Any]


class LlamaModel:
    """A GGUF file, loaded.

    Loading replaces the process's handlers of SIGINT and SIGTERM (llama.cpp does, in C): set yours afterwards.
    """

    def __init__(self, path: Path, *, label: str | None = None) -> None:
        self.label = label or path.stem
        # The library opens an HTTP server of its own, with no way to turn it off. As a socket in a folder that only
        # this user can enter, behind a key that nobody knows, no web page and no other user gets to it.
        self._folder = Path(tempfile.mkdtemp(prefix="agentflow-"))
        if path.is_file() and path.stat().st_size > NOTICE_BYTES:
            sys.stderr.write(f"Loading the model {self.label} ...\n")
        try:
            self._key = secrets.token_urlsafe()
            self._server = _load(path, self._folder / "llama.sock", self._key)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._slots = ThreadPoolExecutor(SLOTS, thread_name_prefix="llama")
        self._closing = threading.Event()
        self._jobs: set[Any] = set()

    async def count_tokens(self, request: ChatRequest) -> int:
        """Return the tokens of a prompt as the model reads it."""
        # The library's binding has no call that only counts, its own HTTP server has.
        return await asyncio.to_thread(self._counted, {"messages": _messages(request)})

    def answer(self, request: ChatRequest) -> Items:
        """Answer with the model's own words and token counts; wait for a free slot first."""
        return as_blocks(self._written(request), request)

    async def _written(self, request: ChatRequest) -> Items:
        """Return what the model writes, with no blocks yet."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        hung_up = threading.Event()

        def on_chunk(chunk: Chunk) -> bool:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return hung_up.is_set() or self._closing.is_set()  # True ends the model's work

        job = self._slots.submit(self._generate, _chat_body(request), on_chunk, hung_up)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        job.add_done_callback(lambda _: _tell_end(loop, chunks))
        item = None
        try:
            async for item in _items(chunks, request.max_tokens or MAX_TOKENS):
                yield item
            await asyncio.wrap_future(job)  # raises what the thread raised
            if not isinstance(item, Finish):
                raise Refusal("ServiceUnavailableException", _UNAVAILABLE)
        finally:
            hung_up.set()

    def close(self) -> bool:
        """End the answers in work; return whether all of them ended in time.

        A thread that reads a long prompt cannot be interrupted.
        """
        self._closing.set()
        self._slots.shutdown(wait=False, cancel_futures=True)
        _, busy = wait(list(self._jobs), timeout=_CLOSE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        return not busy

    def _counted(self, body: Mapping[str, Any]) -> int:
        connection = _OwnServer(self._server.listening_address)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/chat/completions/input_tokens", json.dumps(body), headers)
            reply = json.load(connection.getresponse())
        finally:
            connection.close()
        if "error" in reply:
            raise _refusal(reply["error"])
        tokens: int = reply["input_tokens"]
        return tokens

    def _generate(self, body: Mapping[str, Any], on_chunk: Callable[[Chunk], bool], hung_up: threading.Event) -> None:
        if hung_up.is_set() or self._closing.is_set():
            return
        try:
            self._server.handle_chat_completions(body, on_chunk)
        except (ValueError, RuntimeError) as error:  # a schema from which no grammar can be made, half a surrogate pair
            raise invalid(f"The model returned the following errors: {error}") from error


class _OwnServer(HTTPConnection):
    """A connection to the library's own server, by its address: ``unix:///PATH`` or ``http://HOST:PORT``."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix://") if address.startswith("unix://") else None
        super().__init__("localhost" if self._path else address.removeprefix("http://"))

    def connect(self) -> None:
        """Connect to the socket in the file system, or as usual."""
        if self._path is None:
            super().connect()
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(self._path)


def _load(path: Path, place: Path, key: str) -> Any:
    """Start llama.cpp on a file.

    Raises
    ------
    LocalEndpointError
        `xllamacpp` is not installed, or the file is missing or no model.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", WAIT_POLICY)  # read when the library is loaded
    try:
        import xllamacpp
    except ImportError as error:
        raise missing_package(error) from error
    try:
        with path.open("rb") as file:
            is_gguf = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise LocalEndpointError(f"Cannot read the model file {path}: {error.strerror}. Check its path.") from error
    if not is_gguf:
        raise LocalEndpointError(f"{path} is not a GGUF file: name a model in llama.cpp's format.")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.kv_unified = CONTEXT_TOKENS, SLOTS, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.warmup, params.cache_ram_mib, params.verbosity, params.ui = False, 0, 0, False
    params.api_keys = [key]
    if os.name == "posix":
        params.hostnames = [str(place)]
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        message = f"llama.cpp cannot load {path}: is the file complete, and its kind of model known to xllamacpp?"
        raise LocalEndpointError(message) from error


def _chat_body(request: ChatRequest) -> Mapping[str, Any]:
    """Return the request in OpenAI's form, which llama.cpp takes."""
    body: dict[str, Any] = {
        "messages": _messages(request),
        "max_tokens": request.max_tokens or MAX_TOKENS,
        "temperature": TEMPERATURE if request.temperature is None else request.temperature,
        "top_p": TOP_P if request.top_p is None else request.top_p,
        "repeat_penalty": REPEAT_PENALTY,
        "reasoning_format": "none",  # a thinking model's thoughts stay in its text
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,  # token counts with every chunk, also when the answer is ended early
    }
    if request.seed is not None:
        body["seed"] = request.seed % _SEEDS
    if (schema := bound_schema(request)) is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    elif bound := grammar(request):
        body["grammar"] = bound
    return body


def _messages(request: ChatRequest) -> Sequence[Mapping[str, str]]:
    texts = filter(None, (request.system, told_of_tools(request.tools)))
    system = "\n\n".join(texts)
    turns = [{"role": turn.role, "content": turn.text} for turn in request.turns]
    return [{"role": "system", "content": system}, *turns] if system else turns


async def _items(chunks: asyncio.Queue[Chunk | None], max_tokens: int) -> Items:
    """Turn llama.cpp's chunks into the items of an answer."""
    begun, output_tokens, ended = False, 0, None
    while (chunk := await chunks.get()) is not None:
        if "error" in chunk:
            raise _refusal(chunk["error"])
        if timings := chunk.get("timings"):
            output_tokens = timings["predicted_n"]
            if not begun:
                begun = True
                yield Begin(timings["prompt_n"] + timings["cache_n"])
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                yield Piece(text, output_tokens)
            ended = choice["finish_reason"] or ended
    if ended == "length":
        full = output_tokens < max_tokens
        yield Finish(StopReason.CONTEXT_EXCEEDED if full else StopReason.MAX_TOKENS, output_tokens)
    elif ended:
        yield Finish(StopReason.END_TURN, output_tokens)


def _tell_end(loop: asyncio.AbstractEventLoop, chunks: asyncio.Queue[Chunk | None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(chunks.put_nowait, None)


def _refusal(error: Mapping[str, Any]) -> Refusal:
    """Return Bedrock's words for an error of llama.cpp."""
    if error.get("type") == "exceed_context_size_error":
        return invalid(TOO_LONG)
    if error.get("code") == 400:
        return invalid(f"The model returned the following errors: {error.get('message')}")
    # Also where prompts in other slots have filled the shared context: a retry finds room.
    return Refusal("ServiceUnavailableException", _UNAVAILABLE)
