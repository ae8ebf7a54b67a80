"""The operations beside the model's answers: which path each has, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agentflow.local import control_plane, service_quotas
from agentflow.local.chat import LocalModel
from agentflow.local.counting import count_tokens
from agentflow.local.facts import ServedModels
from agentflow.local.jobs import Jobs
from agentflow.local.region import Region


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request, read."""

    parameters: Mapping[str, str]  # of its path and its query
    body: object  # None where it has none
    region: str  # the client's
    target: str  # the operation, in the protocol of Service Quotas


Work: TypeAlias = Callable[[Incoming], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


def routes(model: LocalModel, served: ServedModels, region: Region, jobs: Jobs) -> Iterator[tuple[str, str, Work]]:
    """Yield the method, the path and the work of each operation; the work returns the body of the response."""
    yield (
        "POST",
        "/model/{model}/count-tokens",
        lambda call: count_tokens(call.parameters["model"], call.body, model, served),
    )
    yield (
        "GET",
        "/foundation-models",
        lambda call: control_plane.list_foundation_models(call.parameters, served, call.region),
    )
    yield (
        "GET",
        "/foundation-models/{modelIdentifier}",
        lambda call: control_plane.get_foundation_model(call.parameters, served, call.region),
    )
    yield (
        "GET",
        "/foundation-model-availability/{modelId}",
        lambda call: control_plane.get_availability(call.parameters, served),
    )
    yield (
        "GET",
        "/inference-profiles",
        lambda call: control_plane.list_inference_profiles(call.parameters, served, call.region),
    )
    yield (
        "GET",
        "/inference-profiles/{inferenceProfileIdentifier}",
        lambda call: control_plane.get_inference_profile(call.parameters, served, call.region),
    )
    yield (
        "POST",
        "/",
        lambda call: service_quotas.answer(call.target, call.body, served, region.quotas, call.region),
    )
    yield "POST", "/model-invocation-job", lambda call: jobs.create(call.body, call.region)
    yield "GET", "/model-invocation-job/{jobIdentifier}", lambda call: jobs.get(call.parameters)
    yield "GET", "/model-invocation-jobs", lambda call: jobs.list(call.parameters)
    yield "POST", "/model-invocation-job/{jobIdentifier}/stop", lambda call: jobs.stop(call.parameters)
