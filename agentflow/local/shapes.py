"""Check a request body against botocore's service model, and refuse it in the words of AWS's own front end."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from agentflow.local.errors import Refusal, invalid

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
_INT32_MAX = 2**31 - 1
_SHOWN_CHARACTERS = 100


def check(body: object, operation: str, service: str = "bedrock-runtime") -> None:
    """Refuse a body that does not fit the input of an operation.

    Unknown members pass, as they do at AWS; a member that is null counts as absent.

    Raises
    ------
    Refusal
        ``SerializationException`` for a value of the wrong JSON type, ``ValidationException`` with every broken
        constraint otherwise.
    """
    problems: list[str] = []
    _check(body, service_model(service).operation_model(operation).input_shape, "", problems)
    _refuse(problems)


def parameters(given: Mapping[str, str], operation: str, service: str) -> Mapping[str, Any]:
    """Return the parameters in the path and the query of a request by their names in the service model, as their types.

    Raises
    ------
    Refusal
        ``ValidationException`` with every broken constraint.
    """
    types: Mapping[str, Callable[[str], Any]] = {"integer": int, "timestamp": _moment}
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name, shape in service_model(service).operation_model(operation).input_shape.members.items():
        text = given.get(shape.serialization.get("name", name)) if "location" in shape.serialization else None
        if text is None:
            continue
        try:
            found[name] = types.get(shape.type_name, str)(text)
        except ValueError:
            problems.append(_problem(text, name, f"Member must be a {shape.type_name}"))
        else:
            if shape.type_name != "timestamp":
                _check(found[name], shape, name, problems)
    _refuse(problems)
    return found


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@cache
def service_model(service: str = "bedrock-runtime") -> Any:
    """Return botocore's model of a service; the first call takes about 0.1 s."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"))


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise invalid(f"{count}: {'; '.join(problems)}")


def _check(value: Any, shape: Any, path: str, problems: list[str]) -> None:
    if getattr(shape, "is_document_type", False):
        return
    _check_type(value, shape, path)
    match shape.type_name:
        case "structure":
            _check_structure(value, shape, path, problems)
        case "list":
            _check_range("length", len(value), shape, path, problems, shown=value)
            for number, member in enumerate(value, start=1):
                _check(member, shape.member, f"{path}.{number}.member", problems)
        case "map":
            _check_range("length", len(value), shape, path, problems, shown=value)
            for key, member in value.items():
                _check(key, shape.key, f"{path}.{key}.key", problems)
                _check(member, shape.value, f"{path}.{key}.value", problems)
        case "string":
            _check_string(value, shape, path, problems)
        case "integer" | "long" | "float" | "double":
            _check_range("value", value, shape, path, problems)


def _check_type(value: Any, shape: Any, path: str) -> None:
    expected = _JSON_TYPES[shape.type_name]
    if type(value) not in expected:  # not isinstance: for Python a bool is an int
        raise Refusal(
            "SerializationException", f"Unexpected value type in payload at '{path}': {shape.type_name} expected"
        )
    if shape.type_name == "integer" and not -_INT32_MAX <= value <= _INT32_MAX:
        raise Refusal("SerializationException", f"The number at '{path}' does not fit an Integer")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refusal("SerializationException", f"Invalid Unicode in the text at '{path}'") from None
    if shape.type_name == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal("SerializationException", f"Invalid base64 at '{path}'") from None


def _check_structure(value: dict[str, Any], shape: Any, path: str, problems: list[str]) -> None:
    given = {name: member for name, member in value.items() if member is not None}
    if shape.is_tagged_union and (len(given) != 1 or not given.keys() <= shape.members.keys()):
        names = ", ".join(shape.members)
        problems.append(_problem(sorted(given), path, f"Member must set exactly one of: [{names}]"))
        return
    members, required = _members(shape)
    for name, member in given.items():
        if name in members:
            _check(member, members[name], f"{path}.{name}" if path else name, problems)
    for name in required:
        if name not in given:
            member_path = f"{path}.{name}" if path else name
            problems.append(f"Value null at '{member_path}' failed to satisfy constraint: Member must not be null")


@cache
def _members(shape: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Return the members that a structure has in the body, not in the path or a header, and the required ones."""
    members = {name: member for name, member in shape.members.items() if "location" not in member.serialization}
    return members, [name for name in shape.required_members if name in members]


def _check_string(value: str, shape: Any, path: str, problems: list[str]) -> None:
    _check_range("length", len(value), shape, path, problems, shown=value)
    if shape.enum and value not in shape.enum:
        problems.append(_problem(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"))
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        problems.append(_problem(value, path, f"Member must satisfy regular expression pattern: {pattern}"))


def _check_range(what: str, size: float, shape: Any, path: str, problems: list[str], *, shown: object = None) -> None:
    value = size if shown is None else shown
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and not size >= least:
        problems.append(_problem(value, path, f"Member must have {what} greater than or equal to {least}"))
    if most is not None and not size <= most:
        problems.append(_problem(value, path, f"Member must have {what} less than or equal to {most}"))


def _problem(value: Any, path: str, constraint: str) -> str:
    return f"Value '{str(value)[:_SHOWN_CHARACTERS]}' at '{path}' failed to satisfy constraint: {constraint}"
