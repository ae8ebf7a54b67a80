"""What no well-behaved client does: wrong bodies, crowds, hang-ups; and that no secret is logged."""

from __future__ import annotations

import base64
import http.client
import json
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from agentflow.local.errors import STATUS_BY_CODE
from tests.endpoint import HAIKU, SERVE, Endpoint, running, text_of, user

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
MODEL_PATH = f"/model/{HAIKU.replace(':', '%3A')}"
HTTP_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def value_of(shape: Any, depth: int = 0) -> SearchStrategy[Any]:
    """Return values of a botocore shape, now and then of another type, too long, too short or missing."""
    if depth > 7 or getattr(shape, "is_document_type", False):
        return anything
    right: SearchStrategy[Any]
    match shape.type_name:
        case "structure":
            members = {
                name: st.deferred(lambda member=member: value_of(member, depth + 1))  # type: ignore[misc]
                for name, member in shape.members.items()
                if "location" not in member.serialization
            }
            required = {name: members[name] for name in shape.required_members if name in members}
            optional = {name: member for name, member in members.items() if name not in required}
            if shape.is_tagged_union:
                right = st.sampled_from(sorted(members)).flatmap(
                    lambda name: st.fixed_dictionaries({name: members[name]})
                )
            else:
                right = st.fixed_dictionaries(required, optional=optional)
        case "list":
            right = st.lists(value_of(shape.member, depth + 1), max_size=3)
        case "map":
            right = st.dictionaries(st.text(max_size=5), value_of(shape.value, depth + 1), max_size=3)
        case "string":
            right = st.sampled_from(shape.enum) if shape.enum else st.text(max_size=8)
        case "blob":
            right = st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
        case "boolean":
            right = st.booleans()
        case "integer" | "long":
            right = st.integers(-1, 100) | st.integers()
        case _:
            right = st.floats(0, 1) | st.floats()
    return st.one_of(*[right] * 9, anything)


@pytest.fixture(scope="module")
def connection(scripted_process: Endpoint) -> Iterator[http.client.HTTPConnection]:
    scripted_process.reset()
    connection = http.client.HTTPConnection("127.0.0.1", scripted_process.port, timeout=20)
    yield connection
    connection.close()


def check_answer(connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
    """Post a body; an error must be one of Bedrock's refusals, in its form."""
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    if response.status == 200:
        return 200
    answer = json.loads(content)
    code = response.headers["x-amzn-ErrorType"].partition(":")[0]
    assert response.status == STATUS_BY_CODE[code]
    assert 400 <= response.status < 500, (body, answer)
    assert answer["message"]
    assert response.headers["x-amzn-RequestId"]
    return response.status


@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
@HTTP_SETTINGS
@given(data=st.data())
def test_no_value_of_any_field_breaks_converse(
    connection: http.client.HTTPConnection, operation: str, data: st.DataObject
) -> None:
    body = data.draw(value_of(SERVICE.operation_model(operation).input_shape))
    path = {"Converse": "/converse", "ConverseStream": "/converse-stream"}[operation]
    check_answer(connection, MODEL_PATH + path, json.dumps(body).encode())


def one_wrong(value: Any) -> SearchStrategy[Any]:
    """Return a value like this one, of which one part is replaced by anything."""
    if isinstance(value, dict) and value:
        names = st.sampled_from(sorted(value))
        return anything | names.flatmap(lambda name: one_wrong(value[name]).map(lambda part: {**value, name: part}))
    if isinstance(value, list) and value:
        places = st.integers(0, len(value) - 1)
        return anything | places.flatmap(
            lambda place: one_wrong(value[place]).map(lambda part: [*value[:place], part, *value[place + 1 :]])
        )
    return anything


RICH_CONVERSE: Mapping[str, Any] = {
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "5m"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "Look."},
                {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgoAAAAA"}}},
                {"document": {"name": "Report", "format": "pdf", "source": {"bytes": "JVBERg=="}}},
                {"guardContent": {"text": {"text": "guarded"}}},
                {"cachePoint": {"type": "default"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}}],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"c": 3}}, {"text": "x"}]}}],
        },
    ],
    "inferenceConfig": {"maxTokens": 20, "temperature": 0.5, "topP": 0.5, "stopSequences": ["END"]},
    "toolConfig": {
        "tools": [
            {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {"city": {}}}}}},
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"tool": {"name": "weather"}},
    },
    "additionalModelRequestFields": {"seed": 5},
    "requestMetadata": {"row": "1"},
    "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}", "name": "s"}}}},
}
RICH_ANTHROPIC: Mapping[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 20,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look.", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAAA"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "3", "is_error": False}]},
    ],
    "temperature": 0.5,
    "stop_sequences": ["END"],
    "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
    "tool_choice": {"type": "tool", "name": "weather"},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
}


@pytest.mark.parametrize(
    ("path", "body"),
    [("/converse", RICH_CONVERSE), ("/converse-stream", RICH_CONVERSE),
     ("/invoke", RICH_ANTHROPIC), ("/invoke-with-response-stream", RICH_ANTHROPIC)],
)  # fmt: skip
@HTTP_SETTINGS
@given(data=st.data())
def test_one_wrong_part_of_a_rich_request_breaks_nothing(
    connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any], data: st.DataObject
) -> None:
    assert check_answer(connection, MODEL_PATH + path, json.dumps(body).encode()) == 200
    check_answer(connection, MODEL_PATH + path, json.dumps(data.draw(one_wrong(body))).encode())


@HTTP_SETTINGS
@given(body=st.binary(max_size=50) | anything.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("path", [f"{MODEL_PATH}/converse", f"{MODEL_PATH}/invoke", "/_config"])
def test_no_body_is_an_error_of_ours(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    check_answer(connection, path, body)


@HTTP_SETTINGS
@given(model=st.text(min_size=1, max_size=300))
def test_no_model_id_is_an_error_of_ours(connection: http.client.HTTPConnection, model: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in model.encode(errors="surrogatepass"))
    assert check_answer(connection, f"/model/{encoded}/converse", b"{}") in (400, 404)


def test_25_mb_are_read_and_more_are_refused(scripted: Endpoint) -> None:
    frame = len(json.dumps({"messages": user("")}))
    largest = json.dumps({"messages": user("a" * (25_000_000 - frame))}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=60)
    assert (
        check_answer(connection, f"{MODEL_PATH}/converse", largest) == 400
    )  # read, and longer than the model's context
    assert check_answer(connection, f"{MODEL_PATH}/converse", largest + b" ") == 400
    assert scripted.stats()["errors"] == {"ValidationException": 2}
    assert text_of(scripted.say("still here")) == "still here"


@pytest.mark.soak
def test_a_crowd_with_large_bodies_does_not_fill_the_memory() -> None:
    with running("--port", "0", "--model", "scripted") as endpoint:
        endpoint.script(text="ok")
        endpoint.faults({"fault": "latency", "delay_ms": 200})
        body = json.dumps({"messages": user("word " * 100_000)}).encode()  # 0.5 MB, which the model can take
        server = psutil.Process(endpoint.process.pid)
        before, peak = server.memory_info().rss, 0
        threads = [threading.Thread(target=post, args=(endpoint, body)) for _ in range(50)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, server.memory_info().rss)
            time.sleep(0.02)
        assert endpoint.stats()["answers"] == 50
        assert peak - before < 100_000_000


def post(endpoint: Endpoint, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    check_answer(connection, f"{MODEL_PATH}/converse", body)
    connection.close()


def test_a_thousand_connections_at_once_are_answered(scripted: Endpoint) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_000:
        pytest.skip(f"this machine lets a process open {hard} files, which is too few for 1,000 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    scripted.faults({"fault": "latency", "delay_ms": 2_000})
    request = raw_request("/converse", {"messages": user("one two")})
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", scripted.port), 30)) for _ in range(1_000)
        ]
        for each in sockets:
            each.sendall(request)
        statuses = {each.recv(12) for each in sockets}
    assert statuses == {b"HTTP/1.1 200"}
    stats = scripted.stats()
    assert (stats["answers"], stats["billed"]["calls"]) == (1_000, 1_000)
    assert stats["peak_in_flight"] > 500


def test_it_takes_more_connections_than_the_system_first_allows() -> None:
    serve = [*SERVE, "--port", "0", "--model", "scripted", "--parent"]
    limited = ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *serve]
    with (
        subprocess.Popen(limited, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        ExitStack() as stack,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        endpoint = Endpoint(process.stdout.readline())
        sockets = [stack.enter_context(connected(endpoint)) for _ in range(400)]
        for each in sockets:
            each.sendall(raw_request("/converse", {"messages": user("one two")}))
        assert {each.recv(12) for each in sockets} == {b"HTTP/1.1 200"}
        process.stdin.close()


@pytest.mark.soak
def test_large_bodies_that_do_not_arrive_hold_the_others_up_for_a_while_only(scripted: Endpoint) -> None:
    head = f"POST {MODEL_PATH}/converse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        stalled = [stack.enter_context(connected(scripted)) for _ in range(8)]
        for each in stalled:
            each.sendall(head.encode())
        assert text_of(scripted.say("a small one goes past them")) == "a small one goes past them"
        post(scripted, json.dumps({"messages": user("word " * 60_000)}).encode())
        assert {each.recv(12) for each in stalled} == {b"HTTP/1.1 400"}


def connected(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.port), 30)


def raw_request(operation: str, body: Mapping[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {MODEL_PATH}{operation} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.soak
def test_clients_that_read_slowly_are_waited_for_in_bounded_memory() -> None:
    with running("--port", "0", "--model", "scripted") as endpoint:
        server = psutil.Process(endpoint.process.pid)
        endpoint.script(text="word " * 60_000)  # about 10 MB of frames
        before = server.memory_info().rss
        with ExitStack() as stack:
            for _ in range(10):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", endpoint.port))
                client.sendall(raw_request("/converse-stream", {"messages": user("?")}))
            assert text_of(endpoint.say("others are not held up", inferenceConfig={"maxTokens": 1})) == "word"
            assert endpoint.stats()["in_flight"] == 10  # none has all of its answer
            assert server.memory_info().rss - before < 70_000_000  # together 100 MB, were they kept
        assert eventually_idle(endpoint)


def eventually_idle(endpoint: Endpoint) -> bool:
    end = time.monotonic() + 10
    while endpoint.stats()["in_flight"] and time.monotonic() < end:
        time.sleep(0.05)
    return bool(endpoint.stats()["in_flight"] == 0)


def test_a_hundred_clients_that_hang_up_mid_stream_leave_nothing_behind(scripted: Endpoint) -> None:
    scripted.script(text="word " * 200, latency_ms=20_000, first_token_ms=0)
    for _ in range(100):
        with connected(scripted) as client:
            client.sendall(raw_request("/converse-stream", {"messages": user("?")}))
            assert client.recv(100)
    assert eventually_idle(scripted)
    stats = scripted.stats()
    assert (stats["abandoned"], stats["answers"], stats["billed"]["calls"]) == (100, 0, 100)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: PLANTED\r\nbroken header PLANTED\r\n\r\n",
        b"PLANTED nonsense\r\n\r\n",
        b"POST /_config HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: PLANTED\r\nContent-Length: 9\r\n\r\n{PLANTED}",
        b"POST /model/PLANTED/converse HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nPLANTED\r\n",
        b"POST /model/x/converse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: PLANTED\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: PLANTED\r\nX: " + b"PLANTED" * 20_000 + b"\r\n\r\n",
    ],
)
def test_nothing_that_a_client_sends_is_logged(request_: bytes) -> None:
    with running("--port", "0", "--model", "scripted", stderr=subprocess.PIPE) as endpoint:
        endpoint.faults({"fault": "internal_error", "every": 2}, {"fault": "cut_stream"})
        with connected(endpoint) as client, suppress(OSError):
            client.sendall(request_)
            client.settimeout(1)
            client.recv(1000)
        headers = {"Authorization": "PLANTED", "X-Amz-Security-Token": "PLANTED"}
        for operation in ("converse", "converse-stream", "converse-stream", "PLANTED"):
            connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=5)
            connection.request("POST", f"{MODEL_PATH}/{operation}", json.dumps({"messages": user("PLANTED")}), headers)
            with suppress(OSError, http.client.HTTPException):
                connection.getresponse().read()
            connection.close()
        assert endpoint.stats()["faults"]
        endpoint.process.terminate()
        assert endpoint.process.stderr is not None
        assert endpoint.process.stdout is not None
        assert "PLANTED" not in endpoint.process.stderr.read() + endpoint.process.stdout.read()
