"""Run the endpoint in this process: load a model, listen, tell the URL, and leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.local.errors import LocalEndpointError, missing_package
from agentflow.local.facts import ServedModels
from agentflow.local.fault_script import FaultScript, read_fault_script
from agentflow.local.job_files import JobFiles

if TYPE_CHECKING:
    from agentflow.local.chat import LocalModel

HOST = "127.0.0.1"
DEFAULT_REGION = "us-east-1"

_PORTS_TRIED = 100
_BACKLOG = 1024  # connections that wait to be accepted
_OPEN_FILES = 8192  # each connection is one; systems start with as few as 256
_GRACE_SECONDS = 0.5  # for answers in work when the endpoint stops


def serve(
    model: str,
    port: int,
    served: ServedModels,
    *,
    parent: bool = False,
    script: Path | None = None,
    faults: Path | None = None,
    regions: Sequence[str] = (DEFAULT_REGION,),
    s3_url: str | None = None,
) -> int:
    """Serve until Ctrl-C, SIGTERM or, with `parent`, the end of stdin; the first lines on stdout name the URLs.

    Parameters
    ----------
    model : str
        ``smollm2``, ``scripted`` or the path of a GGUF file.
    port : int
        0 for any free port. Where the port is taken the next free one is used.
    served : ServedModels
        Bedrock's models that the endpoint pretends to serve.
    parent : bool, default False
        Another process waits for the URL and holds the other end of stdin: end when it ends, even if it is killed.
    script : Path, optional
        A YAML file for the scripted model (`agentflow.local.script`).
    faults : Path, optional
        A YAML file of what goes wrong (`agentflow.local.fault_script`), in every region unless a rule names one.
    regions : sequence of str, default ("us-east-1",)
        Each has a URL, statistics, quotas and a prompt cache of its own. A line is told for each, in this order.
    s3_url : str, optional
        The S3 endpoint of model invocation jobs; None for the one that boto3 finds (`agentflow.local.job_files`).

    Returns
    -------
    int
        The exit code, 0: being stopped is how this ends.

    Raises
    ------
    LocalEndpointError
        The model cannot be loaded, or a file not be used; the message says what to do.
    """
    fault_script = FaultScript() if faults is None else read_fault_script(faults)
    if parent:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    _interrupt_on_signals()
    local_model: LocalModel | None = None
    try:
        local_model = load_model(model, script)
        _interrupt_on_signals()  # llama.cpp has put its own handlers in their place
        # A scripted model gives its answers in turn: each region has one of its own.
        by_region = {name: load_model(model, script) if model == "scripted" else local_model for name in regions}
        asyncio.run(_run(by_region, port, served, fault_script, JobFiles(s3_url), parent=parent))
    except KeyboardInterrupt:
        pass
    if local_model is not None and not local_model.close():
        # A thread in llama.cpp, at work on a long prompt, cannot be interrupted, and Python would wait for it.
        sys.stdout.flush()
        os._exit(0)
    return 0


def load_model(model: str, script: Path | None = None) -> LocalModel:
    """Return the model of a name, ready to answer.

    Raises
    ------
    LocalEndpointError
        There is no such model, or it cannot be loaded.
    """
    if model == "scripted":
        return _scripted(script)
    if script is not None:
        raise LocalEndpointError(f"A script is for the model `scripted`, not for `{model}`: add --model scripted.")
    from agentflow.local.llama import LlamaModel
    from agentflow.local.weights import LABEL, fetch_smollm2

    if model == "smollm2":
        return LlamaModel(fetch_smollm2(), label=LABEL)
    path = Path(model).expanduser()
    if not path.is_file():
        raise LocalEndpointError(f"There is no model `{model}`: use smollm2, scripted or the path of a .gguf file.")
    return LlamaModel(path)


def _scripted(script: Path | None) -> LocalModel:
    from agentflow.local.script import read_script
    from agentflow.local.scripted import ScriptedModel

    return ScriptedModel(None if script is None else read_script(script))


async def _run(
    models: Mapping[str, LocalModel],
    port: int,
    served: ServedModels,
    faults: FaultScript,
    files: JobFiles,
    *,
    parent: bool,
) -> None:
    _allow_many_connections()
    stop = _stop_on_signals(asyncio.get_running_loop())
    async with AsyncExitStack() as running:
        places: list[tuple[str, int, str]] = []
        for name, model in models.items():
            listens = await running.enter_async_context(listening(model, port, served, name, faults, files=files))
            places.append((name, listens, model.label))
        _tell(places, port, parent=parent)
        await stop.wait()


@asynccontextmanager
async def listening(
    model: LocalModel, port: int, served: ServedModels, region: str, faults: FaultScript, *, files: JobFiles
) -> AsyncIterator[int]:
    """Serve one region until the end of the block, whose value is the port.

    Raises
    ------
    LocalEndpointError
        A package is not installed, or no port is free.
    """
    try:
        from aiohttp import web
    except ImportError as error:
        raise missing_package(error) from error
    from agentflow.local.region import Region
    from agentflow.local.server import Endpoint
    from agentflow.local.shapes import service_model

    service_model()  # read now, so that the first request does not wait for it
    endpoint = Endpoint(model, served, Region(region, model.label, faults), files)
    # Without handler_cancellation a model would go on answering a client that has hung up.
    runner = web.AppRunner(
        endpoint.app(),
        logger=_silence(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_GRACE_SECONDS,
    )
    await runner.setup()
    try:
        listener = listen(port)
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


def _allow_many_connections() -> None:
    """Raise this process's own limit of open files, as far as the system lets it."""
    if os.name == "posix":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _silence() -> logging.Logger:
    """Return a logger that says nothing: of a malformed request aiohttp's would quote the headers, keys and all."""
    logger = logging.getLogger("agentflow.local.http")
    logger.disabled = True
    return logger


def listen(port: int) -> socket.socket:
    """Return a socket on this machine's own address, at the port or, where it is taken, the next free one.

    Raises
    ------
    LocalEndpointError
        A hundred ports are taken.
    """
    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)) if port else [0]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere this option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen(_BACKLOG)
        except (OSError, OverflowError):  # taken, not ours to take, or no port at all
            listener.close()
        else:
            return listener
    raise LocalEndpointError(f"No port from {port} on is free on {HOST}: name another with --port, or 0 for any.")


def _tell(places: Sequence[tuple[str, int, str]], wanted: int, *, parent: bool) -> None:
    urls = [f"http://{HOST}:{port}" for _, port, _ in places]
    lines = [
        f"AgentFlow local Bedrock endpoint{f' {region}' if len(places) > 1 else ''}: {url} ({label})"
        for url, (region, _, label) in zip(urls, places, strict=True)
    ]
    port = places[0][1]
    if wanted not in (0, port):
        lines.append(f"Port {wanted} is taken, so it is {port}.")
    if not parent:
        lines += [
            f"Use it:  export BEDROCK_ENDPOINT_URL={urls[0]}",
            "Ctrl-C stops it.",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _interrupt_on_signals() -> None:
    """Let SIGTERM and SIGINT raise KeyboardInterrupt: Python's own way, and good while nothing is served yet."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


def _end_with_stdin() -> None:
    # os.read, not sys.stdin: a thread that blocks in a buffered reader makes the interpreter's end a fatal error.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
