"""JSON schemas as they are sent to a model: without what Bedrock refuses, which the answer is checked for again.

Source: Amazon Bedrock User Guide, structured-output. Accepted are the basic types, `enum`, `const`, `anyOf`, references
within the schema, and `minItems` of 0 or 1; objects have to be closed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Limits of a value, and its default. They go into its description, so that the model still knows of them.
_LIMITS = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
        "format", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
    }
)  # fmt: skip
_DROPPED = frozenset({"discriminator", "patternProperties", "propertyNames"})
_NAMED = frozenset({"properties", "$defs"})  # their keys are names, not keywords
_DATA = frozenset({"const", "enum", "examples"})  # what they hold are values, no schemas


def accepted_schema(schema: Any) -> Any:
    """Return a JSON schema as it is sent: without the keywords that Bedrock refuses, closed to further properties.

    Its root is what it refers to, since Bedrock wants the root to have a type; pydantic makes such a reference of a
    class that contains itself.
    """
    accepted = _accepted(schema)
    if isinstance(accepted, Mapping) and "$ref" in accepted:
        rest = {keyword: value for keyword, value in accepted.items() if keyword != "$ref"}
        referred = accepted.get("$defs", {}).get(str(accepted["$ref"]).removeprefix("#/$defs/"))
        return accepted if referred is None else {**referred, **rest}
    return accepted


def _accepted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_accepted(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    accepted: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _NAMED:
            accepted[keyword] = {name: _accepted(item) for name, item in value.items()}
        elif keyword in _DATA:
            accepted[keyword] = value
        elif keyword == "default":
            limits |= {} if value is None else {keyword: value}
        elif keyword in _LIMITS and not (keyword == "minItems" and value in {0, 1}):
            limits[keyword] = value
        elif keyword == "oneOf":
            accepted["anyOf"] = _accepted(value)
        elif keyword == "prefixItems":
            accepted["items"] = {"anyOf": _accepted(value)}
        elif keyword not in _DROPPED:
            accepted[keyword] = _accepted(value)
    if accepted.get("type") == "object" and ("properties" in accepted or not accepted.get("additionalProperties")):
        accepted["additionalProperties"] = False
    if limits:
        words = ", ".join(f"{keyword} {json.dumps(value)}" for keyword, value in limits.items())
        accepted["description"] = f"{accepted['description']} ({words})" if "description" in accepted else words
    return accepted


def is_native(schema: Mapping[str, Any]) -> bool:
    """Return whether an accepted schema may go as an output schema; a tool's may be any.

    It may have no object of any keys, as a `dict` makes one, refer to nothing outside of it, and not contain itself.
    """
    return not _any(schema, _is_open) and not _any(schema, _refers_outside) and not _is_recursive(schema)


def _any(schema: Any, holds: Any) -> bool:
    if isinstance(schema, Mapping):
        return holds(schema) or any(_any(item, holds) for item in schema.values())
    return isinstance(schema, list) and any(_any(item, holds) for item in schema)


def _is_open(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("additionalProperties"))


def _refers_outside(schema: Mapping[str, Any]) -> bool:
    reference = schema.get("$ref", "#")
    return isinstance(reference, str) and not reference.startswith("#")


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """Return whether following the references of a schema comes back to one of them."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    refers = {f"#/$defs/{name}": set(_references(definition)) for name, definition in definitions.items()}
    refers["#"] = set(_references({name: value for name, value in schema.items() if name != "$defs"}))
    reached = refers
    for _ in refers:  # no way without a circle is longer
        reached = {start: ahead.union(*(refers.get(name, set()) for name in ahead)) for start, ahead in reached.items()}
    return any(start in ahead for start, ahead in reached.items())


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for item in schema.values() for found in _references(item)]
    return [found for item in schema for found in _references(item)] if isinstance(schema, list) else []
