"""What is checked on this machine itself: the store, its disk, and the versions of what is installed."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from agentflow import __version__
from agentflow.ops.health.report import Check
from agentflow.store.checkup import journal_state
from agentflow.utils.env import home_folder
from agentflow.views.format import plural

LEAST_FREE_BYTES = 100_000_000  # less, and the next runs may find no room for their journal
LITTLE_FREE_BYTES = 1_000_000_000
_DISTRIBUTION = "agentflow-bedrock"


def store() -> Check:
    """Return whether runs can be kept."""
    folder = home_folder()
    if (state := journal_state(folder)) is not None:
        return Check("ok", f"{plural(state.runs, 'run')}, {_size(state.size_bytes)}: {state.path}")
    there = _nearest(folder)
    if os.access(there, os.W_OK | os.X_OK):
        return Check("ok", f"no run yet; the first makes {folder}")
    return Check(
        "failed",
        f"{folder} is not there, and {there} cannot be written",
        "Set AGENTFLOW_HOME to a folder that can, or make this one writable.",
    )


def disk() -> Check:
    """Return whether there is room for what runs write."""
    folder = _nearest(home_folder())
    usage = shutil.disk_usage(folder)
    figure = f"{_size(usage.free)} of {_size(usage.total)} free at {folder}"
    fix = "Free some space: agentflow.prune_runs(older_than_days=30), or AGENTFLOW_RETENTION_DAYS=30."
    if usage.free < LEAST_FREE_BYTES:
        return Check("failed", figure, fix)
    return Check("warning", figure, fix) if usage.free < LITTLE_FREE_BYTES else Check("ok", figure)


def versions() -> Check:
    """Return whether what is installed is what AgentFlow asks for."""
    figure = f"agentflow {__version__}, Python {platform.python_version()}, boto3 {_version('boto3')}"
    if wrong := _unfit():
        needs = " ".join(f"'{requirement}'" for requirement in wrong)
        found = ", ".join(f"{name} {_version(name) or 'is missing'}" for name in map(_name, wrong))
        return Check("failed", f"{found}; AgentFlow needs {', '.join(wrong)}", f"pip install --upgrade {needs}")
    return Check("ok", figure)


def _unfit() -> list[str]:
    """Return what AgentFlow requires and is not installed as such."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:  # it runs from a folder, and nobody says what it needs
        return []
    needed = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [
        f"{each.name}{each.specifier}"
        for each in needed
        if (found := _version(each.name)) is None or not each.specifier.contains(found, prereleases=True)
    ]


def _name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _size(size: float) -> str:
    """Write a number of bytes.

    >>> _size(512), _size(1_500_000), _size(41_200_000_000)
    ('512 B', '1.5 MB', '41.2 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
