"""Output types: pydantic models, dataclasses, and a short form: `"urgent: bool, product: str"` instead of a class.

In the short form a field is `name: type`; a type is `str`, `int`, `float`, `bool`, `list[type]`, `dict[str, type]`, or
choices between quoted texts such as `'P0' | 'P1'`. With `| None` the model may leave the field out.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, create_model

from agentflow.core.errors import DefinitionError, nearest

_SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_EXAMPLE = "\"urgent: bool, severity: 'P0' | 'P1', tags: list[str], note: str | None\""
_TALKED_ABOUT = re.compile(r"[^{\[]*(\{.*\})[^}\]]*", re.DOTALL)  # one object, and words around it

_adapters: WeakKeyDictionary[type, TypeAdapter[Any]] = WeakKeyDictionary()
_schemas: WeakKeyDictionary[type, Mapping[str, Any]] = WeakKeyDictionary()


def is_output_type(value: Any) -> bool:
    """Return whether an answer can be parsed into it: a pydantic model or a dataclass."""
    return isinstance(value, type) and (issubclass(value, BaseModel) or dataclasses.is_dataclass(value))


def parse_output(output_type: type[Any], text: str) -> Any:
    """Return the instance that JSON text is of; words around its object are passed over, such as a fence of Markdown.

    Raises
    ------
    pydantic.ValidationError
        The text is no such JSON.
    """
    found = _TALKED_ABOUT.fullmatch(text)
    output = _adapter(output_type).validate_json(found[1] if found else text)
    return output.value if isinstance(output, _InAnObject) else output


def schema_of(output_type: type[Any]) -> Mapping[str, Any]:
    """Return the JSON schema of an output type."""
    if output_type not in _schemas:
        _schemas[output_type] = _adapter(output_type).json_schema()
    return _schemas[output_type]


def fields_of(output_type: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of an output type."""
    if issubclass(output_type, BaseModel):
        return tuple(output_type.model_fields)
    return tuple(field.name for field in dataclasses.fields(output_type))


def _adapter(output_type: type[Any]) -> TypeAdapter[Any]:
    if output_type not in _adapters:
        _adapters[output_type] = TypeAdapter(_asked_for(output_type))
    return _adapters[output_type]


class _InAnObject(BaseModel):
    """What a model is asked for in the place of a `RootModel`, since its answer has to be a JSON object."""

    value: Any


def _asked_for(output_type: type[Any]) -> type[Any]:
    if issubclass(output_type, RootModel):
        return create_model("Output", __base__=_InAnObject, value=(output_type, ...))
    return output_type


class _Output(BaseModel):
    """What the short forms have in common. A model keeps its own in `__short_form__`, which can be no field's name."""

    model_config = ConfigDict(protected_namespaces=())
    __short_form__: ClassVar[str]


_MODELS: WeakValueDictionary[str, type[_Output]] = WeakValueDictionary()


def from_short_form(text: str) -> type[BaseModel]:
    """Return the pydantic model that a short form stands for; the same class for the same text.

    Raises
    ------
    DefinitionError
        The text is no short form; the message shows the place.

    Examples
    --------
    >>> from_short_form("urgent: bool, product: str").model_validate_json('{"urgent": true, "product": "shop"}')
    Output(urgent=True, product='shop')
    """
    form = text.strip()
    return _MODELS.get(form) or _MODELS.setdefault(form, _model(form))


def short_form_of(model: type[Any]) -> str | None:
    """Return the short form that a model was made from, None for a class that was written."""
    form: str | None = vars(model).get("__short_form__")
    return form


def _model(form: str) -> type[_Output]:
    fields: dict[str, Any] = {}
    for field in _fields(form):
        match field:
            case ast.Slice(lower=ast.Name(id=name), upper=ast.expr() as kind, step=None):
                _check_name(form, name, fields)
                fields[name] = (_type(form, kind), None if _may_be_none(kind) else ...)
            case _:
                raise _wrong(form, f"`{ast.unparse(field)}` is not of the form `name: type`")
    model = create_model("Output", __base__=_Output, __module__=__name__, **fields)
    model.__short_form__ = form
    return model


def _fields(form: str) -> list[ast.expr]:
    """Split a short form at its commas, but not at those in brackets and quotes."""
    try:
        # Between brackets Python reads `name: type, name: type` as slices; nothing is evaluated.
        whole = ast.parse(f"_[\n{form}\n]", mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _wrong(form, f"it cannot be read at {_place(form, error)}") from error
    match whole:
        case ast.Subscript(value=ast.Name(), slice=ast.Tuple(elts=fields)) if form:
            return fields
        case ast.Subscript(value=ast.Name(), slice=field):
            return [field]
    raise _wrong(form, "its brackets do not match")


def _place(form: str, error: SyntaxError | ValueError) -> str:
    lines = form.splitlines()
    line, column = (getattr(error, "lineno", None) or 0) - 2, getattr(error, "offset", None) or 1
    rest = lines[line][column - 1 :] if 0 <= line < len(lines) else ""
    return repr(rest) if rest else "its end"


def _check_name(form: str, name: str, earlier: dict[str, Any]) -> None:
    if name in earlier:
        raise _wrong(form, f"{name!r} is there twice")
    if name.startswith("_") or hasattr(BaseModel, name):
        raise _wrong(form, f"a field cannot be called {name!r}, which pydantic keeps for itself")


def _type(form: str, node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _SCALARS:
            return _SCALARS[name]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_type(form, item)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), item])):
            return dict[str, _type(form, item)]  # type: ignore[misc]
        case ast.BinOp(op=ast.BitOr()) | ast.Constant(value=str()):
            return _choice(form, node)
        case ast.Name(id=name):
            raise _wrong(form, f"{name!r} is no type{nearest(name, [*_SCALARS, 'list[str]', 'dict[str, str]'])}")
    raise _wrong(form, f"`{ast.unparse(node)}` is no type")


def _choice(form: str, node: ast.expr) -> Any:
    """Return the type of `'a' | 'b'`, `type | None` or `'a' | 'b' | None`."""
    options = list(_options(node))
    values = [option.value for option in options if isinstance(option, ast.Constant)]
    texts = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
    others = [option for option in options if not isinstance(option, ast.Constant)]
    if len(others) + bool(texts) != 1 or not all(value is None or isinstance(value, str) for value in values):
        raise _wrong(form, f"`{ast.unparse(node)}` is neither choices between quoted texts nor one type, with | None")
    kind = Literal[texts] if texts else _type(form, others[0])
    return kind | None if None in values else kind


def _options(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _options(node.left)
        yield from _options(node.right)
    else:
        yield node


def _may_be_none(node: ast.expr) -> bool:
    return any(isinstance(option, ast.Constant) and option.value is None for option in _options(node))


def _wrong(form: str, problem: str) -> DefinitionError:
    return DefinitionError(f"output_type {form!r}: {problem}.", fix=f"Write it as {_EXAMPLE}.")
