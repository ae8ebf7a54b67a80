"""A cassette: answers recorded in a file of one's own, which can be replayed anywhere, without AWS and for nothing.

The file is JSON Lines, so that it can be read, compared and kept under version control: a first line that says what it
is, then a line for each answer with its key, the request in words, and the reply.
"""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from agentflow.core.errors import CassetteError
from agentflow.core.model import Reply, Request
from agentflow.store.codec import dumps
from agentflow.store.records import plain, read

REPLAY = "replay:"
_KIND, _VERSION = "agentflow_cassette", 1
_COMPARED = 200  # recordings that are looked through for the one that is nearest to a request
_DIFF_LINES = 40


class Cassette:
    """Recorded answers by the key of their request; see the port `AnswerCache`. Where a request was sent is no matter.

    Parameters
    ----------
    path : made at the first answer where it is not there.
    replay_only : whether a request without an answer is an error.

    Raises
    ------
    CassetteError
        The file cannot be read, or is no cassette of this version.
    """

    is_quick = True  # all of it is in memory

    def __init__(self, path: Path, *, replay_only: bool) -> None:
        self._path = path
        self._replay_only = replay_only
        self._writing = threading.Lock()
        self._lines: dict[str, Mapping[str, Any]] = {}
        self._seen: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where somebody else has changed it. Blocks."""
        with self._writing:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._lines, self._seen = {}, None
                self._check_there()
                return
            if self._seen != (status.st_mtime_ns, status.st_size):
                self._lines = {line["key"]: line for line in _read_lines(self._path)}
                self._seen = (status.st_mtime_ns, status.st_size)

    def _check_there(self) -> None:
        if self._replay_only:
            raise CassetteError(
                f"There is no cassette {self._path} to replay.",
                fix=f"Record it first, with cache={str(self._path)!r}.",
            )
        if not self._path.parent.is_dir():
            raise CassetteError(f"There is no folder {self._path.parent} for the cassette.", fix="Make it first.")

    def find(self, key: str, place: str, request: Request) -> Reply | None:  # noqa: ARG002 - the port's
        """Return a recorded answer.

        Raises
        ------
        CassetteError
            There is none, and the cassette is only replayed; the message has the recorded prompt that comes nearest.
        """
        line = self._lines.get(key)
        if line is not None:
            return read(Reply, deepcopy(line["reply"]))  # its blocks are the caller's own
        if self._replay_only:
            raise CassetteError(
                f"The cassette {self._path} has no answer to this request. {self._nearest(request)}",
                fix=f"Record it with cache={str(self._path)!r}.",
            )
        return None

    def keep(self, place: str, request: Request, reply: Reply) -> None:  # noqa: ARG002 - the port's
        """Record an answer.

        Raises
        ------
        CassetteError
            The file cannot be written.
        """
        line = {"key": reply.key, "model": reply.model, "request": plain(request), "reply": plain(reply)}
        with self._writing:
            self._lines[reply.key] = line
            self._append(line)

    def _append(self, *lines: Mapping[str, Any]) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:  # one write, which no other process comes between
                if file.tell() == 0:
                    lines = ({_KIND: _VERSION}, *lines)
                file.write("".join(f"{dumps(line)}\n" for line in lines).encode(errors="replace"))
            status = self._path.stat()
        except OSError as error:
            raise CassetteError(
                f"The cassette {self._path} cannot be written: {error.strerror or error}.",
                fix="Make its folder writable, or name another file.",
            ) from error
        self._seen = (status.st_mtime_ns, status.st_size)

    def wait_until_durable(self) -> bool:
        """Return that it is written: `keep` does so at once."""
        return True

    def count_use(self, key: str, place: str) -> None:
        """Do nothing: a file that is only replayed stays as it is."""

    def forget(self, key: str) -> None:
        """Give an answer no more: write that down as a line without a reply."""
        if self._lines.pop(key, None) is not None:
            with self._writing:
                self._append({"key": key, "reply": None})

    def _nearest(self, request: Request) -> str:
        """Return how a request differs from the recorded one that is most like it."""
        wanted = _words(plain(request))
        recorded = [_words(line["request"]) for line in list(self._lines.values())[-_COMPARED:]]
        if not recorded:
            return "It holds no answers at all."
        nearest = max(recorded, key=lambda words: _likeness(wanted, words))
        if nearest == wanted:
            return "A request of the same words was recorded, for another model or for files of other contents."
        lines = difflib.unified_diff(
            nearest.splitlines(), wanted.splitlines(), "recorded", "this request", lineterm="", n=1
        )
        shown = list(lines)[:_DIFF_LINES]
        return "\n".join(["The recorded request that comes nearest differs so:", *shown, ""])


def _words(request: Mapping[str, Any]) -> str:
    """Return a request as text to compare: its prompt, and a line for each of its other parts that was given."""
    prompt = request["prompt"]
    text = (
        prompt
        if isinstance(prompt, str)
        else "\n".join(part if isinstance(part, str) else dumps(part) for part in prompt)
    )
    others = [
        f"{name}: {value if isinstance(value, str) else dumps(value)}"
        for name, value in request.items()
        if name != "prompt" and value not in (None, [], {})
    ]
    return "\n".join([*others, text])


def _likeness(one: str, other: str) -> float:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return matcher.quick_ratio()


def _read_lines(path: Path) -> list[Mapping[str, Any]]:
    try:
        texts = path.read_text(encoding="utf-8").split("\n")[:-1]  # the last one is empty, or was not written whole
        first, *lines = [json.loads(text) for text in texts] or [{_KIND: _VERSION}]
    except OSError as error:
        raise CassetteError(
            f"The cassette {path} cannot be read: {error.strerror or error}.", fix="Name another file."
        ) from error
    except ValueError as error:
        raise CassetteError(f"{path} is no cassette: {error}.", fix="Record it anew, or name another file.") from error
    version = first.get(_KIND) if isinstance(first, dict) else None
    if version is None:
        raise CassetteError(f"{path} is no cassette.", fix="Record it anew, or name another file.")
    if version != _VERSION:
        raise CassetteError(
            f"The cassette {path} has the schema version {version}; this AgentFlow reads {_VERSION}.",
            fix="Record it anew, or use the AgentFlow that recorded it.",
        )
    kept: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        if not isinstance(line, dict) or "key" not in line or "reply" not in line:
            raise CassetteError(f"{path} is no cassette: a line has no key or no reply.", fix="Record it anew.")
        kept.pop(line["key"], None)
        if line["reply"] is not None:
            kept[line["key"]] = line
    return list(kept.values())


def open_cassette(source: str) -> Cassette:
    """Return the cassette that ``PATH`` or ``replay:PATH`` means. Blocks.

    Raises
    ------
    CassetteError
        It cannot be used.
    """
    replay_only = source.startswith(REPLAY)
    path = Path(source.removeprefix(REPLAY)).expanduser().resolve()
    if path.is_dir():
        raise CassetteError(f"{path} is a folder, no cassette.", fix="Name a file.")
    cassette = _cassette(path, replay_only=replay_only)
    cassette.refresh()
    return cassette


@cache
def _cassette(path: Path, *, replay_only: bool) -> Cassette:
    return Cassette(path, replay_only=replay_only)
