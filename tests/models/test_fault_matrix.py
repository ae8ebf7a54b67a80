"""Each way in which a call can fail, plain and streamed, before and within the answer: its class, its row, its bill.

The endpoint is a small server of this module: it refuses with any error, and breaks an answer off in any way.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest

from agentflow import BedrockClient, Workflow, WorkflowError
from agentflow.core import errors
from agentflow.core.errors import ModelCallError
from agentflow.core.model import Request
from agentflow.core.step_row import StepRow
from agentflow.local.errors import STATUS_BY_CODE
from agentflow.local.eventstream import CONTENT_TYPE, event, exception

START = event("messageStart", {"role": "assistant"})
TEXT = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}})
STOP = event("messageStop", {"stopReason": "end_turn"})
ANSWER = b'{"output": {"message": {"role": "assistant", "content": [{"text": "Hel'

Fault: TypeAlias = Callable[["_Handler"], None]

# Refusals before any work: of the service model, of AWS in common, and statuses of a proxy that knows no codes.
REFUSALS: dict[str, tuple[int, type[ModelCallError]]] = {
    "AccessDeniedException": (403, errors.AccessDeniedError),
    "ValidationException": (400, errors.InvalidRequestError),
    "ResourceNotFoundException": (404, errors.ModelNotFoundError),
    "ServiceQuotaExceededException": (400, errors.ThrottledError),
    "ModelNotReadyException": (429, errors.ServiceError),
    "ModelTimeoutException": (408, errors.ModelTimeoutError),
    "ModelErrorException": (424, errors.ServiceError),
    "ModelStreamErrorException": (424, errors.ServiceError),
    "InternalServerException": (500, errors.ServiceError),
    "ServiceUnavailableException": (503, errors.ServiceError),
    "ExpiredTokenException": (403, errors.CredentialsError),
    "UnrecognizedClientException": (403, errors.CredentialsError),
    "InvalidSignatureException": (403, errors.CredentialsError),
    "SerializationException": (400, errors.InvalidRequestError),
    "UnknownOperationException": (404, errors.EndpointError),
    "ConflictException": (400, errors.InvalidRequestError),
    "InvalidPaginationTokenException": (400, errors.InvalidRequestError),
    "NoSuchResourceException": (400, errors.ModelNotFoundError),
    "": (502, errors.ServiceError),
}

# Errors within a stream: those of ConverseStream, and one that it does not have, whose name botocore leaves out.
IN_STREAM: dict[str, type[ModelCallError]] = {
    "internalServerException": errors.ServiceError,
    "modelStreamErrorException": errors.ServiceError,
    "serviceUnavailableException": errors.ServiceError,
    "throttlingException": errors.ThrottledError,
    "validationException": errors.InvalidRequestError,
    "modelTimeoutException": errors.ServiceError,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        fault: Fault = self.server.fault  # type: ignore[attr-defined]  # set by the test
        fault(self)
        self.close_connection = True

    def begin(self, kind: str, *, length: int | None = None) -> None:
        """Send the head of an answer; without a length its body ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("x-amzn-RequestId", "r-1")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def reset(self) -> None:
        """Break the connection."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a reset is no error of the server
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def failing(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, StepRow]]:
    """A run of one step whose call meets a fault: its error and its row."""
    monkeypatch.setenv("AGENTFLOW_MAX_RETRIES", "0")

    def run(fault: Fault, *, streams: bool, region: str = "us-east-1") -> tuple[Any, StepRow]:
        server.fault = fault  # type: ignore[attr-defined]
        client = BedrockClient(region, endpoint_url=f"http://127.0.0.1:{server.server_port}")

        async def ask() -> str:
            if not streams:
                return (await client.invoke("haiku", "Hello", max_tokens=10)).text
            return "".join([text async for text in client.stream("haiku", "Hello", max_tokens=10)])

        workflow = Workflow("failing")
        workflow.add_step("ask", ask)
        with pytest.raises(WorkflowError) as caught:
            workflow.run()
        row = caught.value.result.rows["ask"]
        return row.error, row

    return run


def assert_costs_nothing(row: StepRow) -> None:
    assert row.wasted_usd == row.uncertain_usd == 0


def assert_may_be_billed(row: StepRow) -> None:
    """Nobody knows what it cost, but the most that it can have cost is known."""
    assert row.wasted_usd is None
    most = BedrockClient("us-east-1").estimate("haiku", Request("Hello", 10)).most_usd
    assert most is not None
    assert row.uncertain_usd == most > 0


def refusing(code: str, status: int) -> Fault:
    def answer(handler: _Handler) -> None:
        body = json.dumps({"message": "Because."}).encode()
        handler.send_response(status)
        if code:
            handler.send_header("x-amzn-ErrorType", f"{code}:http://internal.amazon.com/coral/com.amazon.bedrock/")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def streaming(*frames: bytes, ends: str = "cleanly") -> Fault:
    def answer(handler: _Handler) -> None:
        handler.begin(CONTENT_TYPE)
        handler.wfile.write(b"".join(frames))
        handler.wfile.flush()
        if ends == "reset":
            handler.reset()

    return answer


def test_every_error_of_the_local_endpoint_is_in_the_matrix() -> None:
    assert set(STATUS_BY_CODE) <= {*REFUSALS, "ThrottlingException"}


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_before_the_answer_costs_nothing(code: str, streams: bool, failing: Any) -> None:
    status, kind = REFUSALS[code]
    error, row = failing(refusing(code, status), streams=streams)
    assert type(error) is kind
    (attempt,) = row.attempts
    assert (attempt.error_code, attempt.http_status) == (code or str(status), status)
    assert_costs_nothing(row)


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
def test_throttling_is_waited_out_and_costs_nothing(streams: bool, failing: Any) -> None:
    throttled, denied = refusing("ThrottlingException", 429), refusing("AccessDeniedException", 403)
    refusals = iter([throttled, throttled, denied])

    def refuse(handler: _Handler) -> None:
        next(refusals)(handler)

    error, row = failing(refuse, streams=streams)
    assert type(error) is errors.AccessDeniedError
    assert [attempt.error_code for attempt in row.attempts] == [*["ThrottlingException"] * 2, "AccessDeniedException"]
    assert_costs_nothing(row)


@pytest.mark.parametrize("code", IN_STREAM)
@pytest.mark.parametrize("shown", [False, True], ids=["before text", "after text"])
def test_an_error_within_a_stream_is_known_and_may_be_billed(code: str, shown: bool, failing: Any) -> None:
    frames = [START, *([TEXT] if shown else []), exception(code, {"message": "Because."})]
    error, row = failing(streaming(*frames), streams=True)
    assert type(error) is IN_STREAM[code]
    if shown:
        assert not error.retryable  # a second attempt would show the text twice
    (attempt,) = row.attempts
    assert attempt.error_code == (code if code != "modelTimeoutException" else "EventStreamError")
    assert attempt.http_status is None
    assert_may_be_billed(row)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (streaming(START, TEXT), "IncompleteStream"),
        (streaming(START, TEXT, STOP), "IncompleteStream"),  # no usage: nobody knows what it cost
        (streaming(START, TEXT, ends="reset"), "ProtocolError"),
        (streaming(START, TEXT[:-1] + b"\0"), "ChecksumMismatch"),
    ],
    ids=["ends early", "ends without usage", "cut", "damaged"],
)
def test_a_stream_that_breaks_off_is_no_answer(fault: Fault, code: str, failing: Any) -> None:
    error, row = failing(fault, streams=True)
    assert type(error) is errors.ServiceError
    assert [attempt.error_code for attempt in row.attempts] == [code]
    assert_may_be_billed(row)


def cut_body(handler: _Handler) -> None:
    handler.begin("application/json", length=len(ANSWER) + 100)
    handler.wfile.write(ANSWER)


def no_json(handler: _Handler) -> None:
    handler.begin("application/json", length=len(ANSWER))
    handler.wfile.write(ANSWER)


def reset_before(handler: _Handler) -> None:
    handler.reset()


def closed_before(_handler: _Handler) -> None:
    """Send nothing; the connection is closed after it."""


@pytest.mark.parametrize("fault", [cut_body, no_json], ids=["cut", "damaged"])
def test_a_plain_answer_that_breaks_off_may_be_billed(fault: Fault, failing: Any) -> None:
    error, row = failing(fault, streams=False)
    assert type(error) is errors.ServiceError
    assert len(row.attempts) == 1
    assert_may_be_billed(row)


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", [reset_before, closed_before], ids=["reset", "closed"])
def test_a_connection_that_breaks_after_the_request_may_be_billed(fault: Fault, streams: bool, failing: Any) -> None:
    error, row = failing(fault, streams=streams)
    assert type(error) is errors.ServiceError
    assert error.retryable
    assert_may_be_billed(row)


@pytest.mark.parametrize(("streams", "mid"), [(False, False), (True, False), (True, True)])
def test_an_endpoint_that_falls_silent_is_a_timeout(
    streams: bool, mid: bool, failing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentflow.models.transport.READ_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setenv("BEDROCK_STREAM_IDLE_SECONDS", "0.3")
    gone = threading.Event()

    def silent(handler: _Handler) -> None:
        if mid:
            streaming(START, TEXT)(handler)
        gone.wait(5)

    error, row = failing(silent, streams=streams, region="us-east-2" if mid else "us-west-2")
    gone.set()
    assert type(error) is errors.ModelTimeoutError
    assert [attempt.error_code for attempt in row.attempts] == ["ReadTimeoutError"]
    assert_may_be_billed(row)


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
def test_an_endpoint_that_is_down_costs_nothing(
    streams: bool, server: ThreadingHTTPServer, failing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening: every connection is refused
        monkeypatch.setattr(server, "server_port", taken.getsockname()[1])
        error, row = failing(closed_before, streams=streams)
    assert type(error) is errors.EndpointError
    assert [attempt.error_code for attempt in row.attempts] == ["EndpointConnectionError"]
    assert_costs_nothing(row)
