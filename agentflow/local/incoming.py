"""What the operations read of an HTTP request: its JSON, the region it is signed for, and which page it asks for."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from agentflow.local.errors import Refusal

ACCOUNT = "123456789012"  # whose ARNs the endpoint shows
LARGE_BODY_BYTES = 250_000

_SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/(?P<region>[a-z0-9-]+)/")

T = TypeVar("T")


async def parsed(raw: bytes) -> object:
    """Return the JSON in a body.

    Raises
    ------
    Refusal
        ``SerializationException``: it is none.
    """
    try:
        # A large body is parsed aside, so that the other clients do not wait for it.
        return await asyncio.to_thread(json.loads, raw) if len(raw) > LARGE_BODY_BYTES else json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal("SerializationException", f"The body of the request is not valid JSON: {error}") from error


def signed_region(headers: Mapping[str, str], default: str) -> str:
    """Return the region in the scope of a request's signature: the client's; without a signature the default."""
    scope = _SCOPE.search(headers.get("Authorization", ""))
    return scope["region"] if scope else default


def page(
    rows: Sequence[T], size: int, token: str | None, *, code: str = "ValidationException"
) -> tuple[Sequence[T], str | None]:
    """Return the rows of one page, and the token of the next, None after the last.

    Raises
    ------
    Refusal
        With `code`: the token is none that this endpoint has given.
    """
    start = 0
    if token is not None:
        try:
            start = int(base64.b64decode(token, validate=True))
        except (binascii.Error, ValueError):
            raise Refusal(code, "The pagination token is invalid.") from None
    rest = rows[max(0, start) :]
    following = base64.b64encode(str(start + size).encode()).decode() if len(rest) > size else None
    return rest[:size], following
