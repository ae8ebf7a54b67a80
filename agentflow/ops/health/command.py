"""`agentflow health`: a line each for a person, or a JSON object for a program."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import warnings
from pathlib import Path

from agentflow.ops.health.checkup import health_check
from agentflow.utils.env import environment_value
from agentflow.views.health import health_text
from agentflow.views.text_table import WIDTH


def run_health(config: Path | None, *, call: bool, as_json: bool) -> int:
    """Check, print what was found, and return the exit code: 0 where nothing failed, else 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # such as of a retired model, which has its own line
        health = asyncio.run(health_check(call=call, config=config))
    if as_json:
        told = {name: {"ok": bool(check), "state": check.state, "figure": check.figure, "fix": check.fix}
                for name, check in health.items()}  # fmt: skip
        text = json.dumps(told, indent=2, ensure_ascii=False)
    else:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
        colours = sys.stdout.isatty() and not environment_value("NO_COLOR")
        text = health_text(health.records(), health.place, width=width, colours=colours)
    sys.stdout.write(text + "\n")
    return 0 if health.ok else 1
