"""Whether a response is one that botocore's model of a service allows: required members, types, enums, unions."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from botocore.eventstream import EventStreamBuffer

from agentflow.local.shapes import service_model

_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,), "map": (dict,), "list": (list,), "string": (str,), "blob": (str,), "timestamp": (str,),
    "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float), "boolean": (bool,),
}  # fmt: skip


def send(
    url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request as it is, and return status, headers and bytes."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def method_of(service: str, operation: str) -> str:
    """Return the HTTP method of an operation."""
    method: str = service_model(service).operation_model(operation).http["method"]
    return method


def problems(value: Any, service: str, operation: str) -> list[str]:
    """Return what is wrong with the body of a response."""
    return _problems(value, service_model(service).operation_model(operation).output_shape, operation)


def stream_problems(wire: bytes, operation: str, member: str) -> list[str]:
    """Return what is wrong with the events of a streamed response."""
    events = service_model("bedrock-runtime").operation_model(operation).output_shape.members[member]
    buffer, found = EventStreamBuffer(), []
    buffer.add_data(wire)
    for message in buffer:
        kind = message.headers.get(":event-type") or message.headers[":exception-type"]
        if kind not in events.members:
            found.append(f"{operation}: no event {kind}")
        else:
            found += _problems(json.loads(message.payload), events.members[kind], kind)
    return found


def error_problems(status: int, headers: Mapping[str, str], body: bytes, service: str, operation: str) -> list[str]:
    """Return what is wrong with an error: it must be one that the operation has, or one of AWS's common ones."""
    code = headers["x-amzn-ErrorType"].partition(":")[0]
    shapes = {shape.name: shape for shape in service_model(service).operation_model(operation).error_shapes}
    told = json.loads(body)
    if code not in shapes:
        common = {"SerializationException", "UnknownOperationException"}
        return [] if code in common and told["message"] else [f"{operation}: no error {code}"]
    expected = shapes[code].metadata.get("error", {}).get("httpStatusCode", 400)
    found = [] if status == expected else [f"{code}: status {status}, not {expected}"]
    return found + ([] if isinstance(told["message"], str) and told["message"] else [f"{code}: no message"])


def _problems(value: Any, shape: Any, path: str) -> list[str]:
    if getattr(shape, "is_document_type", False):
        return []
    if type(value) not in _TYPES[shape.type_name]:
        return [f"{path}: {value!r} is no {shape.type_name}"]
    if shape.type_name == "structure":
        return _structure_problems(value, shape, path)
    if shape.type_name == "list":
        return [text for member in value for text in _problems(member, shape.member, f"{path}[]")]
    if shape.type_name == "map":
        return [text for key in value for text in _problems(value[key], shape.value, f"{path}[{key}]")]
    allowed = getattr(shape, "enum", None)
    return [f"{path}: {value!r} is not in {allowed}"] if allowed and value not in allowed else []


def _structure_problems(value: Mapping[str, Any], shape: Any, path: str) -> list[str]:
    found = [f"{path}: {name} is missing" for name in shape.required_members if name not in value]
    found += [f"{path}: {name} is unknown" for name in value if name not in shape.members]
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        found.append(f"{path}: {sorted(value)} is not one of a union")
    for name in value.keys() & shape.members.keys():
        found += _problems(value[name], shape.members[name], f"{path}.{name}")
    return found
