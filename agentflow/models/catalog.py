"""The models that AgentFlow knows (`catalog.yaml`): which id a name stands for, and what a call costs.

Nothing here talks to Bedrock. Money is `Decimal`, in US dollars; a price that is not listed is None, never 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict

from agentflow.core.errors import UnknownModelError, nearest
from agentflow.core.model import Usage

PER_MILLION = Decimal(1_000_000)
ON_DEMAND = "on-demand"


class ModelType(StrEnum):
    """The models of the catalog, by version. `"haiku"`, `"sonnet"` and the like name the current one of a family."""

    HAIKU_4_5 = "haiku-4-5"
    HAIKU_5_5 = "haiku-5-5"
    SONNET_4 = "sonnet-4"
    SONNET_4_5 = "sonnet-4-5"
    SONNET_4_6 = "sonnet-4-6"
    SONNET_5 = "sonnet-5"
    SONNET_5_5 = "sonnet-5-5"
    OPUS_4_5 = "opus-4-5"
    OPUS_4_6 = "opus-4-6"
    OPUS_4_7 = "opus-4-7"
    OPUS_4_8 = "opus-4-8"
    OPUS_5 = "opus-5"
    OPUS_5_5 = "opus-5-5"
    FABLE_5 = "fable-5"
    FABLE_5_1 = "fable-5-1"
    NOVA_MICRO = "nova-micro"
    NOVA_LITE = "nova-lite"
    NOVA_PRO = "nova-pro"
    NOVA_2_LITE = "nova-2-lite"


class _Row(BaseModel):
    """A value read from `catalog.yaml`; unknown keys are errors, so that a typing slip is not a missing price."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Row):
    """Dollars per million tokens for some profile kinds, from a prompt length on."""

    profiles: tuple[str, ...]
    over_tokens: int = 0
    input: Decimal
    output: Decimal
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cache_read: Decimal | None = None

    def cost(self, usage: Usage) -> Decimal | None:
        """Return the dollars for a usage, or None where it has tokens of a kind that has no listed price.

        Formula: input, output, cache read and cache write tokens, each times its own price; Bedrock's `inputTokens`
        leaves cached tokens out (Amazon Bedrock User Guide, quotas-token-burndown).
        """
        written_5m = usage.cache_write_tokens - usage.cache_write_1h_tokens
        parts = (
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cache_read_tokens, self.cache_read),
            (written_5m, self.cache_write_5m),
            (usage.cache_write_1h_tokens, self.cache_write_1h),
        )
        total = Decimal(0)
        for tokens, price in parts:
            if tokens and price is None:
                return None
            total += tokens * (price or Decimal(0))
        return total / PER_MILLION


class ModelSpec(_Row):
    """One model of the catalog."""

    id: str
    profiles: tuple[str, ...]
    on_demand: bool
    context_tokens: int
    max_output_tokens: int
    cache_min_tokens: int | None = None
    burndown: int = 1
    counts_tokens: bool = True
    json_schema: bool = False
    end_of_life: date | None = None
    successor: str | None = None
    prices: tuple[Price, ...]

    def price(self, profile: str, prompt_tokens: int) -> Price | None:
        """Return the price row for a profile kind (`us`, `global`, `on-demand`) and prompt length, None if unknown."""
        rows = [
            row
            for row in self.prices
            if profile in row.profiles and (row.over_tokens == 0 or prompt_tokens > row.over_tokens)
        ]
        return max(rows, key=lambda row: row.over_tokens, default=None)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a model name stands for in a region.

    Attributes
    ----------
    name : the catalog's name (`haiku-4-5`), or the id as given where the catalog does not know it.
    model_id : the id or ARN to send.
    profile : the profile kind that decides the price (`us`, `global`, `on-demand`).
    spec : the catalog's row; None where the catalog does not know the model.
    """

    name: str
    model_id: str
    profile: str
    spec: ModelSpec | None

    def cost(self, usage: Usage) -> Decimal | None:
        """Return Bedrock's list price of a usage in dollars; None where the price is not known."""
        if self.spec is None:
            return None
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        price = self.spec.price(self.profile, prompt)
        return price.cost(usage) if price else None


class Catalog(_Row):
    """The whole of `catalog.yaml`."""

    prices_dated: date
    aliases: Mapping[str, str]
    geographies: Mapping[str, tuple[str, ...]]
    models: Mapping[str, ModelSpec]

    def resolve(self, model: str | None, region: str) -> ResolvedModel:
        """Return what to send for a model name.

        Parameters
        ----------
        model : a `ModelType`, an alias (`haiku`), a Bedrock id, profile or ARN (anything with a dot or a colon passes
            unchanged), or None for the alias `fast`.
        region : the client's region, which decides the inference profile.

        Raises
        ------
        UnknownModelError
            The name is no alias and looks like no Bedrock id, or the model cannot be called from the region.
        """
        asked = str(model or "fast")  # the plain text of a ModelType
        name = self.aliases.get(asked, asked)
        if spec := self.models.get(name):
            if spec.end_of_life and spec.end_of_life <= date.today():  # noqa: DTZ011 - AWS announces dates, not instants
                _warn_retired(name, spec.end_of_life, spec.successor)
            profile = self._profile(spec, region)
            model_id = spec.id if profile == ON_DEMAND else f"{profile}.{spec.id}"
            return ResolvedModel(name, model_id, profile, spec)
        if "." in asked or ":" in asked:
            return self._known_id(asked)
        known = sorted({*self.aliases, *self.models})
        raise UnknownModelError(
            f"{asked!r} is no model of the catalog{nearest(asked, known)}.",
            fix=f"Use one of {', '.join(known)}, or a full Bedrock model id, inference profile or ARN.",
        )

    def _profile(self, spec: ModelSpec, region: str) -> str:
        geography = next((name for name, regions in self.geographies.items() if region in regions), "global")
        wanted = [geography, "apac"] if region.startswith("ap-") else [geography]
        if not region.startswith("us-gov-"):  # a partition of its own, which global profiles do not reach
            wanted.append("global")
        if found := next((profile for profile in wanted if profile in spec.profiles), None):
            return found
        if spec.on_demand:
            return ON_DEMAND
        raise UnknownModelError(
            f"{spec.id} has no inference profile that serves {region}.",
            fix=f"It has {', '.join(spec.profiles)}: choose another region, or another model.",
        )

    def _known_id(self, model_id: str) -> ResolvedModel:
        """Find the catalog's row for an id or ARN, so that its price is known; the id itself passes unchanged."""
        short = model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id
        for name, spec in self.models.items():
            prefix, found, rest = short.partition(spec.id)
            if found and not rest and (prefix == "" or prefix[:-1] in spec.profiles):
                return ResolvedModel(name, model_id, prefix[:-1] or ON_DEMAND, spec)
        return ResolvedModel(model_id, model_id, ON_DEMAND, None)


@cache
def load_catalog() -> Catalog:
    """Return the catalog that ships with AgentFlow, read once."""
    text = files("agentflow.models").joinpath("catalog.yaml").read_text(encoding="utf-8")
    # BaseLoader leaves every scalar a string, so that a price becomes a Decimal without passing through a float.
    return Catalog.model_validate(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506 - BaseLoader makes no objects


@cache
def _warn_retired(name: str, end_of_life: date, successor: str | None) -> None:
    """Say once that a model is past its announced end."""
    instead = f"use {successor!r}" if successor else "choose another model"
    warnings.warn(f"{name!r} reached its end of life on {end_of_life}: {instead}.", UserWarning, stacklevel=4)
