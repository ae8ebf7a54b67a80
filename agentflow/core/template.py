"""Prompt templates: which names they use, and how values are put in.

`{name}`, `{name.field}` and `{name[0]}` are placeholders. Every other brace is text, so JSON in a prompt needs no
escaping, and `{{name}}` is the literal `{name}`. Values are never scanned again, and a lookup goes through mappings,
sequences, pydantic fields and dataclass fields only: a prompt reaches no other attribute of a Python object.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from agentflow.core.errors import InputError, nearest

Path = tuple[str | int, ...]

_REFERENCE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*"
_PLACEHOLDER = re.compile(rf"\{{\{{({_REFERENCE})\}}\}}|\{{({_REFERENCE})\}}")
_PART = re.compile(r"\[(\d+)\]|(\w+)")


class Template:
    """A prompt with placeholders.

    >>> Template('Answer as {"ok": true}: {question}').render({"question": "Why?"})
    'Answer as {"ok": true}: Why?'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = _parse(text)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the template uses, each once, in order of appearance."""
        return tuple(dict.fromkeys(str(reference[0]) for reference in self.references))

    @property
    def references(self) -> tuple[Path, ...]:
        """What the placeholders refer to, such as ``("name", "field", 0)``."""
        return tuple(piece for piece in self._pieces if isinstance(piece, tuple))

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with every placeholder replaced.

        Raises
        ------
        InputError
            A field or an index is not there; the message names the ones that are.
        """
        return "".join(
            piece if isinstance(piece, str) else as_text(look_up(values[str(piece[0])], piece[1:], of=str(piece[0])))
            for piece in self._pieces
        )


def _parse(text: str) -> list[str | Path]:
    pieces: list[str | Path] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        literal, reference = match.groups()
        pieces.append(f"{{{literal}}}" if literal else parse_reference(reference))
    pieces.append(text[end:])
    return [piece for piece in pieces if piece]


def parse_reference(reference: str) -> Path:
    """Split `name.field[0]` into `("name", "field", 0)`."""
    return tuple(int(index) if index else name for index, name in _PART.findall(reference))


def look_up(value: Any, path: Path, *, of: str) -> Any:
    """Return the part of a value that a path leads to; `of` names the value in errors."""
    for part in path:
        where = f"[{part}]" if isinstance(part, int) else f".{part}"
        fields = _fields(value)
        if isinstance(part, str) and fields is not None:
            if part not in fields:
                known = sorted(str(field) for field in fields)
                raise InputError(
                    f"{{{of}{where}}}: {of!r} has no {part!r}{nearest(part, known)}.",
                    fix=f"It has {', '.join(known) or 'no fields'}.",
                )
            value = fields[part]
        elif isinstance(part, int) and isinstance(value, Sequence) and not isinstance(value, str | bytes):
            if part >= len(value):
                raise InputError(f"{{{of}{where}}}: {of!r} has {len(value)} items.", fix="The first is [0].")
            value = value[part]
        else:
            raise InputError(
                f"{{{of}{where}}}: {of!r} is {_described(value)}, which has no {where}.",
                fix="Give the step that makes it an output_type with that field, or use the whole value.",
            )
        of += where
    return value


def _fields(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _described(value: Any) -> str:
    return "text" if isinstance(value, str) else f"of type {type(value).__name__}"


def as_text(value: Any) -> str:
    """Return a value as it stands in a prompt: text as it is, an enum's value, anything structured as JSON."""
    if isinstance(value, Enum):
        return as_text(value.value)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | BaseModel | list | tuple | set | bool) or dataclasses.is_dataclass(value):
        return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
    return str(value)
