"""The models that AgentFlow knows (`catalog.yaml`): which id a name stands for, what it can do, and what a call costs.

Nothing here talks to Bedrock.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

import yaml

from agentflow.core.errors import UnknownModelError, nearest
from agentflow.core.model import Usage
from agentflow.models.model_spec import ModelSpec
from agentflow.models.price_file import read_price_file
from agentflow.models.prices import ON_DEMAND, PriceFile, PriceList, ProfileKind, Row
from agentflow.utils.env import setting

GLOBAL: ProfileKind = "global"
_ID_END = re.compile(r"(-\d{8})?(-v\d+)?(:\d+)?$")  # the date and version of a model's id
WARNING_TIME = timedelta(days=90)  # before a model's end


class ModelType(StrEnum):
    """The models of the catalog, by version. `"haiku"`, `"sonnet"` and the like name the current one of a family."""

    HAIKU_4_5 = "haiku-4-5"
    HAIKU_5_5 = "haiku-5-5"
    SONNET_4 = "sonnet-4"
    SONNET_4_5 = "sonnet-4-5"
    SONNET_4_6 = "sonnet-4-6"
    SONNET_5 = "sonnet-5"
    SONNET_5_5 = "sonnet-5-5"
    OPUS_4 = "opus-4"
    OPUS_4_1 = "opus-4-1"
    OPUS_4_5 = "opus-4-5"
    OPUS_4_6 = "opus-4-6"
    OPUS_4_7 = "opus-4-7"
    OPUS_4_8 = "opus-4-8"
    OPUS_5 = "opus-5"
    OPUS_5_5 = "opus-5-5"
    FABLE_5 = "fable-5"
    FABLE_5_1 = "fable-5-1"
    MYTHOS_5_1 = "mythos-5-1"
    NOVA_MICRO = "nova-micro"
    NOVA_LITE = "nova-lite"
    NOVA_PRO = "nova-pro"
    NOVA_PREMIER = "nova-premier"
    NOVA_2_LITE = "nova-2-lite"
    NOVA_2_PRO_PREVIEW = "nova-2-pro-preview"
    LLAMA_3_1_8B = "llama-3-1-8b"
    LLAMA_3_1_70B = "llama-3-1-70b"
    LLAMA_3_2_1B = "llama-3-2-1b"
    LLAMA_3_2_3B = "llama-3-2-3b"
    LLAMA_3_2_11B = "llama-3-2-11b"
    LLAMA_3_2_90B = "llama-3-2-90b"
    LLAMA_3_3_70B = "llama-3-3-70b"
    LLAMA_4_MAVERICK = "llama-4-maverick"
    LLAMA_4_SCOUT = "llama-4-scout"
    MISTRAL_7B = "mistral-7b"
    MIXTRAL_8X7B = "mixtral-8x7b"
    MISTRAL_SMALL_2402 = "mistral-small-2402"
    MISTRAL_LARGE_2402 = "mistral-large-2402"
    MISTRAL_LARGE_2407 = "mistral-large-2407"
    MISTRAL_LARGE_3 = "mistral-large-3"
    PIXTRAL_LARGE = "pixtral-large"
    MAGISTRAL_SMALL = "magistral-small"
    MINISTRAL_3_8B = "ministral-3-8b"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a model name stands for in a region.

    Attributes
    ----------
    name : the catalog's name (`haiku-4-5`), or the id as given where the catalog does not know it.
    model_id : the id or ARN to send.
    profile : the profile kind that decides the price (`us`, `global`, `on-demand`).
    spec : the catalog's row; None where the catalog does not know the model.
    prices : Bedrock's list prices of the model, or the user's own; without rows where none are known.
    """

    name: str
    model_id: str
    profile: str
    spec: ModelSpec | None
    prices: PriceList

    def served_as(self, service_tier: str | None, latency: str | None) -> ResolvedModel:
        """Return the model with the prices that hold so: lists have the default tier's and the standard latency's."""
        if service_tier in (None, "default") and latency in (None, "standard"):
            return self
        return replace(self, prices=PriceList(self.prices.dated))

    def cost(self, usage: Usage, *, batch: bool = False) -> Decimal | None:
        """Return the price of a usage in dollars, as a call or in a batch job; None where it is not known."""
        return self.prices.cost(self.profile, usage, batch=batch)

    def most_cost(self, usage: Usage) -> Decimal | None:
        """Return the most dollars that a call of at most these tokens can cost; None where that is not known."""
        return self.prices.most(self.profile, usage)


class Catalog(Row):
    """The models of `catalog.yaml`, and their prices.

    Attributes
    ----------
    aliases : the names that people type, and the models that they stand for today.
    geographies : the regions that the inference profiles of a geography are called from.
    prices_dated : the day on which the prices that ship with AgentFlow were read.
    prices : price lists by the model's name, or by the id of a model that is in the user's own prices only.
    base_models : the model behind an id that does not tell it, such as the ARN of an application inference profile.
    """

    aliases: Mapping[str, str]
    geographies: Mapping[ProfileKind, tuple[str, ...]]
    models: Mapping[str, ModelSpec]
    prices_dated: date
    prices: Mapping[str, PriceList]
    base_models: Mapping[str, str] = {}

    def resolve(self, model: str | None, region: str) -> ResolvedModel:
        """Return what to send for a model name.

        Parameters
        ----------
        model : a `ModelType`, an alias (`haiku`), either behind a kind of profile (`global.haiku`), a Bedrock id,
            profile or ARN (anything else with a dot or a colon passes unchanged), or None for the alias `fast`.
        region : the client's region, which decides the inference profile where the name does not.

        Raises
        ------
        UnknownModelError
            The name is no alias and looks like no Bedrock id, or the model cannot be called from the region.
        """
        asked = str(model or "fast")  # the plain text of a ModelType
        if base := self.base_models.get(asked):
            return self._application_profile(asked, self.resolve(base, region))
        kind, _, plain = asked.partition(".")
        chosen = kind if kind in get_args(ProfileKind) else None
        name = self.aliases.get(plain, plain) if chosen else self.aliases.get(asked, asked)
        if spec := self.models.get(name):
            profile = _chosen_profile(spec, chosen) if chosen else self.profile_for(spec, region)
            model_id = spec.id if profile == ON_DEMAND else f"{profile}.{spec.id}"
            return self._resolved(name, model_id, profile)
        meant = self._meant(asked)
        if ("." in asked or ":" in asked) and meant is None:
            return self._known_id(asked)
        known = sorted({*self.aliases, *self.models})
        hint = f" (did you mean {meant!r}?)" if meant else nearest(asked.lower(), known)
        raise UnknownModelError(
            f"{asked!r} is no model of the catalog{hint}.",
            fix=f"Use one of {', '.join(known)}, or a full Bedrock model id, inference profile or ARN.",
        )

    def _meant(self, asked: str) -> str | None:
        """Return what stands for a known id without its date and version, or for a name that is no id of Bedrock's."""
        kind, _, rest = asked.partition(".")
        prefix, bare = (f"{kind}.", rest) if kind in get_args(ProfileKind) else ("", asked)
        if bare in self._names:
            return None
        if bare.startswith("claude-"):  # as Anthropic's own API has it
            name = bare.removeprefix("claude-").replace(".", "-")
            return f"{prefix}{name}" if name in self.models else None
        known = self._by_short_id.get(bare)
        return f"{prefix}{known}" if known else None

    def through(self, profile: str, resolved: ResolvedModel) -> ResolvedModel:
        """Return a model as it is called through another kind of profile.

        Raises
        ------
        UnknownModelError
            It has none of that kind, or is known by an application inference profile, which decides it.
        """
        if resolved.spec is None or resolved.model_id.startswith("arn:"):
            raise UnknownModelError(f"{resolved.name} has no profile {profile!r}.", fix="Name a model of the catalog.")
        model_id = f"{_chosen_profile(resolved.spec, profile)}.{resolved.spec.id}"
        return self._resolved(resolved.name, model_id, profile)

    def _resolved(self, name: str, model_id: str, profile: str) -> ResolvedModel:
        if spec := self.models.get(name):
            _check_lifecycle(name, spec)
        prices = self.prices.get(name) or PriceList(self.prices_dated)
        return ResolvedModel(name, model_id, profile, spec, prices)

    def _application_profile(self, model_id: str, base: ResolvedModel) -> ResolvedModel:
        """Return the model behind an application inference profile: its price and limits are those of its base."""
        if base.spec is None:
            raise UnknownModelError(
                f"base_models: {base.name!r}, for {model_id}, is no model of the catalog.",
                fix="Name the model that the profile was made from, such as 'haiku' or 'global.haiku'.",
            )
        return replace(base, model_id=model_id, prices=self.prices.get(model_id) or base.prices)

    def profile_for(self, spec: ModelSpec, region: str) -> ProfileKind:
        """Return the kind of profile that a model is called through from a region.

        Raises
        ------
        UnknownModelError
            It has none that serves the region.
        """
        wanted = [next((name for name, regions in self.geographies.items() if region in regions), GLOBAL)]
        if region.startswith("ap-"):
            wanted.append("apac")
        if not region.startswith("us-gov-"):  # a partition of its own, which global profiles do not reach
            wanted.append(GLOBAL)
        if found := next((profile for profile in wanted if profile in spec.profiles), None):
            return found
        if spec.on_demand:
            return ON_DEMAND
        raise UnknownModelError(
            f"{spec.id} has no inference profile that serves {region}.",
            fix=f"It has {', '.join(spec.profiles)}: choose another region, or another model.",
        )

    def routed_to(self, profile: str, region: str) -> tuple[str, ...]:
        """Return the regions that a profile may send a request to from a region, as far as the catalog knows them.

        They are the regions that it is called from: a profile sends requests to some of these, and to no other.
        """
        known = self.geographies.get(cast("ProfileKind", profile), ())
        return tuple(sorted({*known, region}))

    def serves(self, region: str, model_id: str) -> bool:
        """Return whether an id may be called from a region, as far as it tells: an ARN or a profile names its own."""
        if model_id.startswith("arn:"):
            return region in model_id.split(":")[3:4]
        kind = cast("ProfileKind", model_id.partition(".")[0])
        if kind == "apac":  # of all of Asia and the Pacific, as `profile_for` has it
            return region.startswith("ap-")
        return kind not in self.geographies or region in self.geographies[kind]

    def _known_id(self, model_id: str) -> ResolvedModel:
        """Find what is known of an id or ARN, so that it has a price; the id itself passes unchanged."""
        short = model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id
        for bare_id in (model_id, short):  # an application profile's ARN can be in the user's own prices
            if name := self._names.get(bare_id):
                return self._resolved(name, model_id, ON_DEMAND)
        profile, _, bare_id = short.partition(".")
        if profile in get_args(ProfileKind) and (name := self._names.get(bare_id)):
            return self._resolved(name, model_id, profile)
        return self._resolved(model_id, model_id, ON_DEMAND)

    def name_of(self, model_id: str) -> str | None:
        """Return the catalog's name of the model behind an id, profile or ARN; None where these do not tell it."""
        if base := self.base_models.get(model_id):
            return self.aliases.get(base.rpartition(".")[2], base.rpartition(".")[2])
        short = model_id.rpartition("/")[2]
        profile, _, bare_id = short.partition(".")
        return self._names.get(short) or (self._names.get(bare_id) if profile in get_args(ProfileKind) else None)

    @cached_property
    def _by_short_id(self) -> Mapping[str, str]:
        """Each id by what it is without its date and version."""
        return {_ID_END.sub("", spec.id): spec.id for spec in self.models.values()}

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """The name of each id."""
        return {name: name for name in self.prices} | {spec.id: name for name, spec in self.models.items()}


def _chosen_profile(spec: ModelSpec, kind: str) -> str:
    if kind in spec.profiles or (kind == ON_DEMAND and spec.on_demand):
        return kind
    raise UnknownModelError(
        f"{spec.id} has no profile {kind!r}.", fix=f"It has {', '.join(spec.profiles) or 'none: use its bare name'}."
    )


def load_catalog() -> Catalog:
    """Return the catalog that ships with AgentFlow, with the prices of the file that `AGENTFLOW_PRICES` names.

    Raises
    ------
    DefinitionError
        That file cannot be read, or a price in it is written wrongly.
    """
    catalog = _shipped()
    if not (own := setting("AGENTFLOW_PRICES").value):
        return catalog
    names = {spec.id: name for name, spec in catalog.models.items()}
    own_prices = read_price_file(Path(own).expanduser(), names)
    return Catalog.model_validate({**dict(catalog), "prices": {**catalog.prices, **own_prices}})


@cache
def _shipped() -> Catalog:
    price_file = PriceFile.model_validate(_data("prices.yaml"))
    return Catalog.model_validate(
        {**_data("catalog.yaml"), "prices_dated": price_file.dated, "prices": price_file.lists()}
    )


def _data(name: str) -> Any:
    text = files("agentflow.models").joinpath(name).read_text(encoding="utf-8")
    # A base loader leaves every scalar a string, so that a price becomes a Decimal without passing through a float.
    return yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 - makes no objects


def end_of(spec: ModelSpec) -> str:
    """Return when a model has come to its end, or is about to, in words; empty where it is not near."""
    if spec.end_of_life is None:
        return ""
    today = date.today()  # noqa: DTZ011 - AWS announces dates, not instants
    if spec.end_of_life <= today:
        return f"reached its end of life on {spec.end_of_life}"
    is_near = spec.end_of_life - today <= WARNING_TIME or (spec.legacy_since and spec.legacy_since <= today)
    return f"reaches its end of life on {spec.end_of_life}" if is_near else ""


def _check_lifecycle(name: str, spec: ModelSpec) -> None:
    """Warn of a model that has come to its end, or is about to."""
    if end := end_of(spec):
        _warn_of_end(name, end, spec.successor)


@cache
def _warn_of_end(name: str, what: str, successor: str | None) -> None:
    """Say it once."""
    instead = f"use {successor!r}" if successor else "choose another model"
    warnings.warn(f"{name!r} {what}: {instead}.", UserWarning, stacklevel=6)
