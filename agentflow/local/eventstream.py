"""Encode `application/vnd.amazon.eventstream` frames, the framing of every streamed Bedrock answer.

A frame is: total length, headers length, CRC-32 of these eight bytes, headers, payload, CRC-32 of all before it.
Integers are big-endian. A header is: name length (1 byte), name, type (7: string), value length (2 bytes), value.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING = 7
_FRAME_OVERHEAD = 16  # two lengths and two CRCs of four bytes each


def event(event_type: str, payload: Mapping[str, Any]) -> bytes:
    """Return one event as a frame."""
    return _frame(_headers(":event-type", event_type, "event"), payload)


def exception(exception_type: str, payload: Mapping[str, Any]) -> bytes:
    """Return an error that ends a stream as a frame; the type is lower-camel, as in ``throttlingException``."""
    return _frame(_headers(":exception-type", exception_type, "exception"), payload)


def damaged(frames: bytes) -> bytes:
    """Return frames of which the last has a wrong checksum."""
    return frames[:-1] + bytes([frames[-1] ^ 1])


@lru_cache(maxsize=64)
def _headers(type_header: str, type_name: str, message_type: str) -> bytes:
    pairs = ((type_header, type_name), (":content-type", "application/json"), (":message-type", message_type))
    return b"".join(_header(name.encode(), value.encode()) for name, value in pairs)


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value


def _frame(headers: bytes, payload: Mapping[str, Any]) -> bytes:
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", _FRAME_OVERHEAD + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))
