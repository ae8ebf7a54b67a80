"""The endpoint in a thread of this process, where a Python function may answer.

For tests and experiments::

    from agentflow.local.in_process import serving
    from agentflow.models.served import served_models

    def answer(request):  # an agentflow.local.chat.ChatRequest
        return request.turns[-1].text.upper()  # or a ScriptedAnswer; None echoes

    with serving(answer, served_models()) as bedrock:
        bedrock.client.converse(...)

What it returns is an `agentflow.local.handle.LocalBedrock`, with ``url``, ``stats()``, ``faults(...)`` and the rest.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from agentflow.local.chat import LocalModel
from agentflow.local.facts import ServedModels
from agentflow.local.fault_script import FaultScript
from agentflow.local.handle import LocalBedrock
from agentflow.local.job_files import JobFiles
from agentflow.local.script import Answering, Script
from agentflow.local.scripted import ScriptedModel
from agentflow.local.serve import DEFAULT_REGION, HOST, listening


@contextmanager
def serving(answers: Answering | Script, served: ServedModels, *, s3_url: str | None = None) -> Iterator[LocalBedrock]:
    """Serve until the end of the block.

    Parameters
    ----------
    answers : function or Script
        What the model answers. A function is called in the thread of the server, for one request at a time.
    served : ServedModels
        Bedrock's models that the endpoint pretends to serve.
    s3_url : str, optional
        The S3 endpoint of model invocation jobs.

    Raises
    ------
    LocalEndpointError
        A package of the extra `local` is not installed, or no port is free.
    """
    model = ScriptedModel(answers) if isinstance(answers, Script) else ScriptedModel(function=answers)
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=_serve, args=(model, served, s3_url, started), daemon=True)
    thread.start()
    url, loop, stop = started.result()
    try:
        yield LocalBedrock(url)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _serve(
    model: LocalModel,
    served: ServedModels,
    s3_url: str | None,
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]],
) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        async with listening(model, 0, served, DEFAULT_REGION, FaultScript(), files=JobFiles(s3_url)) as port:
            started.set_result((f"http://{HOST}:{port}", asyncio.get_running_loop(), stop))
            await stop.wait()

    try:
        asyncio.run(run())
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)
