"""The drill matrix: each cause is found where its fault is played, alone, and nothing is found in its control."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentflow.ops.diagnosis.diagnose import diagnose
from agentflow.ops.diagnosis.finding import CAUSES
from agentflow.ops.drills import DRILLS, rehearse
from tests.endpoint import Endpoint
from tests.ops.conftest import Log


@pytest.mark.parametrize("cause", CAUSES)
def test_a_drill_is_found_and_its_control_is_silent(cause: str, scripted: Endpoint, log: Log, tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    assert rehearse(cause, scripted, healthy=True)
    healthy = diagnose(since=begin)
    assert healthy.findings == (), healthy
    assert healthy.failed == 0
    control = log.text
    begin = datetime.now(UTC)
    run_ids = rehearse(cause, scripted)
    sick = diagnose(since=begin)
    assert [finding.cause for finding in sick.findings] == [cause], sick
    [finding] = sick.findings
    assert set(finding.affected_runs) <= set(run_ids)
    assert finding.first_bad_minute is not None
    assert finding.first_bad_minute <= datetime.now(UTC)
    assert len(finding.evidence) > 0
    assert finding.fix
    assert diagnose(finding.affected_runs[-1]).findings[0].cause == cause
    lines = tmp_path / "agentflow.jsonl"
    lines.write_text(control)
    assert diagnose(source=lines).findings == ()
    lines.write_text(log.text)  # the log alone shows it too
    [logged] = diagnose(since=begin, source=lines).findings
    assert (logged.cause, logged.severity) == (cause, finding.severity)
    assert set(logged.affected_runs) == set(finding.affected_runs)


def test_every_cause_has_a_drill() -> None:
    assert set(DRILLS) == set(CAUSES)
