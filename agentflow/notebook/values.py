"""The size of a variable in words, in the place of the value itself."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Any

from agentflow.views.format import plural


def size_words(value: Any) -> str:
    """Return what a value is and how large, in a few words; never its content.

    >>> size_words("abc" * 3000), size_words([1, 2]), size_words(None)
    ('text, 9.0 kB', 'list, 2 items', 'None')
    """
    if isinstance(value, str):
        size = len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        return f"text, {byte_words(size)}"
    if isinstance(value, bytes | bytearray):
        return byte_words(len(value))
    if isinstance(value, Path) and value.is_file():
        return f"file, {byte_words(value.stat().st_size)}"
    kind = "None" if value is None else type(value).__name__
    shape = getattr(value, "shape", None)
    if hasattr(value, "columns") and isinstance(shape, tuple):
        return f"table, {plural(shape[0], 'row')}"
    if isinstance(value, Sized) and isinstance(value, list | tuple | set | dict):
        return f"{kind}, {plural(len(value), 'item')}"
    return kind


def byte_words(size: int) -> str:
    """Return a number of bytes in words.

    >>> byte_words(12), byte_words(7_400), byte_words(2_500_000)
    ('12 bytes', '7.4 kB', '2.5 MB')
    """
    if size < 1000:
        return plural(size, "byte")
    return f"{size / 1000:.1f} kB" if size < 999_950 else f"{size / 1_000_000:.1f} MB"
