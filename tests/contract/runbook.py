"""The operation runbook's own text, and its code blocks: they are run as it writes them."""

from __future__ import annotations

import re
from pathlib import Path

RUNBOOK = (Path(__file__).parent / "operation_runbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w*\n(.*?)```", RUNBOOK, re.DOTALL)


def block(part: str) -> str:
    """Return the one code block that has a part."""
    [found] = [text for text in BLOCKS if part in text]
    return str(found)
