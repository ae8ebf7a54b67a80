"""Start the local endpoint in a process of its own, once, and say where it is."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections import deque
from typing import IO
from urllib.parse import urlsplit

from agentflow.local.errors import LocalEndpointError
from agentflow.utils.env import export, setting

_ANSWER_SECONDS = 2.0
_STOP_SECONDS = 3.0
_REASON_LINES = 20

_lock = threading.Lock()
_process: EndpointProcess | None = None


def local_endpoint_url() -> str:
    """Return the URL of a local endpoint, started at the first call where none answers yet.

    An endpoint that ``AGENTFLOW_LOCAL_URL`` names is used if it answers: that is how a kernel that papermill starts
    shares its parent's. Otherwise one is started with the model that ``AGENTFLOW_LOCAL_MODEL`` names, and that variable
    is set for the processes to come. The endpoint ends with this process, however that ends.

    Raises
    ------
    LocalEndpointError
        The endpoint did not start; the message has its reason.
    """
    global _process  # noqa: PLW0603 - one endpoint a process
    with _lock:
        url = setting("AGENTFLOW_LOCAL_URL").value
        if url and _answers(url):
            return url
        _stop()
        _process = EndpointProcess("--model", setting("AGENTFLOW_LOCAL_MODEL").value or "smollm2")
        export("AGENTFLOW_LOCAL_URL", _process.url)
        return _process.url


def _answers(url: str) -> bool:
    """Return whether an endpoint on this machine answers at a URL; prompts go nowhere else under the name `local`."""
    import urllib.request  # here, since it takes most of the time that importing this module would take

    # Past any proxy of the environment: it could not reach this machine's own address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        if urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}:
            return False
        with opener.open(f"{url.rstrip('/')}/_stats", timeout=_ANSWER_SECONDS) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


class EndpointProcess:
    """An endpoint in a process of its own, which ends with this one.

    Parameters
    ----------
    *arguments : str
        Those of ``agentflow local serve``; the port is any that is free.

    Raises
    ------
    LocalEndpointError
        The endpoint did not start; the message has its reason.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "agentflow", "local", "serve", "--port", "0", "--parent", *arguments]
        # In a session of its own it does not get the Ctrl-C that is meant for us; it ends when our end of its stdin
        # closes.
        self._process = subprocess.Popen(  # noqa: S603 - no shell; each argument is one
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        complaints: deque[str] = deque(maxlen=_REASON_LINES)
        relay = threading.Thread(target=_relay, args=(self._process.stderr, complaints), daemon=True)
        relay.start()
        try:
            self.first_line = self._process.stdout.readline() if self._process.stdout else ""
        except BaseException:  # Ctrl-C while the model is fetched or loaded
            self.stop()
            raise
        url = next((word for word in self.first_line.split() if word.startswith("http://")), None)
        if url is None:
            relay.join(_STOP_SECONDS)
            self.stop()
            exit_code = f"exit code {self._process.returncode}"
            reason = complaints[-1].removeprefix("agentflow: ") if complaints else exit_code
            raise LocalEndpointError(f"The local endpoint did not start: {reason}")
        self.url = url

    def stop(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _relay(stderr: IO[str], complaints: deque[str]) -> None:
    """Pass the endpoint's progress and complaints on as they come."""
    with stderr:
        for line in stderr:
            if line.strip():
                complaints.append(line.strip())
            sys.stderr.write(line)


def _stop() -> None:
    """End the endpoint that this process has started, if it has."""
    global _process
    process, _process = _process, None
    if process is not None:
        process.stop()


def _forget_in_child() -> None:
    """After a fork: the endpoint is the parent's to end, and a lock held by another thread stays held for ever."""
    global _lock, _process
    _lock, _process = threading.Lock(), None


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
