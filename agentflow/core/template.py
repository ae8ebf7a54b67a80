"""Prompt templates: which names they use, and how values are put in.

`{name}`, `{name.field}` and `{name[0]}` are placeholders. Every other brace is text, so JSON in a prompt needs no
escaping, and `{{name}}` is the literal `{name}`. Values are never scanned again, and a lookup goes through mappings,
sequences, pydantic fields and dataclass fields only: a prompt reaches no other attribute of a Python object. An image
or a document (`core/content.py`) becomes a block of its own, where its placeholder stands.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from agentflow.core.content import Attachment, Content, attached
from agentflow.core.errors import InputError, nearest

Path = tuple[str | int, ...]

_REFERENCE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*"
_PLACEHOLDER = re.compile(rf"\{{\{{({_REFERENCE})\}}\}}|\{{({_REFERENCE})\}}")
_PART = re.compile(r"\[(\d+)\]|(\w+)")


class StandIn(str):
    """A text in the place of a value that is not known yet; every part of that value is the same text."""

    __slots__ = ()


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

    @property
    def leading(self) -> list[str]:
        """The pieces before the first placeholder, which are the same whatever the values are."""
        end = next((index for index, piece in enumerate(self._pieces) if not isinstance(piece, str)), None)
        return [str(piece) for piece in self._pieces[:end]]

    def fill(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the pieces of the text, with the values where the placeholders were; nothing is read yet.

        A value that is None, which an optional input may be, has no parts to be missing.

        Raises
        ------
        InputError
            A field or an index is not there; the message names the ones that are.
        """
        return [piece if isinstance(piece, str) else _value(values, piece) for piece in self._pieces]

    def render(self, values: Mapping[str, Any]) -> Content:
        """Return the text with every placeholder replaced; in blocks, where a value is an image or a document.

        Raises
        ------
        InputError
            A field or an index is not there, or a file cannot be read or is none that Bedrock takes.
        """
        return as_content(self.fill(values))


def as_content(pieces: Iterable[Any]) -> Content:
    """Return what a filled template says: plain text, or texts and attachments in order. Reads files.

    Raises
    ------
    InputError
        A file cannot be read, or is none that Bedrock takes.
    """
    content: list[str | Attachment] = []
    text = ""
    for piece in pieces:
        if items := attached(piece):
            content += [text] if text.strip() else []  # Bedrock refuses a block of blanks
            content += map(Attachment.of, items)
            text = ""
        else:
            text += as_text(piece)
    if not content:
        return text
    return (*content, text) if text.strip() else tuple(content)


def literal_text(text: str, known: Iterable[str]) -> str:
    """Return the template of a text in which only known names are placeholders, and all other braces are text.

    >>> Template(literal_text("a {name} and {{x}}, {n}", ["n"])).render({"n": 1})
    'a {name} and {{x}}, 1'
    """
    names = set(known)

    def kept(match: re.Match[str]) -> str:
        name = parse_reference(match[1] or match[2])[0]
        return match[0] if name in names else f"{{{match[0]}}}"

    return _PLACEHOLDER.sub(kept, text)


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


def _value(values: Mapping[str, Any], path: Path) -> Any:
    name = str(path[0])
    value = values[name]
    return None if value is None else look_up(value, path[1:], of=name)


def parse_reference(reference: str) -> Path:
    """Split `name.field[0]` into `("name", "field", 0)`."""
    return tuple(int(index) if index else name for index, name in _PART.findall(reference))


def look_up(value: Any, path: Path, *, of: str) -> Any:
    """Return the part of a value that a path leads to; `of` names the value in errors."""
    for part in path:
        if isinstance(value, StandIn):
            return value
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
    """Return a value as it stands in a prompt: text as it is, an enum's value, anything structured as JSON, None as "".

    Raises
    ------
    InputError
        Something structured holds what JSON cannot say, such as the bytes of an image.
    """
    if value is None:
        return ""
    if isinstance(value, Enum):
        return as_text(value.value)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | BaseModel | list | tuple | set | bool) or dataclasses.is_dataclass(value):
        try:
            return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
        except ValueError as error:  # bytes that are no text, or a structure that contains itself
            raise InputError(
                f"A value of type {type(value).__name__} cannot be put into a prompt: {error}.",
                fix="Give an image or a document a placeholder of its own, such as {photo}.",
            ) from error
    return str(value)
