"""Where a call can go: the regions of a client, and what the model is called in each."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from agentflow.core.errors import UnknownModelError
from agentflow.core.model import Estimate, Request
from agentflow.models.catalog import GLOBAL, Catalog, ResolvedModel
from agentflow.models.failover import Breaker, breakers
from agentflow.models.limiting.lane import Lane, LaneKey
from agentflow.models.limiting.lanes import lanes
from agentflow.models.limiting.quotas import Quota, read_quota
from agentflow.models.prices import ON_DEMAND
from agentflow.models.tokens import estimate
from agentflow.models.transport import Transport


class Route(NamedTuple):
    """The way that calls take; `place` is what tells the answers there from those of Amazon Bedrock.

    Attributes
    ----------
    connections : how many requests may be in flight at once.
    timeout_seconds : how long a call outside of a run may wait for its quota.
    account : tells the accounts of the process apart.
    quotas : what the user said of them, by the name of the model.
    profile : the kind of inference profile to use for every model; None is the region's.
    elsewhere : the other regions, in the order in which they are wanted.
    fallback_model : asked where the model itself cannot answer; None: none is.
    """

    region: str
    link: Transport
    on_this_machine: bool
    max_retries: int
    place: str
    catalog: Catalog
    connections: int
    timeout_seconds: float
    account: str
    quotas: Mapping[str, Quota]
    profile: str | None = None
    elsewhere: tuple[Route, ...] = ()
    fallback_model: str | None = None

    @property
    def name(self) -> str:
        """What tells it from the other ways of its client."""
        return f"{self.profile}.{self.region}" if self.profile else self.region

    def resolve(self, model: str | None) -> ResolvedModel:
        """Return what a model is called there.

        Raises
        ------
        UnknownModelError
            The name is no model, or the model cannot be called there.
        """
        resolved = self.catalog.resolve(model, self.region)
        return resolved if self.profile is None else self.catalog.through(self.profile, resolved)


class Destination:
    """A model in a region, for one request."""

    def __init__(self, route: Route, resolved: ResolvedModel, request: Request) -> None:
        self.route = route
        self.resolved = resolved.served_as(request.service_tier, request.latency)
        self._request = request

    @property
    def name(self) -> str:
        """What tells it from the other destinations of the request."""
        return self.route.name

    @cached_property
    def breaker(self) -> Breaker:
        """Whether the region is in service."""
        return breakers.breaker(self.route.account, self.route.link.target.endpoint_url, self.route.region)

    @cached_property
    def lane(self) -> Lane:
        """The quota of the model there."""
        return lane_of(self.route, self.resolved)

    @property
    def is_served(self) -> bool:
        """Whether the model's id, as far as it tells, may be called from the region."""
        return self.route.catalog.serves(self.route.region, self.resolved.model_id)

    @property
    def has_room(self) -> bool:
        """Whether the quota would let the request in now."""
        return self.lane.has_room(self.estimate.input_tokens + self._request.max_tokens)

    @cached_property
    def estimate(self) -> Estimate:
        """What the request will take."""
        return estimate(self.resolved, self._request)

    def ask_quota(self) -> None:
        """Have Service Quotas asked what the quota is, once, on a thread of its own; Amazon's own endpoint only."""
        link, spec, profile = self.route.link, self.resolved.spec, self.resolved.profile
        if link.target.endpoint_url is not None or spec is None or profile == ON_DEMAND or self.lane.is_asked():
            return
        if code := spec.quota_codes.get("global" if profile == GLOBAL else "cross-region"):
            threading.Thread(target=self._read_quota, args=(code,), name="agentflow-quotas", daemon=True).start()

    def _read_quota(self, code: str) -> None:
        if quota := read_quota(self.route.link.quotas_client, code):
            self.lane.know(quota, "Service Quotas")


def destinations(route: Route, model: str | None, request: Request) -> list[Destination]:
    """Return where a request can go, the first choice first; a place in which there is no such model is left out.

    So is a region that a profile or ARN which was asked for by its own name does not serve; where none is left, the
    first is asked all the same, since Bedrock knows best.

    Raises
    ------
    UnknownModelError
        The name is no model, or no region has it.
    """
    found, missing = [], None
    for way in (route, *route.elsewhere):
        try:
            found.append(Destination(way, way.resolve(model), request))
        except UnknownModelError as error:
            missing = missing or error
    if missing is not None and not found:
        raise missing
    if len(found) == 1:
        return found
    return [place for place in found if place.is_served] or found[:1]


def lane_of(route: Route, resolved: ResolvedModel) -> Lane:
    """Return the lane of a model in a region, which knows what the user said of its quota."""
    key = LaneKey(route.account, route.link.target.endpoint_url, route.region, resolved.model_id)
    lane = lanes.lane(key, resolved.spec.burndown if resolved.spec else 1)
    if quota := route.quotas.get(resolved.name):
        lane.know(quota, "given")
    return lane


def account_of(profile: str | None, access_key: str | None, *, on_this_machine: bool) -> str:
    """Return what tells an account from the others of the process, as far as that can be said without asking AWS.

    Parameters
    ----------
    access_key : a hash of the access key in the environment; None where there is none.
    """
    if on_this_machine:
        return "this machine"
    return f"profile {profile}" if profile else f"key {access_key}" if access_key else "default"
