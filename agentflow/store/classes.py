"""Instances of classes as the journal keeps them: pydantic models, dataclasses and enums, by the name of their class.

On reading, a class is looked for among the modules that are loaded, and nowhere else; where it is not there, or is not
what it was, the plain values stand in its place.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from types import ModuleType
from typing import Any, TypeAlias

from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr, ValidationError

from agentflow.core.errors import DefinitionError
from agentflow.core.output_types import from_short_form, short_form_of

_SHORT_FORM = "short form"  # in the place of a module: the class is one that `AgentConfig(output_type="a: int")` made

Classes: TypeAlias = Callable[[str], type | None]  # the name of a class -> the class, where there is one


class Unkeepable(Exception):  # noqa: N818 - its text is a reason that others put into a sentence
    """A value cannot be kept; the text says why."""


def tree_of(value: Any, tree: Callable[[Any], Any]) -> dict[str, Any] | None:
    """Return an instance in terms of JSON, its parts by `tree`; None where its class is of no kind that is kept.

    Raises
    ------
    Unkeepable
        It is a secret, or has something that would be lost.
    """
    kind = type(value)
    if isinstance(value, SecretStr | SecretBytes | Secret):
        raise Unkeepable("it holds a secret")
    name = _name_of(kind)
    if isinstance(value, Enum):
        return {"$": "enum", "class": name, "name": value.name, "v": tree(value.value)}
    if isinstance(value, BaseModel):
        return {"$": "model", "class": name, **_parts_of_model(value, tree)}
    if dataclasses.is_dataclass(kind) and kind.__new__ is object.__new__:
        names = [field.name for field in dataclasses.fields(kind)]
        beside = getattr(value, "__dict__", {}).keys() - set(names)
        if lost := sorted(part for part in beside if not isinstance(getattr(kind, part, None), cached_property)):
            raise Unkeepable(f"the attribute {lost[0]!r} of {kind.__name__} is no field of it")
        return {"$": "dataclass", "class": name, "v": {part: tree(getattr(value, part)) for part in names}}
    return None


def _name_of(kind: type) -> str:
    short_form = short_form_of(kind) if issubclass(kind, BaseModel) else None
    return f"{_SHORT_FORM}:{short_form}" if short_form else f"{kind.__module__}:{kind.__qualname__}"


def _parts_of_model(model: BaseModel, tree: Callable[[Any], Any]) -> dict[str, Any]:
    """Return fields, private attributes and what was set; fields that are excluded from every dump stay out."""
    fields = type(model).model_fields
    names = [name for name, field in fields.items() if not field.exclude]
    if hidden := sorted((fields.keys() - set(names)) & model.model_fields_set):
        raise Unkeepable(f"the field {hidden[0]!r} of {type(model).__name__} is excluded from what is written")
    parts: dict[str, Any] = {"v": {name: tree(getattr(model, name)) for name in names}}
    if model.__pydantic_extra__:
        parts["extra"] = tree(dict(model.__pydantic_extra__))
    if model.__pydantic_private__:
        parts["private"] = tree(dict(model.__pydantic_private__))
    if unset := sorted(set(names) - model.model_fields_set):
        parts["unset"] = unset
    return parts


def loaded_class(name: str) -> type | None:
    """Return the class of a name such as ``package.module:Outer.Inner``, if its module is loaded. Runs no code."""
    module, _, path = name.partition(":")
    if module == _SHORT_FORM:
        try:
            return from_short_form(path)
        except DefinitionError:  # of a newer AgentFlow, which knows more types
            return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        if not isinstance(found, type | ModuleType):
            return None
        found = vars(found).get(part)  # not getattr: a module may import others when it is asked for a name
    return found if isinstance(found, type) else None


def value_of(node: Mapping[str, Any], value: Callable[[Any], Any], find: Classes) -> Any:
    """Return the instance that a tree is of, its parts by `value`, or its plain values.

    Raises
    ------
    ValueError
        The tag is none of ours.
    """
    kind = find(node["class"]) if "class" in node else None
    plain = value(node["v"])
    if node["$"] == "enum":
        return _member(kind, node["name"], plain)
    if node["$"] == "model":
        if kind is None or not issubclass(kind, BaseModel):
            return {**plain, **value(node.get("extra", {}))}
        return _model(kind, plain, value(node.get("extra", {})), value(node.get("private", {})), node.get("unset", ()))
    if node["$"] == "dataclass":
        return _instance(kind, plain)
    raise ValueError(f"it has the unknown tag {node['$']!r}")


def _member(kind: type | None, name: str | None, plain: Any) -> Any:
    if kind is None or not issubclass(kind, Enum):
        return plain
    if name is not None and name in kind.__members__:
        return kind[name]
    try:
        return kind(plain)  # several flags together have no name of their own
    except ValueError:
        return plain


def _model(
    kind: type[BaseModel], plain: dict[str, Any], extra: dict[str, Any], private: dict[str, Any], unset: list[str]
) -> Any:
    values = plain["root"] if issubclass(kind, RootModel) else {**plain, **extra}
    try:
        model = kind.model_validate(values, by_alias=False, by_name=True)
    except ValidationError:  # the class is not what it was
        return values
    for name, attribute in private.items():
        setattr(model, name, attribute)
    model.model_fields_set.difference_update(unset)
    return model


def _instance(kind: type | None, plain: dict[str, Any]) -> Any:
    """Return a dataclass with these fields. Its `__init__` is not called: it may have arguments that are no fields."""
    if kind is None or not dataclasses.is_dataclass(kind) or kind.__new__ is not object.__new__:
        return plain
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if plain.keys() - fields.keys():
        return plain
    values = dict(plain)
    for name in fields.keys() - plain.keys():
        field = fields[name]
        if field.default is not dataclasses.MISSING:
            values[name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            values[name] = field.default_factory()
        else:
            return plain
    instance = object.__new__(kind)
    for name, part in values.items():
        object.__setattr__(instance, name, part)
    return instance
