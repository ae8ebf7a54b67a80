"""A local endpoint in a process of its own, as the tests see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agentflow.local.handle import LocalBedrock

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
HAIKU_BARE = HAIKU.removeprefix("us.")
SERVE = [sys.executable, "-m", "agentflow", "local", "serve"]


class Endpoint(LocalBedrock):
    """A running endpoint."""

    def __init__(self, first_line: str, process: subprocess.Popen[str] | None = None) -> None:
        super().__init__(next(word for word in first_line.split() if word.startswith("http://")))
        self.first_line = first_line
        self._process = process

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def follow(self, **script: Any) -> None:
        """Give the scripted model another script."""
        self.script(**script)

    def say(self, text: str, **more: Any) -> Any:
        """Call Converse with one user message."""
        return self.client.converse(**{"modelId": HAIKU, "messages": user(text), **more})

    def stream(self, text: str, **more: Any) -> Any:
        """Call ConverseStream with one user message and return its events."""
        return self.client.converse_stream(**{"modelId": HAIKU, "messages": user(text), **more})["stream"]


def user(text: str) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def text_of(response: Mapping[str, Any]) -> str:
    text: str = response["output"]["message"]["content"][0]["text"]
    return text


@contextmanager
def running(*arguments: str, stderr: int | None = None, **environment: str) -> Iterator[Endpoint]:
    """Run `agentflow local serve` until the end of the block."""
    with subprocess.Popen(
        [*SERVE, *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Endpoint(process.stdout.readline(), process)
        finally:
            process.terminate()
            process.wait(10)
