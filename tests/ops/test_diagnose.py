"""`diagnose` over its sources, what it says of bad input, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.cli import main
from agentflow.core.errors import AgentFlowError
from agentflow.ops.deployment.alarms import alarms
from agentflow.ops.deployment.config import DeploymentConfig
from agentflow.ops.diagnosis.alarms import ALARMS
from agentflow.ops.drills import rehearse
from tests.endpoint import Endpoint
from tests.ops.conftest import Aws, Log

GROUP = "/aws/agentflow/diagnosed"


def test_cloudwatch_read_access_is_enough(
    scripted: Endpoint, aws: Aws, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = aws.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="a")
    rehearse("access_denied", scripted)
    events = [
        {
            "timestamp": int(datetime.fromisoformat(record["timestamp"]).timestamp() * 1000),
            "message": json.dumps(record),
        }
        for record in log.records()
    ]
    events += [{"timestamp": events[-1]["timestamp"], "message": text} for text in ("START RequestId: 1", '{"a": 1}')]
    logs.put_log_events(logGroupName=GROUP, logStreamName="a", logEvents=events)
    monkeypatch.setenv("AGENTFLOW_HOME", "nowhere")
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", GROUP)
    found = agentflow.diagnose(since="30m", source="cloudwatch", alarm="agentflow-high-error-rate")
    [finding] = found.findings
    assert finding.cause == "access_denied"
    assert finding.severity == "P0"
    assert "bedrock:InvokeModel" in finding.fix
    assert any("1 lines are no JSON" in note for note in found.notes)
    assert any("1 lines are of other programs" in note for note in found.notes)
    assert any(note.startswith("agentflow-high-error-rate: 100%") for note in found.notes)
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/none")
    with pytest.raises(AgentFlowError, match="AGENTFLOW_LOG_GROUP"):
        agentflow.diagnose(source="cloudwatch")


def test_no_credentials_are_a_clear_message() -> None:
    with pytest.raises(AgentFlowError, match=r"CloudWatch Logs cannot be asked .* credentials"):
        agentflow.diagnose(source="cloudwatch")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "r-none"], "The journal has no run yet"),
        (["--run", "last"], "The journal has no run yet"),
        (["--since", "yesterday"], "is no moment"),
        (["--source", "none.jsonl"], "There is no file 'none.jsonl'"),
        (["--alarm", "agentflow-high-eror-rate"], "did you mean 'agentflow-high-error-rate'"),
    ],
)
def test_bad_input_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_an_empty_window_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "--since", "30m", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["findings"] == []
    assert found["notes"] == ["no run has left a record in this time"]


def test_lines_that_are_damaged_or_of_others_are_left_out(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    record = {"timestamp": now.isoformat(), "run_id": "r-1", "event": "attempt", "execution_time": "fast", "error": 5}
    earlier = record | {"timestamp": (now - timedelta(minutes=9)).isoformat(), "tokens": [1], "step_id": {"a": 1}}
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([json.dumps(record), '{"run_id": "r-1', "[1]", json.dumps(earlier), '{"event": 3}']))
    found = agentflow.diagnose(source=path)
    assert found.findings == ()
    assert len(found.notes) == 3  # damaged, of others, a clock that was set back


def test_the_command_tells_it_in_words_and_as_json(scripted: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    [*_, run_id] = rehearse("throttling", scripted)
    assert main(["diagnose", "--since", "30m"]) == 0
    text = capsys.readouterr().out
    assert "throttling" in text
    assert "Fix: Ask for less" in text
    assert main(["diagnose", "--run", "last", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["window"] == f"run {run_id}"
    assert main(["diagnose", "--json"]) == 0
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding["cause"] == "throttling"
    assert finding["evidence"][0]["error"] == "ThrottlingException"
    assert {"confidence", "severity", "summary", "fix", "first_bad_minute", "affected_runs"} <= finding.keys()


def test_a_finding_is_a_card_and_a_chart_and_escapes_what_it_shows(scripted: Endpoint) -> None:
    rehearse("high_latency", scripted)
    found = agentflow.diagnose()
    assert "<script" not in found._repr_html_()
    assert "high_latency" in found._repr_html_()
    axes = found.findings[0].plot()
    assert axes.get_title(loc="left").startswith("high_latency")
    assert list(found.to_frame()["cause"]) == ["high_latency"]


_HANGING = """
import sys, time
from agentflow import Workflow
workflow = Workflow("stuck")
workflow.add_step("wait", lambda: print("on", flush=True) or time.sleep(600))
workflow.run()
"""


def test_a_run_that_hangs_and_one_that_was_killed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", _HANGING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        time.sleep(0.2)  # the journal writes what was started soon after
        assert agentflow.diagnose("last").findings == ()  # it has only just begun
        monkeypatch.setattr("agentflow.ops.diagnosis.times.HANG_SECONDS", 0.1)
        [finding] = agentflow.diagnose("last").findings
        assert finding.cause == "hang"
        assert "in step wait" in finding.summary
        assert "agentflow stop r-" in finding.fix
        process.kill()
    [finding] = agentflow.diagnose("last").findings
    assert finding.cause == "hang"
    assert "resume" in finding.fix


def test_the_alarms_that_are_told_of_are_those_that_are_deployed() -> None:
    config = DeploymentConfig(workflows=(Path("workflow.yaml"),), alarms={"cost_usd_per_hour": 10})  # type: ignore[arg-type]
    assert {alarm["AlarmName"] for alarm in alarms(config, "topic")} == set(ALARMS)


def test_the_rows_of_a_job_are_looked_at_together(scripted: Endpoint, client: BedrockClient, log: Log) -> None:
    scripted.follow(text="An answer of some more words than just five of them.")
    workflow = Workflow(WorkflowConfig(name="cut"))
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a", max_tokens=4), client, prompt_template="{text}"))
    workflow.map(pd.DataFrame({"text": [f"text {number}" for number in range(20)]}), progress=False)
    Path("log.jsonl").write_text(log.text)
    for source in ("store", "log.jsonl"):
        [finding] = agentflow.diagnose(source=source).findings
        assert finding.cause == "output_cut"
        assert "20 of 20 answers of rows.ask" in finding.summary
        assert "max_tokens=8" in finding.fix
        assert sorted(finding.evidence["item"]) == list(range(20))
