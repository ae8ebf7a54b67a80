"""From a JSON schema back to the short form of an output type, where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def short_form_of_schema(schema: Mapping[str, Any]) -> str | None:
    """Return the short form of a schema; None where it has none.

    >>> short_form_of_schema({"properties": {"urgent": {"type": "boolean"}}, "required": ["urgent"]})
    'urgent: bool'
    """
    fields = []
    for name, told in (schema.get("properties") or {}).items():
        kind = _kind(told)
        if kind is None or not name.isidentifier():
            return None
        is_optional = name not in schema.get("required", ()) and "None" not in kind.split(" | ")
        fields.append(f"{name}: {kind}{' | None' if is_optional else ''}")
    return ", ".join(fields) or None


def _kind(told: Mapping[str, Any]) -> str | None:
    if "anyOf" in told:
        kinds = [_kind(option) for option in told["anyOf"]]
        return " | ".join(kind for kind in kinds if kind) if all(kinds) else None
    values = told.get("enum") or ([told["const"]] if "const" in told else [])
    if values:
        return " | ".join(map(repr, values)) if all(isinstance(value, str) for value in values) else None
    if told.get("type") == "null":
        return "None"
    if told.get("type") == "array":
        inner = _kind(told.get("items") or {})
        return f"list[{inner}]" if inner else None
    if told.get("type") == "object" and isinstance(told.get("additionalProperties"), Mapping):
        inner = _kind(told["additionalProperties"])
        return f"dict[str, {inner}]" if inner else None
    return _SCALARS.get(told.get("type", ""))
