"""`agentflow health --serve`: /live and /ready on this machine, for whatever restarts or balances processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agentflow.core.errors import InputError
from agentflow.ops.health.readiness import Readiness

HOST = "127.0.0.1"
_OWN_HOSTS = {HOST, "localhost"}


def serve(port: int, *, call: bool = True) -> int:
    """Serve until Ctrl-C or SIGTERM, and return the exit code, 0; the first line on stdout names the URL.

    Parameters
    ----------
    port : 0 for any that is free.
    call : whether a probe of /ready asks a model for 10 tokens.

    Raises
    ------
    InputError
        The port is taken.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        server = _Server((HOST, port), _Handler)
    except OSError as error:
        what = f"Port {port} cannot be used on {HOST}: {error.strerror}."
        raise InputError(what, fix="Name another with --port, or 0 for any.") from error
    server.readiness = Readiness(call=call)
    url = f"http://{HOST}:{server.server_address[1]}"
    sys.stdout.write(f"AgentFlow health: {url} (/live, /ready)\nCtrl-C stops it.\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


class _Server(ThreadingHTTPServer):
    """Answers each request on a thread of its own, which ends with the process."""

    daemon_threads = True
    block_on_close = False
    readiness: Readiness

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.started = time.monotonic()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that did not wait for its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = 10  # seconds for a client to say what it wants
    server_version = "AgentFlow"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer /live and /ready."""
        if not self._is_for_us():
            self._answer(HTTPStatus.FORBIDDEN, {"error": "This server answers programs on this machine only."})
        elif self.path == "/live":
            uptime = round(time.monotonic() - self.server.started, 1)
            self._answer(HTTPStatus.OK, {"live": True, "pid": os.getpid(), "uptime_seconds": uptime})
        elif self.path == "/ready":
            verdict = self.server.readiness.now()
            self._answer(HTTPStatus.OK if verdict.ready else HTTPStatus.SERVICE_UNAVAILABLE, verdict.record())
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "There is /live and /ready."})

    def _is_for_us(self) -> bool:
        """Return whether the client asks this machine by its own name; a web page's browser gives the page's host."""
        host = self.headers.get("Host", HOST)
        name, _, port = host.rpartition(":")
        return (name if port.isdigit() else host) in _OWN_HOSTS

    def _answer(self, status: HTTPStatus, told: Mapping[str, Any]) -> None:
        body = json.dumps(told).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
        """Say nothing: whoever asks every few seconds would fill the terminal."""
