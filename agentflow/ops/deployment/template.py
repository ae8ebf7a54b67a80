"""The CloudFormation template of a deployment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agentflow.ops.deployment import dashboard
from agentflow.ops.deployment.alarms import TOPIC, alarms
from agentflow.ops.deployment.config import DeploymentConfig
from agentflow.ops.deployment.policy import Calls, policy_documents
from agentflow.ops.query_texts import QUERIES

_ACCOUNT = "${AWS::AccountId}"


def template(config: DeploymentConfig, calls: Calls) -> dict[str, Any]:
    """Return the template: log groups, queries, dashboard, alarms with their topic, and the policy."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "AgentFlow: logs, dashboard, alarms and the policy of its workflows. "
        "Written by `agentflow deploy template`; change the configuration, not this file.",
        "Resources": dict(_resources(config, calls)),
        "Outputs": {
            **{
                f"{name}Arn": {"Description": "Attach it to the role of the workflows.", "Value": {"Ref": name}}
                for name in _policies(config, calls)
            },
            "TopicArn": {"Description": "The alarms are sent to it.", "Value": {"Ref": "Topic"}},
        },
    }


def _resources(config: DeploymentConfig, calls: Calls) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, days in config.log_groups.items():
        # A stack that is deleted leaves the logs: they are what explains why it was.
        kept = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
        properties: dict[str, Any] = {"LogGroupName": f"/aws/agentflow/{name}", "RetentionInDays": days}
        yield f"Logs{_camel(name)}", _resource("AWS::Logs::LogGroup", properties) | kept
    for name, query in QUERIES.items():
        properties = {
            "Name": f"AgentFlow/{name}",
            "QueryString": query,
            "LogGroupNames": list(config.log_group_names),
        }
        yield f"Query{_camel(name)}", _resource("AWS::Logs::QueryDefinition", properties)
    addresses = [{"Protocol": "email", "Endpoint": address} for address in config.alert_emails]
    topic = {"TopicName": TOPIC} | ({"Subscription": addresses} if addresses else {})
    yield "Topic", _resource("AWS::SNS::Topic", topic)
    for alarm in alarms(config, {"Ref": "Topic"}):
        yield f"Alarm{_camel(alarm['AlarmName'])}", _resource("AWS::CloudWatch::Alarm", alarm)
    widgets = dashboard.dashboard(config, calls, _ACCOUNT)["widgets"]
    # A widget a line: it can be read, and CloudFormation takes 51,200 characters in all.
    body = '{"widgets": [\n' + ",\n".join(map(json.dumps, widgets)) + "\n]}"
    properties = {"DashboardName": dashboard.NAME, "DashboardBody": _substituted(body)}
    yield "Dashboard", _resource("AWS::CloudWatch::Dashboard", properties)
    for name, document in _policies(config, calls).items():
        properties = {"Description": "What AgentFlow's workflows do, and nothing else", "PolicyDocument": document}
        yield name, _resource("AWS::IAM::ManagedPolicy", properties)


def _policies(config: DeploymentConfig, calls: Calls) -> dict[str, Any]:
    """Return the policies by their logical ids."""
    documents = policy_documents(config, calls, _ACCOUNT)
    return {
        "Policy" if number == 1 else f"Policy{number}": _substituted(document)
        for number, document in enumerate(documents, 1)
    }


def _resource(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def _substituted(value: Any) -> Any:
    """Return a value in which CloudFormation replaces the variables."""
    if isinstance(value, str):
        return {"Fn::Sub": value} if _ACCOUNT in value else value
    if isinstance(value, list):
        return [_substituted(item) for item in value]
    if isinstance(value, dict):
        return {name: _substituted(item) for name, item in value.items()}
    return value


def _camel(name: str) -> str:
    """Return a name as a part of a logical id, which has letters and digits only."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
