"""The control plane's lists: foundation models and inference profiles, as the catalog knows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentflow.local.errors import Refusal
from agentflow.local.facts import ServedModel, ServedModels, bare_name
from agentflow.local.incoming import ACCOUNT, page
from agentflow.local.shapes import parameters

_PAGE = 100
_GLOBAL = "global"
_MOST_MODELS = 5  # of a profile (service model bedrock: InferenceProfileModels)
_SERVICE = "bedrock"


def list_foundation_models(query: Mapping[str, str], served: ServedModels, region: str) -> Mapping[str, Any]:
    """Return the models that the filters leave."""
    wanted = parameters(query, "ListFoundationModels", _SERVICE)
    summaries = [_model(model, region) for model in served]
    return {"modelSummaries": [summary for summary in summaries if _fits(summary, wanted)]}


def get_foundation_model(path: Mapping[str, str], served: ServedModels, region: str) -> Mapping[str, Any]:
    """Return one model by its bare id or ARN.

    Raises
    ------
    Refusal
        ``ResourceNotFoundException``: there is no such model.
    """
    name = parameters(path, "GetFoundationModel", _SERVICE)["modelIdentifier"]
    for model in served:
        if model.model_id == bare_name(name):
            return {"modelDetails": _model(model, region)}
    message = "Could not resolve the foundation model from the provided model identifier."
    raise Refusal("ResourceNotFoundException", message)


def get_availability(path: Mapping[str, str], served: ServedModels) -> Mapping[str, Any]:
    """Return whether the account may use a model, by its bare id: here it may use all of them.

    Raises
    ------
    Refusal
        ``ResourceNotFoundException``: there is no such model.
    """
    name = parameters(path, "GetFoundationModelAvailability", _SERVICE)["modelId"]
    if all(model.model_id != name for model in served):
        raise Refusal("ResourceNotFoundException", f"The model {name} could not be found.")
    return {
        "modelId": name,
        "agreementAvailability": {"status": "AVAILABLE"},
        "authorizationStatus": "AUTHORIZED",
        "entitlementAvailability": "AVAILABLE",
        "regionAvailability": "AVAILABLE",
    }


def list_inference_profiles(query: Mapping[str, str], served: ServedModels, region: str) -> Mapping[str, Any]:
    """Return a page of the profiles that can be called from a region; all are Amazon's own."""
    wanted = parameters(query, "ListInferenceProfiles", _SERVICE)
    rows = [] if wanted.get("typeEquals") == "APPLICATION" else _profiles(served, region)
    shown, token = page(rows, wanted.get("maxResults", _PAGE), wanted.get("nextToken"))
    return {"inferenceProfileSummaries": list(shown), **({"nextToken": token} if token else {})}


def get_inference_profile(path: Mapping[str, str], served: ServedModels, region: str) -> Mapping[str, Any]:
    """Return one profile by its id or ARN.

    Raises
    ------
    Refusal
        ``ResourceNotFoundException``: no such profile can be called from the region.
    """
    name = bare_name(parameters(path, "GetInferenceProfile", _SERVICE)["inferenceProfileIdentifier"])
    for profile in _profiles(served, region):
        if profile["inferenceProfileId"] == name:
            return profile
    raise Refusal("ResourceNotFoundException", f"The inference profile {name} could not be found in {region}.")


def _fits(summary: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return (
        wanted.get("byProvider", summary["providerName"]).lower() == summary["providerName"].lower()
        and "byCustomizationType" not in wanted  # none of the models here can be customized
        and wanted.get("byOutputModality", "TEXT") in summary["outputModalities"]
        and ("byInferenceType" not in wanted or wanted["byInferenceType"] in summary["inferenceTypesSupported"])
    )


def _model(model: ServedModel, region: str) -> Mapping[str, Any]:
    lifecycle: dict[str, Any] = {"status": "LEGACY" if model.end_of_life else "ACTIVE"}
    if model.end_of_life:
        lifecycle["endOfLifeTime"] = f"{model.end_of_life}T00:00:00Z"
    return {
        "modelArn": _arn(model, region),
        "modelId": model.model_id,
        "modelName": title(model),
        "providerName": provider(model),
        "inputModalities": ["TEXT", "IMAGE"],  # what this endpoint takes, whichever the model
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"] if model.on_demand else [],
        "modelLifecycle": lifecycle,
    }


def _profiles(served: ServedModels, region: str) -> list[Mapping[str, Any]]:
    return [
        _profile(model, geography, served, region)
        for geography in served.geographies_of(region)
        for model in served
        if geography in model.profiles
    ]


def _profile(model: ServedModel, geography: str, served: ServedModels, region: str) -> Mapping[str, Any]:
    name = f"{geography}.{model.model_id}"
    # A global profile routes anywhere: its second model is the one of no region.
    regions = [region, ""] if geography == _GLOBAL else list(served.regions_of(geography, region))[:_MOST_MODELS]
    return {
        "inferenceProfileName": f"{geography.upper()} {provider(model)} {title(model)}",
        "inferenceProfileArn": f"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{name}",
        "inferenceProfileId": name,
        "models": [{"modelArn": _arn(model, place)} for place in regions],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _arn(model: ServedModel, region: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model.model_id}"


def provider(model: ServedModel) -> str:
    """Return who made a model, as its id says: ``Anthropic``."""
    return model.model_id.partition(".")[0].capitalize()


def title(model: ServedModel) -> str:
    """Return a model's name, as its id says: ``Claude Haiku 4.5``."""
    words = re.sub(r"(-\d{8})?(-v\d+)?(:\d+)?$", "", model.model_id.partition(".")[2])
    return re.sub(r"(?<=\d) (?=\d\b)", ".", words.replace("-", " ").title())
