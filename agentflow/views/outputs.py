"""What a step returned, as text: any Python object, of any length, without an error."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from pydantic import BaseModel

ELLIPSIS = "…"
_CONTROLS = dict.fromkeys(
    {*range(32), *range(127, 160)} - {ord("\t"), ord("\n"), ord("\r")}, "\N{REPLACEMENT CHARACTER}"
)
_PREVIEW_CHARS = 2_000  # of a long output, more than any preview shows


def full_text(value: Any, *, indent: int | None = 2) -> str:
    """Return a value as text for reading: strings as they are, structured values as JSON, else the `repr`."""
    try:
        return encodable(_text(value, indent))
    except Exception as error:  # noqa: BLE001 - whatever a foreign __repr__ raises, a result must still show itself
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


def _text(value: Any, indent: int | None) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, BaseModel | dict | list | tuple):
        try:
            return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError, RecursionError):  # keys that are no strings, or a value that holds itself
            return repr(value)
    return repr(value)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def encodable(text: str) -> str:
    """Replace what a terminal or a notebook file cannot carry: lone surrogates and control characters."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, width: int) -> str:
    """Return text as one line of at most `width` columns.

    Control characters become spaces: a model's answer must not steer the terminal that prints it.
    """
    head = text[:_PREVIEW_CHARS]
    line = " ".join("".join(char if char.isprintable() else " " for char in head).split())
    return clip(line if len(text) <= _PREVIEW_CHARS else line + ELLIPSIS, width)


def preview(value: Any, width: int) -> str:
    """Return a step's output as one line."""
    return one_line(full_text(value, indent=None), width)


def columns(text: str) -> int:
    """Return how many columns a terminal gives to a text: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def clip(text: str, width: int) -> str:
    """Shorten a text to `width` columns, with an ellipsis where something is missing."""
    if columns(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS
