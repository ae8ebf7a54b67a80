"""The CloudWatch dashboard: the operation runbook's two graphs, and what an engineer on call looks for beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentflow.ops.deployment.alarms import alarm_arns
from agentflow.ops.deployment.config import DeploymentConfig
from agentflow.ops.deployment.policy import CalledModel, Calls
from agentflow.ops.metrics import NAMESPACE

NAME = "AgentFlow"
_BEDROCK = "AWS/Bedrock"  # its metrics have the dimension ModelId
_WIDTH, _HEIGHT, _COLUMNS = 8, 6, 3  # CloudWatch's grid is 24 wide
_RIGHT = "right"  # the axis of a second unit
_P95 = "p95"

Widget = dict[str, Any]


def dashboard(config: DeploymentConfig, calls: Calls, account: str) -> dict[str, Any]:
    """Return the body of the dashboard.

    Parameters
    ----------
    account : twelve digits, or the variable that stands for them in a template.
    """
    graphs = [*_of_workflows(config), *_of_bedrock(config, calls.models)]
    widgets: list[Widget] = [
        {
            "type": "alarm",
            "x": 0,
            "y": 0,
            "width": 24,
            "height": 3,
            "properties": {"title": "Alarms", "alarms": alarm_arns(config, account)},
        }
    ]
    for number, graph in enumerate([*graphs, _slow_steps(config)]):
        row, column = divmod(number, _COLUMNS)
        widgets.append({"x": column * _WIDTH, "y": 3 + row * _HEIGHT, "width": _WIDTH, "height": _HEIGHT, **graph})
    return {"widgets": widgets}


def _of_workflows(config: DeploymentConfig) -> list[Widget]:
    limits = config.alarms
    return [
        _graph(
            config,
            "Workflow Success/Failure",
            [_own("WorkflowSuccess", "Sum"), _own("WorkflowFailure", "Sum")],
        ),
        _graph(
            config,
            "Workflow Duration (ms)",
            [_own("WorkflowDuration", "Average"), _own("WorkflowDuration", _P95)],
            {"alarm": limits.high_latency_ms, "table": limits.workflow_duration_minutes * 60_000},
        ),
        _graph(config, "Active Workflows", [_own("ActiveWorkflows", "Maximum")], {"limit": limits.active_workflows}),
        _graph(
            config,
            "Agent Execution Time (ms)",
            [_own("AgentExecutionTime", "Average"), _own("AgentExecutionTime", _P95)],
            {"limit": limits.agent_execution_seconds * 1000},
        ),
        _graph(
            config,
            "Retries, Errors, Throttles (%)",
            [
                _own(name, "Average")
                for name in ("AgentRetryRate", "AgentErrorRate", "ThrottlingRate", "ModelErrorRate")
            ],
        ),
        _graph(config, "Cost (USD an hour)", [_own("CostUSD", "Sum")], period=3600),
        _graph(
            config,
            "Queue Time (ms) and Limiter Headroom",
            [
                _own("QueueTime", "Average"),
                _own("QueueTime", _P95),
                _own("LimiterHeadroom", "Minimum", yAxis=_RIGHT),
            ],
        ),
    ]


def _of_bedrock(config: DeploymentConfig, models: Sequence[CalledModel]) -> list[Widget]:
    """Return the graphs of Bedrock's own metrics, by model."""
    return [
        _graph(
            config,
            "Bedrock Metrics",
            [
                *(_bedrock(model, "Invocations", "Sum") for model in models),
                *(_bedrock(model, "InvocationLatency", "Average", yAxis=_RIGHT) for model in models),
            ],
        ),
        _graph(
            config,
            "Throttles by Model",
            [_bedrock(model, "InvocationThrottles", "Sum") for model in models],
        ),
        _graph(
            config,
            "Errors by Model",
            [
                _bedrock(model, metric, "Sum")
                for model in models
                for metric in ("InvocationClientErrors", "InvocationServerErrors")
            ],
        ),
        _graph(
            config,
            "Tokens by Model",
            [
                _bedrock(model, metric, "Sum")
                for model in models
                for metric in ("InputTokenCount", "OutputTokenCount", "CacheReadInputTokenCount")
            ],
        ),
    ]


def _slow_steps(config: DeploymentConfig) -> Widget:
    limit = config.alarms.agent_execution_seconds * 1000
    query = (
        f"SOURCE '{config.log_group_names[0]}' | filter execution_time > {limit:.0f} "
        "| stats count(*) as runs, max(execution_time) as slowest_ms by workflow_name, step_id "
        "| sort slowest_ms desc | limit 20"
    )
    properties = {"title": "Slow Steps", "region": config.region, "view": "table", "query": query}
    return {"type": "log", "properties": properties}


def _graph(
    config: DeploymentConfig,
    title: str,
    metrics: Sequence[list[Any]],
    limits: dict[str, float] | None = None,
    *,
    period: int = 300,
) -> Widget:
    """Return a graph.

    Parameters
    ----------
    limits : horizontal lines by their label.
    """
    properties: dict[str, Any] = {"title": title, "region": config.region, "period": period, "metrics": list(metrics)}
    if limits:
        lines = [{"label": label, "value": value} for label, value in limits.items()]
        properties["annotations"] = {"horizontal": lines}
    return {"type": "metric", "properties": properties}


def _own(metric: str, statistic: str, **options: Any) -> list[Any]:
    return [NAMESPACE, metric, {"stat": statistic, **options}]


def _bedrock(model: CalledModel, metric: str, statistic: str, **options: Any) -> list[Any]:
    return [_BEDROCK, metric, "ModelId", model.model_id, {"stat": statistic, "region": model.region, **options}]
