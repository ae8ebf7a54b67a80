"""CloudWatch alarms for the thresholds of the operation runbook, as `put-metric-alarm` and CloudFormation take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentflow.ops.deployment.config import DeploymentConfig, Thresholds
from agentflow.ops.metrics import NAMESPACE

TOPIC = "agentflow-alerts"  # the runbook's
_PREFIX = "agentflow-"

_ENDED = {"ok": ("WorkflowSuccess", "Sum"), "failed": ("WorkflowFailure", "Sum")}

Alarm = dict[str, Any]


def alarms(config: DeploymentConfig, topic: Any) -> list[Alarm]:
    """Return the alarms, without those that the configuration leaves out.

    Rates are of all that ran, in whichever process: an average of the rates of each process would count one that does
    little like one that does much.

    Parameters
    ----------
    topic : the ARN of the topic that they are sent to, or what stands for it in a template.
    """
    return [{**alarm, "AlarmActions": [topic]} for alarm in _all(config.alarms)]


def alarm_arns(config: DeploymentConfig, account: str) -> list[str]:
    """Return the ARNs of the alarms."""
    place = f"arn:{config.partition}:cloudwatch:{config.region}:{account}:alarm"
    return [f"{place}:{alarm['AlarmName']}" for alarm in _all(config.alarms)]


def topic_arn(config: DeploymentConfig, account: str) -> str:
    """Return the ARN of the topic of the alarms."""
    return f"arn:{config.partition}:sns:{config.region}:{account}:{TOPIC}"


def _all(limits: Thresholds) -> Iterator[Alarm]:
    yield from _of_workflows(limits)
    yield from _of_agents_and_models(limits)
    if limits.nothing_ran_hours is not None:
        yield _nothing_ran(limits.nothing_ran_hours)
    if limits.cost_usd_per_hour is not None:
        what = f"AgentFlow spends more than ${limits.cost_usd_per_hour:g} an hour."
        an_hour = {"Period": 3600, "EvaluationPeriods": 1}
        yield _level(limits, "cost", what, ("CostUSD", "Sum"), limits.cost_usd_per_hour) | an_hour


def _of_workflows(limits: Thresholds) -> Iterator[Alarm]:
    success, failure = limits.workflow_success_percent, limits.workflow_failure_percent
    every = "(FILL(ok, 0) + FILL(failed, 0))"
    enough = f"{every} >= {limits.minimum_count}"
    yield {
        **_named("low-success-rate", f"Less than {success:g}% of the workflows succeed."),
        "Metrics": _metrics(_ENDED, limits.period_seconds, f"IF({enough}, 100 * FILL(ok, 0) / {every}, 100)"),
        **_judged(limits, success),
        "ComparisonOperator": "LessThanThreshold",
    }
    yield {
        **_named("high-error-rate", f"More than {failure:g}% of the workflows fail."),
        "Metrics": _metrics(_ENDED, limits.period_seconds, f"IF({enough}, 100 * FILL(failed, 0) / {every}, 0)"),
        **_judged(limits, failure),
    }
    minutes, ms, most = limits.workflow_duration_minutes, limits.high_latency_ms, limits.active_workflows
    duration = ("WorkflowDuration", "Average")
    what = f"Workflows take more than {minutes:g} minutes on average (the runbook's table)."
    yield _level(limits, "workflow-duration", what, duration, minutes * 60_000)
    what = f"Workflows take more than {ms:,g} ms on average (the runbook's alarm)."
    yield _level(limits, "high-latency", what, duration, ms)
    what = f"More than {most} workflows run at the same time in one process."
    yield _level(limits, "active-workflows", what, ("ActiveWorkflows", "Maximum"), most)


def _of_agents_and_models(limits: Thresholds) -> Iterator[Alarm]:
    agent, bedrock = limits.agent_execution_seconds, limits.bedrock_latency_seconds
    what = f"Agents take more than {agent:g} s on average."
    yield _level(limits, "agent-execution-time", what, ("AgentExecutionTime", "Average"), agent * 1000)
    what = f"Bedrock takes more than {bedrock:g} s to answer on average."
    yield _level(limits, "bedrock-latency", what, ("BedrockLatency", "Average"), bedrock * 1000)
    # A sample of these is 100 or 0, one for each execution or request: their average is the rate of them all.
    for name, threshold, things, metric in (
        ("agent-retry-rate", limits.agent_retry_percent, "agent executions are retried", "AgentRetryRate"),
        ("agent-error-rate", limits.agent_error_percent, "agent executions fail", "AgentErrorRate"),
        ("throttling-rate", limits.throttling_percent, "requests to Bedrock are throttled", "ThrottlingRate"),
        ("model-error-rate", limits.model_error_percent, "requests to Bedrock fail", "ModelErrorRate"),
    ):
        metrics = {"rate": (metric, "Average"), "every": (metric, "SampleCount")}
        expression = f"IF(FILL(every, 0) >= {limits.minimum_count}, rate, 0)"
        yield {
            **_named(name, f"More than {threshold:g}% of the {things}."),
            "Metrics": _metrics(metrics, limits.period_seconds, expression),
            **_judged(limits, threshold),
        }


def _nothing_ran(hours: int) -> Alarm:
    """Return the alarm for silence: the only one that goes off where there are no data."""
    return {
        **_named("nothing-ran", f"No workflow has ended for {hours} h: does whatever starts them still run?"),
        "Metrics": _metrics(_ENDED, 3600, "FILL(ok, 0) + FILL(failed, 0)"),
        "ComparisonOperator": "LessThanThreshold",
        "Threshold": 1,
        "EvaluationPeriods": hours,
        "TreatMissingData": "breaching",
    }


def _level(limits: Thresholds, name: str, what: str, metric: tuple[str, str], threshold: float) -> Alarm:
    """Return the alarm for a metric and its statistic that are over a threshold."""
    return {
        **_named(name, what),
        "Namespace": NAMESPACE,
        "MetricName": metric[0],
        "Statistic": metric[1],
        "Period": limits.period_seconds,
        **_judged(limits, threshold),
    }


def _metrics(metrics: Mapping[str, tuple[str, str]], period: int, expression: str) -> list[dict[str, Any]]:
    """Return an expression, and the metrics and statistics that it is of, by what it calls them."""
    shown = {"Id": "value", "Expression": expression, "ReturnData": True}
    return [
        *(
            {
                "Id": id_,
                "MetricStat": {
                    "Metric": {"Namespace": NAMESPACE, "MetricName": name},
                    "Period": period,
                    "Stat": statistic,
                },
                "ReturnData": False,
            }
            for id_, (name, statistic) in metrics.items()
        ),
        shown,
    ]


def _named(name: str, what: str) -> Alarm:
    full_name = _PREFIX + name
    command = f"agentflow diagnose --since 30m --source cloudwatch --alarm {full_name}"
    return {"AlarmName": full_name, "AlarmDescription": f"{what} Diagnose: {command}"}


def _judged(limits: Thresholds, threshold: float) -> Alarm:
    return {
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": threshold,
        "EvaluationPeriods": limits.evaluation_periods,
        "TreatMissingData": "notBreaching",
    }
