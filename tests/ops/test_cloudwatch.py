"""Log records in CloudWatch Logs, which is moto's server: by one setting, in batches, and never at a run's expense."""

from __future__ import annotations

import json
import sys
import time

import pytest

from agentflow import Workflow, WorkflowConfig
from agentflow.core.errors import InputError
from agentflow.ops import signals
from tests.ops import emf_rules
from tests.ops.conftest import Aws, Log
from tests.utils.test_redaction import KEYS, logs_of


def workflow() -> Workflow:
    made = Workflow(WorkflowConfig(name="logged", journal=False))
    made.add_step("one", lambda: 1)
    return made


def test_one_line_of_configuration_logs_to_a_group(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/app")
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")
    results = [workflow().run() for _ in range(20)]
    signals.flush()
    signals.reset()
    results.append(workflow().run())  # the group is there now
    signals.flush()
    logs = aws.client("logs")
    lines = [event["message"] for event in logs.filter_log_events(logGroupName="/aws/agentflow/app")["events"]]
    records = [json.loads(line) for line in lines]
    ended = [record["run_id"] for record in records if record.get("event") == "run"]
    assert ended == [result.run_id for result in results]
    assert {record["level"] for record in records} == {"INFO"}
    embedded = [emf_rules.parsed(line) for line in lines if '"_aws"' in line]
    assert embedded
    for document in embedded:
        emf_rules.check(document)
    assert len(logs.describe_log_streams(logGroupName="/aws/agentflow/app")["logStreams"]) == 1


DEBUGGED = """
import logging
logging.basicConfig(level=logging.DEBUG)
from agentflow import Workflow
workflow = Workflow("planted-name")
workflow.add_step("one", lambda: 1)
workflow.run()
"""


@pytest.mark.parametrize("metrics", ["logs", "cloudwatch"])
def test_debug_logs_of_sending_leak_nothing(moto_url: str, metrics: str) -> None:
    logs = logs_of(
        DEBUGGED,
        AGENTFLOW_LOG_GROUP="/aws/agentflow/debugged",
        AGENTFLOW_METRICS=metrics,
        AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=moto_url,
        AWS_ENDPOINT_URL_CLOUDWATCH=moto_url,
        **KEYS,
    )
    assert "PutLogEvents" in logs
    for secret in ("planted-token", "planted-secret"):
        assert secret not in logs
    assert "Signature=" not in logs.replace("Signature=[redacted]", "")


def test_a_cloudwatch_that_is_away_neither_fails_nor_holds_a_run_up(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/app")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    result = workflow().run()
    assert (result.status, result.reader_failures) == ("ok", 0)
    signals.flush()
    until = time.monotonic() + 5
    while "nothing is logged" not in log.text and time.monotonic() < until:
        time.sleep(0.01)
    assert log.text.count("nothing is logged to /aws/agentflow/app of CloudWatch: ") == 1


def test_without_watchtower_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/app")
    monkeypatch.setitem(sys.modules, "watchtower", None)
    with pytest.raises(InputError, match=r"needs the package watchtower\. Run: pip install 'agentflow-bedrock\[ops\]'"):
        workflow().run()


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_LOG_GROUP", "/aws/agentflow/my app")
    with pytest.raises(InputError, match="is no name of a log group"):
        workflow().run()
