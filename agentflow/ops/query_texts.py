"""The operation runbook's queries for CloudWatch Logs Insights, as it has them, by their names there."""

from __future__ import annotations

from collections.abc import Mapping

QUERIES: Mapping[str, str] = {
    "Failed Workflows": """\
fields @timestamp, workflow_id, workflow_name, error
| filter level = "ERROR" and @message like /workflow.*failed/
| sort @timestamp desc
| limit 20""",
    "Slow Executions": """\
fields @timestamp, workflow_id, step_id, execution_time
| filter execution_time > 30000
| sort execution_time desc
| limit 20""",
    "Retry Analysis": """\
fields @timestamp, step_id, attempt, error
| filter attempt > 1
| stats count() by step_id, error
| sort count desc""",
    "Token Usage": """\
fields @timestamp, model, input_tokens, output_tokens
| stats sum(input_tokens) as total_input, sum(output_tokens) as total_output by model""",
    "Throttling Errors": """\
fields @timestamp, error
| filter error like /ThrottlingException/
| stats count() by bin(5m)""",
    "Slow Steps": """\
fields @timestamp, step_id, execution_time
| filter execution_time > 10000
| sort execution_time desc""",
}
