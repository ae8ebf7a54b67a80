"""Sealed evidence of an incident: an archive of what may be shown, which tells when a byte of it was changed."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow import __version__
from agentflow.core.errors import InputError
from agentflow.ops.archive import fetched, packed, unpacked, write_file, write_new
from agentflow.ops.incident.redacted import shareable
from agentflow.views.format import plural
from agentflow.views.verdicts import Verdict, Verdicts

if TYPE_CHECKING:
    import pandas as pd

    from agentflow.ops.incident.incident import Incident

_PACKAGES = ("boto3", "botocore", "pydantic", "tenacity", "pandas", "matplotlib", "papermill")


@dataclass(frozen=True)
class Evidence:
    """An archive that was written, and read again.

    Attributes
    ----------
    path : the archive; beside it lies its SHA-256, as `sha256sum --check` takes it.
    sha256 : of the archive. Whoever has it from elsewhere, such as a ticket, knows that nobody has changed the archive.
    files : the names in it.
    """

    path: Path
    sha256: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"{plural(len(self.files), 'file')} are sealed in {self.path} (SHA-256 {self.sha256})"

    def verify(self) -> Verdicts:
        """Compare the archive with its seal, and each file in it with the manifest."""
        return verify_evidence(self.path, self.sha256)


def sealed(incident: Incident, health: Mapping[str, Any] | None = None) -> Evidence:
    """Write what is known of an incident into an archive in its folder."""
    now = datetime.now(UTC)
    contents = {name: shareable(text).encode() for name, text in _texts(incident, health).items()}
    contents |= _charts(incident)
    path = incident.folder / f"evidence-{now:%Y%m%d-%H%M%S-%f}.tar.gz"
    write_new(str(path), packed(contents, now))
    path.chmod(0o600)
    digest = hashlib.sha256(fetched(str(path))).hexdigest()
    write_file(_seal_of(path), f"{digest}  {path.name}\n".encode())
    verify_evidence(path, digest)
    return Evidence(path, digest, tuple(contents))


def verify_evidence(path: str | Path, sha256: str | None = None) -> Verdicts:
    """Return whether sealed evidence is what was sealed, file by file.

    Parameters
    ----------
    path : the archive.
    sha256 : its seal, from where it was kept; default: the file `.sha256` beside it.

    Raises
    ------
    InputError
        The archive is another than the one that was sealed, is damaged, or is none of ours.
    """
    path = Path(path)
    archive = fetched(str(path))
    digest = hashlib.sha256(archive).hexdigest()
    expected = sha256 or fetched(str(_seal_of(path))).decode(errors="replace").partition(" ")[0]
    if digest != expected:
        raise InputError(
            f"{path} is not what was sealed: its SHA-256 is {digest}, the seal says {expected}.",
            fix="Take the archive from where it was kept first.",
        )
    contents = unpacked(archive, str(path))
    rows = [
        Verdict(name, "ok", plural(len(content), "byte"), limits=f"SHA-256 {hashlib.sha256(content).hexdigest()[:16]}…")
        for name, content in contents.items()
    ]
    return Verdicts([Verdict(path.name, "ok", plural(len(archive), "byte"), limits=f"SHA-256 {digest[:16]}…"), *rows])


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _texts(incident: Incident, health: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the files that are text."""
    drafts = {each.path.name: each.text for each in (incident.stakeholder_message(), incident.post_mortem())}
    kept = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in incident.folder.glob("*.md")}
    texts = {
        "incident.json": json.dumps(_facts(incident), indent=2),
        "findings.json": incident.found.to_json(),
        "records.jsonl": _lines(incident),
        "timeline.csv": incident.timeline().to_frame().to_csv(index=False),
        "versions.json": json.dumps(_versions(), indent=2),
        **(drafts | kept),  # as somebody may have edited them
    }
    if health is not None:
        checks = {
            name: {"state": check.state, "figure": check.figure, "fix": check.fix} for name, check in health.items()
        }
        texts["health.json"] = json.dumps(checks, indent=2)
    return texts


def _facts(incident: Incident) -> dict[str, Any]:
    impact = incident.impact
    return {
        "id": incident.id,
        "severity": incident.classified.severity,
        "why": incident.classified.why,
        "criteria": incident.classified.criteria.to_frame().to_dict(orient="records"),
        "began_at": incident.began_at.isoformat() if incident.began_at else None,
        "state": incident.state,
        "runs": impact.runs,
        "failed": impact.failed,
        "workflows": impact.workflows,
        "steps": impact.steps,
        "window": incident.found.window,
        "source": incident.found.source,
    }


def _lines(incident: Incident) -> str:
    """Return the records of the window as JSON lines, each without the fields that it does not have."""
    if incident.found.seen is None:
        return ""
    new: pd.DataFrame = incident.found.seen.new(incident.found.seen.records).drop(columns="is_new")
    rows = json.loads(new.to_json(orient="records", date_format="iso"))
    return "".join(json.dumps({name: value for name, value in row.items() if value is not None}) + "\n" for row in rows)


def _charts(incident: Incident) -> dict[str, bytes]:
    import io

    charts = {}
    for number, finding in enumerate(incident.found.findings, start=1):
        png = io.BytesIO()
        figure: Any = finding.plot().get_figure(root=True)
        figure.savefig(png, format="png")
        charts[f"chart-{number}-{finding.cause}.png"] = png.getvalue()
    return charts


def _versions() -> dict[str, str]:
    """Return what ran here: no name of the machine or of a person."""
    found = {"agentflow": __version__, "python": platform.python_version(), "system": platform.system()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
