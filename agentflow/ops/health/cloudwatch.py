"""Whether logs and metrics arrive at CloudWatch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from agentflow.models.faults import code_of
from agentflow.ops.cloudwatch import check_log_group
from agentflow.ops.health.aws import Aws, is_aws_error
from agentflow.ops.health.report import Check
from agentflow.ops.metrics import NAMESPACE
from agentflow.utils.env import setting

_NO_STREAM = "agentflow-health-no-such-stream"
_SAMPLE: Mapping[str, Any] = {"MetricName": "ActiveWorkflows", "Value": 0, "Unit": "Count"}


def cloudwatch_logs(aws: Aws) -> Check:
    """Return whether log records can be written to the log group. Blocks, and writes none.

    A record for a stream that does not exist is refused for its stream only once everything else was found right:
    AWS looks at the permission first, then at the group.
    """
    group = setting("AGENTFLOW_LOG_GROUP").value
    if not group:
        return Check(
            "not configured",
            "AGENTFLOW_LOG_GROUP is not set",
            "export AGENTFLOW_LOG_GROUP=/aws/agentflow/app",
        )
    check_log_group(group)
    logs = aws.client("logs")
    event = {"timestamp": int(time.time() * 1000), "message": "agentflow health"}
    try:
        logs.put_log_events(logGroupName=group, logStreamName=_NO_STREAM, logEvents=[event])
    except Exception as error:  # noqa: BLE001 - told apart below
        if code_of(error) != "ResourceNotFoundException":
            return aws.failed(error, "CloudWatch Logs", "logs:PutLogEvents")
        if "stream" not in str(error).lower():
            return Check(
                "failed",
                f"the log group {group} does not exist in {logs.meta.region_name}",
                f"aws logs create-log-group --log-group-name {group} "
                f"--region {logs.meta.region_name}{aws.profile_option}",
            )
    return Check("ok", f"{group} takes records; {_retention(logs, group)}")


def _retention(logs: Any, group: str) -> str:
    try:
        found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        return "for how long they are kept is not known (logs:DescribeLogGroups)"
    days = next((each.get("retentionInDays") for each in found if each["logGroupName"] == group), None)
    return f"they are kept for {days} days" if days else "they are kept for ever"


def metrics(aws: Aws, logs: Check) -> Check:
    """Return whether metrics reach CloudWatch. Blocks.

    By PutMetricData one sample is sent: `ActiveWorkflows` 0, which changes neither its maximum nor an alarm.

    Parameters
    ----------
    logs : what `cloudwatch_logs` found: metrics may go the same way.
    """
    match way := setting("AGENTFLOW_METRICS").value:
        case None:
            return Check(
                "not configured", "AGENTFLOW_METRICS is not set", "export AGENTFLOW_METRICS=logs, or cloudwatch"
            )
        case "logs":
            return _metrics_in_logs(logs)
        case "cloudwatch":
            return _metrics_by_api(aws)
    return Check("failed", f"AGENTFLOW_METRICS={way!r} is unknown", "Set it to logs or cloudwatch.")


def _metrics_in_logs(logs: Check) -> Check:
    if logs.state == "not configured":
        figure = "in the log only: whatever reads the log has to bring it to CloudWatch (AGENTFLOW_LOG_GROUP does)"
        return Check("ok", figure)
    if not logs:
        return Check(logs.state, "they go through the log group, which cannot be written", "See cloudwatch_logs.")
    return Check("ok", f"through {setting('AGENTFLOW_LOG_GROUP').value}, in the embedded metric format")


def _metrics_by_api(aws: Aws) -> Check:
    try:
        aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[_SAMPLE])
    except Exception as error:  # noqa: BLE001 - what is none of AWS's is raised again there
        return aws.failed(error, "CloudWatch", "cloudwatch:PutMetricData")
    return Check("ok", f"PutMetricData took a sample in the namespace {NAMESPACE}")
