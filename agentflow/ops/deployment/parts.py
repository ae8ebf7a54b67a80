"""What `agentflow deploy` prints: a CloudFormation template, or a part of it in the JSON that the AWS CLI takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from agentflow.core.definition.yaml_text import dump_yaml
from agentflow.core.errors import DefinitionError, nearest
from agentflow.ops.deployment.alarms import alarms, topic_arn
from agentflow.ops.deployment.config import DeploymentConfig, read_deployment
from agentflow.ops.deployment.dashboard import dashboard
from agentflow.ops.deployment.policy import MOST_CHARACTERS, calls_of, policy_documents
from agentflow.ops.deployment.template import template


def deployment_part(part: str, path: Path, *, alarm: str | None = None) -> str:
    """Return a part of what is deployed, as text.

    Parameters
    ----------
    part : `template` (YAML), `dashboard` (for `put-dashboard --dashboard-body`), `alarms` (a list, each for
        `put-metric-alarm --cli-input-json`) or `policy` (for `create-policy --policy-document`).
    path : the configuration.
    alarm : the name of one alarm, in the place of the list.

    Raises
    ------
    DefinitionError
        The configuration or one of its workflows cannot be used, or there is no such alarm.
    """
    return _PARTS[part](read_deployment(path), alarm)


def _alarms(config: DeploymentConfig, name: str | None) -> str:
    by_name = {alarm["AlarmName"]: alarm for alarm in alarms(config, topic_arn(config, config.account_number))}
    if name is None:
        return json.dumps(list(by_name.values()), indent=2)
    if name not in by_name:
        raise DefinitionError(
            f"There is no alarm {name!r}{nearest(name, by_name)}.", fix=f"There are {', '.join(by_name)}."
        )
    return json.dumps(by_name[name], indent=2)


def _policy(config: DeploymentConfig, _: str | None) -> str:
    first, *more = policy_documents(config, calls_of(config), config.account_number)
    if more:
        raise DefinitionError(
            f"What the workflows do takes {1 + len(more)} policies: IAM takes {MOST_CHARACTERS:,} characters in each.",
            fix="Deploy the template, which has them all, or split the workflows over several configurations.",
        )
    return json.dumps(first, indent=2)


def _dashboard(config: DeploymentConfig, _: str | None) -> str:
    return json.dumps(dashboard(config, calls_of(config), config.account_number), indent=2)


def _template(config: DeploymentConfig, _: str | None) -> str:
    return dump_yaml(template(config, calls_of(config))).rstrip()


_PARTS: Mapping[str, Callable[[DeploymentConfig, str | None], str]] = {
    "template": _template,
    "dashboard": _dashboard,
    "alarms": _alarms,
    "policy": _policy,
}
