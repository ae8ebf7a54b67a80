"""The least-privilege IAM policy of the configured workflows, and which models they call from which regions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import DefinitionError, UnknownModelError
from agentflow.core.nested import WorkflowAgent
from agentflow.core.workflow import Workflow
from agentflow.models.catalog import GLOBAL, Catalog, ResolvedModel, load_catalog
from agentflow.models.policy import ACTIONS, invoke_statements
from agentflow.models.prices import ON_DEMAND, ProfileKind
from agentflow.ops.deployment.config import DeploymentConfig
from agentflow.ops.metrics import NAMESPACE

MOST_CHARACTERS = 6144  # of a managed policy, without its spaces
_MODELS_A_STATEMENT = 4  # few enough that statements can be spread over policies
_THROUGH = "bedrock:InferenceProfileArn"

Statement = dict[str, Any]


@dataclass(frozen=True, order=True)
class CalledModel:
    """A model as it is called from a region.

    Attributes
    ----------
    model_id : what is sent: a bare id, a profile or an ARN. CloudWatch's dimension `ModelId` has it too.
    profile : the kind of its profile, such as `us`; `on-demand` where there is none.
    bare_id : its id without the prefix of a profile; `*` where an ARN does not tell it.
    routed_to : the regions that requests may be sent to; `*` where they are not known.
    """

    region: str
    name: str
    model_id: str
    profile: str
    bare_id: str
    routed_to: tuple[str, ...]


@dataclass(frozen=True)
class Calls:
    """What workflows call: models, and guardrails as pairs of a region and an id or ARN; both sorted."""

    models: tuple[CalledModel, ...]
    guardrails: tuple[tuple[str, str], ...]


def calls_of(config: DeploymentConfig) -> Calls:
    """Return what the configured workflows call. Imports the Python functions that they name; calls nothing.

    Raises
    ------
    DefinitionError
        A workflow cannot be read, or a model in it is not known.
    """
    models: set[CalledModel] = set()
    guardrails: set[tuple[str, str]] = set()
    for path in config.workflows:
        try:
            workflow = Workflow.from_yaml(path)
        except DefinitionError as error:
            raise DefinitionError(f"The workflow {path} cannot be read: {error}") from error
        for agent in _prompts(workflow):
            given = getattr(agent._client, "given", {})  # none: the settings of wherever it will run
            if given.get("endpoint_url"):  # its own endpoint asks for no permission of IAM
                continue
            regions = given.get("regions") or [given.get("region_name") or config.region]
            catalog = load_catalog().model_copy(update={"base_models": given.get("base_models", {})})
            for model in filter(None, (agent.config.model_type or "fast", given.get("fallback_model"))):
                models.update(_called(model, regions, catalog))
            if guardrail := agent.config.guardrail:
                guardrails.update((region, guardrail.identifier) for region in regions if region != GLOBAL)
    for model in config.models:
        models.update(_called(model, [config.region], load_catalog()))
    return Calls(tuple(sorted(models)), tuple(sorted(guardrails)))


def policy_documents(config: DeploymentConfig, calls: Calls, account: str) -> list[dict[str, Any]]:
    """Return the policies that allow what the workflows do, and nothing else: one, or more where one were too long.

    Parameters
    ----------
    account : twelve digits, or the variable that stands for them in a template.
    """
    documents: list[dict[str, Any]] = []
    for statement in [*_of_models(config, calls, account), *_of_permissions(config, account)]:
        if documents and _length(document := _document(*documents[-1]["Statement"], statement)) <= MOST_CHARACTERS:
            documents[-1] = document
        else:
            documents.append(_document(statement))
    return documents


def _document(*statements: Statement) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _length(document: dict[str, Any]) -> int:
    """Return how long a policy is for IAM; one that has a variable for the account is shorter in the end."""
    return len(json.dumps(document, separators=(",", ":")))


def _prompts(workflow: Workflow) -> Iterator[SimpleAgent]:
    """Give the agents of a workflow that call a model, those of its workflows that are steps among them."""
    for step in workflow.steps.values():
        for agent in (step.agent, step.when):
            if isinstance(agent, SimpleAgent):
                yield agent
            elif isinstance(agent, WorkflowAgent):
                yield from _prompts(agent.workflow)


def _called(model: str, regions: list[str], catalog: Catalog) -> set[CalledModel]:
    """Return a model as it is called from each region that has it, as a client with these regions does."""
    found, missing = set(), None
    for region in regions:
        try:
            if region == GLOBAL:  # the global profile of the first region
                resolved = catalog.through(GLOBAL, catalog.resolve(model, regions[0]))
                found.add(_from(regions[0], resolved, catalog))
            else:
                found.add(_from(region, catalog.resolve(model, region), catalog))
        except UnknownModelError as error:
            missing = missing or error
    if missing and not found:
        raise missing
    return found


def _from(region: str, resolved: ResolvedModel, catalog: Catalog) -> CalledModel:
    kind, _, rest = resolved.model_id.partition(".")
    if resolved.spec is not None:
        profile, bare_id = resolved.profile, resolved.spec.id
    elif resolved.model_id.startswith("arn:"):
        profile, bare_id = resolved.profile, "*"
    elif kind in get_args(ProfileKind):
        profile, bare_id = kind, rest
    else:
        profile, bare_id = ON_DEMAND, resolved.model_id
    is_known = profile in (*catalog.geographies, GLOBAL, ON_DEMAND) and bare_id != "*"
    routed_to = catalog.routed_to(profile, region) if is_known else ("*",)
    return CalledModel(region, resolved.name, resolved.model_id, profile, bare_id, routed_to)


def _of_models(config: DeploymentConfig, calls: Calls, account: str) -> Iterator[Statement]:
    actions = list(ACTIONS if config.permissions.streaming else ACTIONS[:1])
    ordered = sorted(calls.models, key=_way)
    for (region, profile), group in groupby(ordered, _way):
        models = list(group)
        for start in range(0, len(models), _MODELS_A_STATEMENT):
            sid = _sid("Call", profile, "from", region, str(start) if start else "")
            pairs = [_invoking(model, account) for model in models[start : start + _MODELS_A_STATEMENT]]
            yield _allow(sid, actions, _resources(pair[0] for pair in pairs))
            # What a profile leads to is allowed through it only. Several share a statement: none leads to another's.
            if behind := [pair[1] for pair in pairs if len(pair) > 1]:
                profiles = [statement["Condition"]["StringLike"][_THROUGH] for statement in behind]
                condition = {"StringLike": {_THROUGH: profiles}}
                yield {**_allow(f"{sid}Behind", actions, _resources(behind)), "Condition": condition}
    if config.permissions.count_tokens:
        arns = {
            f"arn:{config.partition}:bedrock:{model.region}::foundation-model/{model.bare_id}" for model in calls.models
        }
        yield _allow("CountTokens", ["bedrock:CountTokens"], sorted(arns))
    if calls.guardrails:
        arns = {
            name if name.startswith("arn:") else f"arn:{config.partition}:bedrock:{region}:{account}:guardrail/{name}"
            for region, name in calls.guardrails
        }
        yield _allow("ApplyGuardrails", ["bedrock:ApplyGuardrail"], sorted(arns))


def _way(model: CalledModel) -> tuple[str, str]:
    return model.region, model.profile


def _resources(statements: Iterable[Statement]) -> list[str]:
    found = [statement["Resource"] for statement in statements]
    return [arn for arns in found for arn in ([arns] if isinstance(arns, str) else arns)]


def _invoking(model: CalledModel, account: str) -> list[Statement]:
    if model.model_id.startswith("arn:") and "inference-profile/" not in model.model_id:
        return [_allow("", [], model.model_id)]  # such as provisioned throughput
    return invoke_statements(
        model.model_id,
        model.profile,
        region=model.region,
        bare_id=model.bare_id,
        routed_to=model.routed_to,
        account=account,
    )


def _of_permissions(config: DeploymentConfig, account: str) -> Iterator[Statement]:
    allowed = config.permissions
    groups = [
        f"arn:{config.partition}:logs:{config.region}:{account}:log-group:{name}" for name in config.log_group_names
    ]
    streams = [f"{group}:*" for group in groups]
    writing = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    yield _allow("WriteLogs", writing, [*groups, *streams])
    if allowed.metrics:
        condition = {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}
        yield {**_allow("PutMetrics", ["cloudwatch:PutMetricData"], "*"), "Condition": condition}
    quotas = ["servicequotas:GetAWSDefaultServiceQuota", "servicequotas:GetServiceQuota"]
    listing = [
        "bedrock:GetFoundationModelAvailability",
        "bedrock:ListFoundationModels",
        "bedrock:ListInferenceProfiles",
        "logs:DescribeLogGroups",
    ]
    reading = [
        "cloudwatch:DescribeAlarmHistory",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "cloudwatch:GetMetricStatistics",
        "cloudwatch:ListMetrics",
        "logs:GetQueryResults",
        "logs:StopQuery",
    ]
    # None of these knows a resource.
    wanted = {
        "ReadQuotas": quotas if allowed.quotas or allowed.health else [],
        "CheckHealth": listing if allowed.health else [],
        "Diagnose": reading if allowed.diagnosis else [],
        "UseApiKey": ["bedrock:CallWithBearerToken"] if allowed.api_key else [],
    }
    for sid, actions in wanted.items():
        if actions:
            yield _allow(sid, actions, "*")
    if allowed.diagnosis:
        yield _allow("QueryLogs", ["logs:FilterLogEvents", "logs:StartQuery"], [*groups, *streams])


def _allow(sid: str, actions: list[str], resources: str | list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _sid(*words: str) -> str:
    """Return words as an id of a statement, which has letters and digits only."""
    return "".join(part[:1].upper() + part[1:] for word in words for part in re.split(r"[^A-Za-z0-9]+", word))
