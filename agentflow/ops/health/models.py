"""The models that this deployment uses: whether they have a profile here, room in their quota, and a future."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentflow.core.errors import AgentFlowError, JournalError, UnknownModelError
from agentflow.core.surroundings import untold
from agentflow.models.catalog import GLOBAL, Catalog, end_of, load_catalog
from agentflow.models.limiting.quotas import quota_value
from agentflow.models.model_spec import ModelSpec
from agentflow.models.prices import ON_DEMAND
from agentflow.ops.deployment.config import read_deployment
from agentflow.ops.deployment.policy import calls_of
from agentflow.ops.health.aws import Aws
from agentflow.ops.health.report import Check
from agentflow.store.checkup import newest_requests, tokens_since
from agentflow.utils.env import home_folder

RECENT = timedelta(days=7)
DEFAULT_CONFIG = Path("config/deployment_config.yaml")
LITTLE_ROOM = 0.1  # of a quota
_PAGE = 1000  # the most that ListInferenceProfiles gives


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model as it is called, and `where` that was found."""

    name: str
    model_id: str
    region: str
    where: str
    spec: ModelSpec | None

    @property
    def profile(self) -> str:
        """The kind of its inference profile; empty where there is none, or an ARN hides it."""
        kind, dot, rest = self.model_id.partition(".")
        return kind if dot and self.spec is not None and rest == self.spec.id else ""


@dataclass
class UsedModels:
    """The models, each once, and what kept some from being found."""

    models: dict[tuple[str, str], UsedModel] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, catalog: Catalog, model_id: str, region: str, where: str) -> None:
        """Take a model in, unless it was found before."""
        name = catalog.name_of(model_id) or model_id
        used = UsedModel(name, model_id, region, where, catalog.models.get(name))
        self.models.setdefault((region, model_id), used)

    def of(self, region: str) -> Sequence[UsedModel]:
        """Return those that are called from a region."""
        return [model for model in self.models.values() if model.region == region]


def used_models(aws: Aws, config: Path | None) -> UsedModels:
    """Return the models of the configured workflows, of recent runs, and the one that a health check asks. Blocks.

    Parameters
    ----------
    config : names the workflows; None is `DEFAULT_CONFIG`, where it is there.
    """
    used, catalog = UsedModels(), load_catalog()
    path = config or DEFAULT_CONFIG
    if config is not None or path.exists():
        try:
            with untold():  # they are read, and not for whoever works here
                for model in calls_of(read_deployment(path)).models:
                    used.add(catalog, model.model_id, model.region, str(path))
        except AgentFlowError as error:
            used.problems.append(str(error))
    try:
        for request in newest_requests(home_folder(), datetime.now(UTC) - RECENT):
            where = f"run {request.run_id}, {request.ended_at:%Y-%m-%d %H:%M} UTC"
            used.add(catalog, request.model_id, request.region or aws.region, where)
    except JournalError:
        pass  # the check of the store says so
    try:
        used.add(catalog, catalog.resolve(None, aws.region).model_id, aws.region, "the fast model")
    except UnknownModelError as error:
        used.problems.append(str(error))
    return used


def retired_models(used: UsedModels) -> Check:
    """Return whether a model that is used has come to its end, or is about to."""
    today = datetime.now(UTC).date()
    ending = {m.name: (m, m.spec, end) for m in used.models.values() if m.spec is not None and (end := end_of(m.spec))}
    if ending:
        figure = "; ".join(f"{name} {end} ({model.where})" for name, (model, _, end) in ending.items())
        fix = " ".join(
            f"Use {spec.successor} in the place of {name}." if spec.successor else f"Choose another model than {name}."
            for name, (_, spec, _) in ending.items()
        )
        is_over = any(spec.end_of_life and spec.end_of_life <= today for _, spec, _ in ending.values())
        return Check("failed" if is_over else "warning", figure, fix)
    figure = f"{', '.join(_names(used.models.values()))}: no end is near"
    return (
        Check("warning", figure, f"Not all is known: {' '.join(used.problems)}")
        if used.problems
        else Check("ok", figure)
    )


def inference_profiles(aws: Aws, used: UsedModels) -> Check:
    """Return whether the profiles by which models are called exist in the region. Blocks."""
    try:
        pages = aws.client("bedrock").get_paginator("list_inference_profiles")
        found = [
            profile
            for page in pages.paginate(typeEquals="SYSTEM_DEFINED", maxResults=_PAGE)
            for profile in page["inferenceProfileSummaries"]
        ]
    except Exception as error:  # noqa: BLE001 - what is none of AWS's is raised again there
        return aws.failed(error, "Bedrock's control plane", "bedrock:ListInferenceProfiles", state="not checked")
    active = {profile["inferenceProfileId"] for profile in found if profile.get("status") == "ACTIVE"}
    needed = [model for model in used.of(aws.region) if model.profile]
    missing = [f"{model.model_id} ({model.where})" for model in needed if model.model_id not in active]
    if missing:
        return Check(
            "failed",
            f"{aws.region} has no profile {', '.join(missing)}",
            f"Choose another: aws bedrock list-inference-profiles --region {aws.region}{aws.profile_option}",
        )
    in_use = "the one in use is" if len(needed) == 1 else f"all {len(needed)} in use are"
    return Check("ok", f"{in_use} among the {len(active)} of {aws.region}")


def quota_headroom(aws: Aws, used: UsedModels) -> Check:
    """Return how much of the quotas of tokens per minute the runs of this store left in the last minute. Blocks."""
    try:
        spent = tokens_since(home_folder(), datetime.now(UTC) - timedelta(minutes=1))
    except JournalError:
        spent = {}  # the check of the store says so
    here: Mapping[str, int] = {row["model_id"]: row["used_tokens"] for row in aws.bedrock.quota().rows}
    told: list[str] = []
    scarce: list[str] = []
    unknown: list[str] = []
    client = None
    for model in used.of(aws.region):
        code = model.spec and model.spec.quota_codes.get("global" if model.profile == GLOBAL else "cross-region")
        limit = aws.bedrock.known_quota(model.model_id).tokens_per_minute
        if code and limit is None and model.profile not in ("", ON_DEMAND):
            try:
                client = client or aws.client("service-quotas")
                limit = quota_value(client, code)
            except Exception as error:  # noqa: BLE001 - what is none of AWS's is raised again there
                action = "servicequotas:GetServiceQuota and servicequotas:GetAWSDefaultServiceQuota"
                return aws.failed(error, "Service Quotas", action, state="not checked")
        if limit is None:
            unknown.append(model.name)
            continue
        sent, got = spent.get(model.model_id, (0, 0))
        tokens = max(sent + got * (model.spec.burndown if model.spec else 1), here.get(model.model_id, 0))
        share = tokens / limit if limit else 1.0
        told.append(f"{model.name}: {1 - min(share, 1):.0%} of {limit:,.0f} tokens/min free")
        if share > 1 - LITTLE_ROOM:
            scarce.append(f"{model.name}{'' if limit else ' (none is granted)'}")
    figure = "; ".join([*told, *([f"not known of {', '.join(unknown)}"] if unknown else [])])
    if scarce:
        fix = f"Raise it in Service Quotas, or lower BEDROCK_MAX_CONNECTIONS and max_tokens: {', '.join(scarce)}."
        return Check("warning", figure, fix)
    if not told:
        return Check(
            "not checked", figure or "no model is used", "Give BedrockClient(quotas=...) what the account has."
        )
    return Check("ok", figure)


def _names(models: Iterable[UsedModel]) -> list[str]:
    return list(dict.fromkeys(model.name for model in models))
