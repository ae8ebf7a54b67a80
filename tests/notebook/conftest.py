from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endpoint import Endpoint
from tests.notebook.shell import Shell, loaded_shell


@pytest.fixture
def shell(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell with the extension loaded, whose prompts ask the scripted endpoint."""
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    with loaded_shell(capfd) as loaded:
        yield loaded
