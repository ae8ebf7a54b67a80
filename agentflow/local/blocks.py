"""Content blocks as text, the one thing that the models here can read; the same for both wire formats."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from agentflow.local.errors import invalid
from agentflow.local.tool_calls import CALL_MARK

#: How a file of each image format begins; WebP's four bytes of size lie between its two marks.
_IMAGE_MARKS = {
    "png": (b"\x89PNG\r\n\x1a\n", b""),
    "jpeg": (b"\xff\xd8\xff", b""),
    "gif": (b"GIF8", b""),
    "webp": (b"RIFF", b"WEBP"),
}
#: How a file of a document format begins; the other formats are plain text. Office's are archives or, older, OLE files.
_DOCUMENT_MARKS = {
    "pdf": b"%PDF",
    "docx": b"PK\x03\x04",
    "xlsx": b"PK\x03\x04",
    "doc": b"\xd0\xcf\x11\xe0",
    "xls": b"\xd0\xcf\x11\xe0",
}
_MARKED_BYTES = 12


def image_note(image_format: str, data: str) -> str:
    """Return what stands for an image, given as base64.

    Raises
    ------
    Refusal
        The bytes are not of that format.
    """
    start, end = _IMAGE_MARKS[image_format]
    head = _head(data)
    if not (head.startswith(start) and head.endswith(end)):
        raise invalid(f"The provided image does not match the specified image format: {image_format}.")
    return f"[an image ({image_format}) is attached, which this model cannot see]"


def document_note(name: str, document_format: str, data: str | None = None) -> str:
    """Return what stands for a document; its bytes, given as base64, are looked at where its format has a mark.

    Raises
    ------
    Refusal
        The bytes are not of that format.
    """
    marks = _DOCUMENT_MARKS.get(document_format)
    if marks and data is not None and not _head(data).startswith(marks):
        raise invalid(f"The provided document does not match the specified document format: {document_format}.")
    return f"[a document ({document_format}) is attached, which this model cannot read: {name}]"


def _head(data: str) -> bytes:
    """Return the first bytes of a file that is given as base64; none where it is no base64."""
    try:
        return base64.b64decode(data, validate=True)[:_MARKED_BYTES]
    except (binascii.Error, ValueError):
        return b""


def tool_use_text(name: str, tool_input: Any) -> str:
    """Return what stands for a tool call of an earlier turn: as the model itself writes one."""
    return CALL_MARK + json.dumps({"name": name, "input": tool_input}, ensure_ascii=False)


def tool_result_text(result: str, *, failed: bool) -> str:
    """Return what stands for the result of a tool."""
    return f"[the tool {'failed' if failed else 'answered'}: {result}]"
