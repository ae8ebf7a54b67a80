"""An incident: its severity by the runbook's table, its timeline, its drafts, and what may not be in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import agentflow
from agentflow.core.errors import AgentFlowError, InputError
from agentflow.ops.diagnosis.finding import CAUSES
from agentflow.ops.drills import rehearse
from agentflow.ops.incident.incident import Incident, open_incident
from agentflow.ops.incident.redacted import shareable
from tests.endpoint import Endpoint
from tests.ops.lines import Line, run_lines, runs, written


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "home"))


def incident_of(tmp_path: Path, lines: list[Line], **options: Any) -> Incident:
    return open_incident(since="1h", source=written(tmp_path / "log.jsonl", lines), **options)


@pytest.mark.parametrize(
    ("ok", "failed", "severity"),
    [(10, 0, "P3"), (96, 4, "P3"), (95, 5, "P2"), (80, 20, "P2"), (79, 21, "P1"), (1, 2, "P1"), (0, 3, "P0")],
)
def test_the_severity_is_that_of_the_runbooks_table(ok: int, failed: int, severity: str, tmp_path: Path) -> None:
    incident = incident_of(tmp_path, runs(ok, failed))
    assert incident.classified.severity == severity
    figures = [verdict.figure for verdict in incident.classified.criteria if "error rate" in verdict.check]
    assert all(f"{failed:,} of {ok + failed:,} run" in figure for figure in figures)
    assert incident.impact.failed == failed
    assert (incident.began_at is None) == (failed == 0)


def test_a_person_decides_and_the_table_is_still_told(tmp_path: Path) -> None:
    incident = incident_of(tmp_path, runs(90, 10), severity="P0")
    assert incident.classified.name == "P0 Critical"
    assert incident.classified.respond == "immediate"
    assert "by the table it is P2" in incident.classified.why
    with pytest.raises(InputError, match="severity='P7'"):
        incident_of(tmp_path, [], severity="P7")


def test_a_workflow_that_fails_altogether_is_a_partial_outage(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    lost = [run_lines(f"r-{n}", now, status="failed", workflow="mail", error="ValueError") for n in range(3)]
    incident = incident_of(tmp_path, [*runs(97, 0), *(line for lines in lost for line in lines)])
    [partly] = [each for each in incident.classified.criteria if "Partial" in each.check]
    assert (partly.verdict, partly.figure) == ("found", "1 of 2 workflows failed altogether: mail")
    assert incident.classified.severity == "P1"


def test_the_timeline_has_runs_changes_causes_alarms_and_notes_in_order(tmp_path: Path) -> None:
    begin = datetime.now(UTC) - timedelta(minutes=20)
    lines: list[Line] = []
    for number in range(12):
        bad = {"error": "AccessDeniedException", "error_type": "AccessDeniedError"} if number > 5 else {}
        status = "failed" if bad else "ok"
        version = "v2" if number > 5 else "v1"
        lines += run_lines(f"r-{number}", begin + timedelta(seconds=10 * number), status=status, version=version, **bad)
    lines += run_lines("r-mended", begin + timedelta(minutes=8), version="v3")
    incident = incident_of(tmp_path, lines)
    incident.note("Rolled back", at=begin + timedelta(minutes=7))
    incident.note("Rolled back")  # the cell was run again
    incident.note("Called the team lead", at="00:00")
    told = [(event.kind, event.what) for event in incident.timeline()]
    assert told[0] == ("note", "Called the team lead")
    told = told[1:]
    assert told[0] == ("run", "last good run before: r-5")
    assert told[1][1].startswith("step reply of triage is another, in run r-6")
    assert {"alarm", "cause", "run"} <= {kind for kind, _ in told[2:-3]}
    assert any(what.startswith("agentflow-high-error-rate is over its threshold") for _, what in told)
    assert told[-3] == ("note", "Rolled back")
    assert told[-1] == ("run", "first good run after: r-mended")
    assert incident.state == "1 good run since the last failure"
    again = incident_of(tmp_path, lines)
    assert again.folder == incident.folder
    assert [event for event in again.timeline() if event.kind == "note"]
    assert list(again.timeline().to_frame()["at"]) == sorted(again.timeline().to_frame()["at"])
    with pytest.raises(InputError, match="is no moment"):
        incident.note("x", at="half past")


SECRETS = {
    "AKIAIOSFODNN7EXAMPLE": "arn:aws:iam::210987654321:user/x used AKIAIOSFODNN7EXAMPLE",
    "210987654321": "arn:aws:bedrock:us-east-1:210987654321:inference-profile/a",
    "hunter2secret": "password=hunter2secret",
    "q9Zt": "https://user:q9Zt@proxy.example.org/x",
    "ada@example.org": "ask ada@example.org",
    "/home/ada": "no such file /home/ada/keys",
    "c2VjcmV0LXRva2VuLTEyMzQ1": "Authorization: Bearer c2VjcmV0LXRva2VuLTEyMzQ1",
}
PROMPT = "My card number is 4111 and I am Grace"


def test_nothing_that_may_not_be_shown_is_in_what_is_told_or_sealed(tmp_path: Path) -> None:
    begin = datetime.now(UTC) - timedelta(minutes=9)
    lines: list[Line] = []
    for number, planted in enumerate(SECRETS.values()):
        known = {"error": f"AccessDeniedException: {planted}", "error_type": "AccessDeniedError", "fix": planted}
        lines += run_lines(f"r-{number}", begin, status="failed", **known)
    quoting = {"error": f"ValueError: cannot read {PROMPT!r}", "error_type": "ValueError", "prompt": PROMPT}
    lines += run_lines("r-quoting", begin, status="failed", answer=PROMPT, message=PROMPT, **quoting)
    lines += run_lines("r-1234567890ab", begin, error=f"{PROMPT}!", error_type=PROMPT)
    incident = incident_of(tmp_path, lines)
    incident.note(f"Tried {' and '.join(SECRETS.values())}")
    evidence = incident.seal()
    shown = [incident._repr_html_(), repr(incident), incident.timeline()._repr_html_(), incident.found._repr_html_()]
    shown += [incident.stakeholder_message().text, incident.post_mortem().text, incident.found.to_json()]
    files = unpack(evidence.path)
    texts = [*shown, *(content.decode("utf-8", "replace") for content in files.values())]
    for secret in [*SECRETS, PROMPT, "Grace"]:
        assert not [text for text in texts if secret in text], secret
    assert "r-1234567890ab" in files["records.jsonl"].decode()  # twelve digits of an id are no account
    assert incident.found.findings[0].cause == "access_denied"
    assert "[words left out: they may quote a prompt or an answer]" in files["records.jsonl"].decode()


def unpack(path: Path) -> dict[str, bytes]:
    import tarfile

    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "r-123456789012",
        "0f9a1b2c-1111-4222-8333-123456789012",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "12,345 ms",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert shareable(text) == text


def test_text_of_others_is_no_markup(tmp_path: Path) -> None:
    evil = "ServiceError: <script>alert(1)</script> [click](https://evil.example) | `x` $y$ **b**"
    failure = {"error": evil, "error_type": "AccessDeniedError", "workflow": "<img src=x>|"}
    incident = incident_of(tmp_path, run_lines("r-1", datetime.now(UTC), status="failed", **failure))
    for html in (incident._repr_html_(), incident.timeline()._repr_html_(), incident.classified.criteria._repr_html_()):
        assert "<script" not in html
        assert "<img" not in html
    for text in (incident.post_mortem().text, incident.stakeholder_message().text):
        assert "<script" not in text
        assert "<img" not in text
        assert "[click](" not in text
        assert "https://" not in text


def test_a_draft_that_was_edited_is_kept(tmp_path: Path) -> None:
    incident = incident_of(tmp_path, runs(3, 3))
    first = incident.post_mortem()
    assert incident.post_mortem().path == first.path  # nobody has edited it
    first.path.write_text("What really happened", encoding="utf-8")
    second = incident.post_mortem()
    assert second.path.name == "post_mortem.new.md"
    assert first.path.read_text(encoding="utf-8") == "What really happened"
    files = unpack(incident.seal().path)
    assert files["post_mortem.md"] == b"What really happened"
    assert "## Root cause" in first.text
    assert "3 of 6 runs failed (50.0%)" in first.text


def test_evidence_tells_when_a_byte_was_changed(tmp_path: Path) -> None:
    evidence = incident_of(tmp_path, runs(3, 3)).seal({"store": agentflow_check()})
    assert [verdict.verdict for verdict in evidence.verify()] == ["ok"] * (len(evidence.files) + 1)
    assert {"incident.json", "findings.json", "records.jsonl", "health.json", "versions.json"} <= {*evidence.files}
    assert {"stakeholder_message.md", "post_mortem.md"} <= {*evidence.files}
    facts = json.loads(unpack(evidence.path)["incident.json"])
    assert (facts["severity"], facts["failed"]) == ("P1", 3)
    assert evidence.path.stat().st_mode & 0o777 == 0o600
    assert evidence.path.with_name(f"{evidence.path.name}.sha256").read_text().startswith(evidence.sha256)
    changed = bytearray(evidence.path.read_bytes())
    changed[len(changed) // 2] ^= 1
    evidence.path.write_bytes(changed)
    with pytest.raises(InputError, match="is not what was sealed"):
        evidence.verify()


def agentflow_check() -> Any:
    from agentflow.ops.health.report import Check

    return Check("ok", "42 runs: /home/ada/.agentflow")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        incident_of(tmp_path, runs(1, 1), folder=tmp_path / "file")


def test_an_empty_window_is_an_incident_without_figures(tmp_path: Path) -> None:
    incident = incident_of(tmp_path, [])
    assert incident.classified.severity == "P3"
    assert incident.state == "no run failed"
    assert incident.timeline() == ()
    assert "no fault found" in incident.stakeholder_message().text
    assert "No rule found a cause" in incident.post_mortem().text
    assert incident.seal().verify()


def test_no_such_run_is_said() -> None:
    with pytest.raises(AgentFlowError, match=r"and so no 'r-7f3a'"):
        open_incident("r-7f3a")


@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_found_in_redacted_records_too(cause: str, scripted: Endpoint) -> None:
    rehearse(cause, scripted)
    found = agentflow.diagnose()
    assert [each.cause for each in found.findings] == [cause]
    assert [each.cause for each in Incident(found).found.findings] == [cause]
