"""The metrics of runs, as documents that CloudWatch takes and by PutMetricData."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.ops import metrics, signals
from agentflow.ops.embedded_metrics import documents
from agentflow.ops.metrics import METRICS, Samples, without_dimension
from agentflow.ops.publishing import batched_data
from tests.endpoint import HAIKU, Endpoint
from tests.ops import emf_rules
from tests.ops.conftest import Aws, Log

AT = datetime(2026, 11, 25, tzinfo=UTC)


def workflow_of(client: BedrockClient, name: str = "triage") -> Workflow:
    workflow = Workflow(WorkflowConfig(name=name, journal=False))
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="About {topic}"))
    workflow.add_step("check", lambda ask, topic: 1 / len(topic))
    return workflow


def runs(client: BedrockClient, scripted: Endpoint) -> None:
    """Four runs: one fails, one has to ask twice, one is of another workflow."""
    scripted.faults({"fault": "unavailable", "first": 1})
    workflow_of(client).run(topic="tea")
    scripted.faults({"fault": "throttled_requests", "first": 1})
    workflow_of(client).run(topic="milk")
    scripted.faults()
    with pytest.raises(WorkflowError):
        workflow_of(client).run(topic="")
    workflow_of(client, name="Prüfung").run(topic="rum")


def values(found: list[dict[str, Any]], metric: str, **dimension: str) -> list[float]:
    """Return the values of a metric in documents; those of all of them without a dimension."""
    result: list[float] = []
    for document in found:
        if metric in document and all(document.get(name) == value for name, value in dimension.items()):
            some = document[metric]
            result += some if isinstance(some, list) else [some]
    return sorted(result)


def test_documents_of_real_runs_are_valid_and_say_what_happened(
    scripted: Endpoint, client: BedrockClient, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")
    runs(client, scripted)
    signals.flush()
    found = [emf_rules.parsed(line) for line in log.text.splitlines() if '"_aws"' in line]
    for document in found:
        emf_rules.check(document)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == "AgentFlow"
            assert [] in directive["Dimensions"]
    assert values(found, "WorkflowSuccess") == [0, 1, 1, 1]
    assert values(found, "WorkflowFailure", Workflow="triage") == [0, 0, 1]
    assert values(found, "WorkflowFailureRate") == [0, 0, 0, 100]
    assert len(values(found, "WorkflowDuration")) == 4
    assert max(values(found, "ActiveWorkflows")) == 1
    assert values(found, "AgentRetryRate") == [0, 0, 100, 100]
    assert values(found, "AgentErrorRate") == [0, 0, 0, 0, 0, 0, 0, 100]
    assert len(values(found, "AgentExecutionTime")) == 8
    assert values(found, "ThrottlingRate", ModelId=HAIKU) == [0, 0, 0, 0, 0, 100]
    assert values(found, "ModelErrorRate") == [0, 0, 0, 0, 0, 100]
    assert len(values(found, "BedrockLatency")) == len(values(found, "QueueTime")) == 4
    tokens = [sum(values(found, name)) for name in ("InputTokens", "OutputTokens", "TokenUsage")]
    assert tokens[0] + tokens[1] == tokens[2] > 0
    assert values(found, "CostUSD") == [0, 0, 0, 0]
    assert values(found, "LimiterHeadroom")  # the pace was learned from the refusal
    named = {name for document in found for name in METRICS if name in document}
    assert named == set(METRICS)


def test_all_metrics_are_there_for_the_runbooks_commands(
    scripted: Endpoint, client: BedrockClient, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "cloudwatch")
    runs(client, scripted)
    signals.flush()
    cloudwatch = aws.client("cloudwatch")
    now = datetime.now(UTC)

    def statistics(metric: str, statistic: str, dimensions: Any = ()) -> Any:
        [point] = cloudwatch.get_metric_statistics(
            Namespace="AgentFlow",
            MetricName=metric,
            Dimensions=list(dimensions),
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=86400,
            Statistics=[statistic],
        )["Datapoints"]
        return point[statistic]

    listed = cloudwatch.list_metrics(Namespace="AgentFlow")["Metrics"]
    plain = {metric["MetricName"] for metric in listed if not metric["Dimensions"]}
    assert plain == set(METRICS)
    assert statistics("WorkflowSuccess", "Sum") == 2 * 3  # moto adds up over dimensions, which CloudWatch never does
    assert statistics("WorkflowFailureRate", "Average") == 25
    assert statistics("WorkflowFailure", "Sum", [{"Name": "Workflow", "Value": "triage"}]) == 1


def test_latency_is_without_the_wait_for_a_connection(
    scripted: Endpoint, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")
    scripted.follow(text="tea", latency_ms=150)
    client = BedrockClient("us-east-1", endpoint_url=scripted.url, max_connections=1)
    workflow = Workflow(WorkflowConfig(name="queue", journal=False))
    for name in "abc":
        workflow.add_step(name, SimpleAgent(AgentConfig(name="a"), client, prompt_template="Hello"))
    workflow.run()
    signals.flush()
    found = [emf_rules.parsed(line) for line in log.text.splitlines() if '"_aws"' in line]
    queued, latency = values(found, "QueueTime"), values(found, "BedrockLatency")
    assert len(queued) == len(latency) == 3
    assert queued[2] >= 290  # behind two others
    assert latency[0] >= 150
    assert sorted(record["queue_ms"] for record in log.records("attempt")) == pytest.approx(queued, rel=0.01)


def test_a_row_counts_as_a_run_and_a_step_that_is_a_workflow_does_not(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "logs")
    inner = Workflow(WorkflowConfig(name="inner", journal=False))
    inner.add_step("divide", lambda number: 1 / number)
    outer = Workflow(WorkflowConfig(name="outer", journal=False, on_error="continue"))
    outer.add_step("rows", inner, {"number": [1, 0, 2]}, map_over="number")
    outer.add_step("step", inner, {"number": 1})
    with pytest.raises(WorkflowError):
        outer.run()
    signals.flush()
    found = [emf_rules.parsed(line) for line in log.text.splitlines() if '"_aws"' in line]
    assert values(found, "WorkflowFailure", Workflow="inner") == [0, 0, 1]
    assert values(found, "WorkflowFailure", Workflow="outer") == [1]
    assert values(found, "AgentErrorRate", Workflow="inner") == [0, 0, 0, 100]
    assert values(found, "AgentErrorRate", Workflow="outer") == []
    assert max(values(found, "ActiveWorkflows")) > 1
    assert values(found, "ActiveWorkflows")[0] == 0


def test_metrics_that_cannot_be_sent_are_lost_and_said_once(
    client: BedrockClient, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "cloudwatch")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    for _ in range(2):
        assert workflow_of(client).run(topic="tea").status == "ok"
        signals.flush()
    assert log.text.count("metrics could not be published") == 1


def test_an_unknown_kind_of_metrics_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_METRICS", "prometheus")
    ran = []
    workflow = Workflow(WorkflowConfig(name="x", journal=False))
    workflow.add_step("one", lambda: ran.append(1))
    with pytest.raises(Exception, match="'prometheus' is unknown"):
        workflow.run()
    assert ran == []


samples = st.dictionaries(
    st.one_of(st.none(), st.tuples(st.sampled_from(["Workflow", "ModelId"]), st.text())),
    st.dictionaries(
        st.sampled_from(list(METRICS)),
        st.dictionaries(st.floats(0, 1e9), st.integers(1, 250), min_size=1, max_size=160).map(Counter),
        min_size=1,
    ),
    max_size=3,
)


def count(counted: Mapping[float, int]) -> int:
    return sum(counted.values())


@settings(max_examples=25)
@given(samples)
def test_any_samples_become_valid_documents_that_lose_none(taken: Samples) -> None:
    made = [emf_rules.parsed(json.dumps(document)) for document in documents(taken, 1_795_000_000_000)]
    for document in made:
        emf_rules.check(document)
    for name, counted in without_dimension(taken).get(None, {}).items():
        assert len(values(made, name)) == count(counted)


@settings(max_examples=25)
@given(samples)
def test_any_samples_become_data_within_the_limits_of_put_metric_data(taken: Samples) -> None:
    calls = list(batched_data(taken, AT))
    data = [datum for call in calls for datum in call]
    assert all(len(call) <= 1000 for call in calls)
    assert all(1 <= len(datum["Values"]) == len(datum["Counts"]) <= 150 for datum in data)
    for name, counted in without_dimension(taken).get(None, {}).items():
        plain = [datum for datum in data if datum["MetricName"] == name and not datum["Dimensions"]]
        assert sum(sum(datum["Counts"]) for datum in plain) == count(counted)


def test_the_price_in_the_words_above_the_metrics_is_right() -> None:
    with_workflow, with_model = (list(METRICS).index(name) for name in ("BedrockLatency", "ActiveWorkflows"))
    per_workflow, per_model, of_none = with_workflow, with_model - with_workflow, len(METRICS) - with_model
    assert f"{per_workflow} + {per_workflow} W + {per_model} + {per_model} M + {of_none} metrics" in str(
        metrics.__doc__
    )

    def dollars(workflows: int, models: int) -> float:
        return 0.3 * (per_workflow * (1 + workflows) + per_model * (1 + models) + of_none)

    assert re.findall(r"(\d+\.\d\d) dollars\s", str(metrics.__doc__))[1:] == [f"{dollars(1, 1):.2f}"]
    assert f"{dollars(5, 3):.2f} for 5 workflows on 3 models" in str(metrics.__doc__)
