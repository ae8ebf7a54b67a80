"""Prices of tokens, and what a usage costs. Money is `Decimal`, in US dollars; what is not listed is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentflow.core.model import Usage

PER_MILLION = Decimal(1_000_000)
ON_DEMAND: Literal["on-demand"] = "on-demand"

# How a model is reached: by its bare id, or through an inference profile of a geography.
ProfileKind: TypeAlias = Literal["on-demand", "us", "eu", "jp", "au", "apac", "us-gov", "global"]

Dollars: TypeAlias = Annotated[Decimal, Field(ge=0)]


class Row(BaseModel):
    """A value read from YAML; unknown keys are errors, so that a typing slip is not a missing price."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(Row):
    """Dollars per million tokens for some profile kinds, from a prompt length on.

    Attributes
    ----------
    profiles : the profile kinds that the price holds for.
    over_tokens : it holds for requests with more prompt tokens than that, cached ones among them.
    input, output, cache_write_5m, cache_write_1h, cache_read : dollars per million; None where no price is listed.
    batch_input, batch_output : the same in a batch job, which knows no prompt caching; None where none is listed.
    """

    profiles: tuple[ProfileKind, ...] = Field(min_length=1)
    over_tokens: int = Field(default=0, ge=0)
    input: Dollars
    output: Dollars
    cache_write_5m: Dollars | None = None
    cache_write_1h: Dollars | None = None
    cache_read: Dollars | None = None
    batch_input: Dollars | None = None
    batch_output: Dollars | None = None

    def cost(self, usage: Usage, *, batch: bool = False) -> Decimal | None:
        """Return the dollars for a usage, or None where it has tokens of a kind that has no listed price.

        Formula: input, output, cache read and cache write tokens, each times its own price; Bedrock's `inputTokens`
        leaves cached tokens out (Amazon Bedrock User Guide, quotas-token-burndown).
        """
        parts = (
            (usage.input_tokens, self.batch_input if batch else self.input),
            (usage.output_tokens, self.batch_output if batch else self.output),
            (usage.cache_read_tokens, None if batch else self.cache_read),
            (usage.cache_write_tokens - usage.cache_write_1h_tokens, None if batch else self.cache_write_5m),
            (usage.cache_write_1h_tokens, None if batch else self.cache_write_1h),
        )
        total = Decimal(0)
        for tokens, price in parts:
            if tokens < 0 or (tokens and price is None):
                return None
            total += tokens * (price or Decimal(0))
        return total / PER_MILLION


def _no_price_twice(rows: tuple[Price, ...]) -> tuple[Price, ...]:
    places = [(profile, row.over_tokens) for row in rows for profile in row.profiles]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise ValueError(f"it has two prices for {twice[0]} over {twice[1]:,} tokens")
    return rows


class PriceFile(Row):
    """What a file of prices holds: price rows by model, and the day on which they were read."""

    dated: date
    prices: Mapping[str, Annotated[tuple[Price, ...], AfterValidator(_no_price_twice)]]

    def lists(self) -> Mapping[str, PriceList]:
        """Return the price list of each model."""
        return {model: PriceList(self.dated, rows) for model, rows in self.prices.items()}


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one model, by profile kind and prompt length, and the day on which they were read."""

    dated: date
    rows: tuple[Price, ...] = ()

    def cost(self, profile: str, usage: Usage, *, batch: bool = False) -> Decimal | None:
        """Return the dollars for a usage through a profile kind; None where a price is not known."""
        prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        rows = self._reached(profile, prompt_tokens)
        return max(rows, key=lambda row: row.over_tokens).cost(usage, batch=batch) if rows else None

    def most(self, profile: str, usage: Usage) -> Decimal | None:
        """Return the most dollars that a call of at most these tokens can cost; None where that is not known."""
        prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        costs = [row.cost(usage) for row in self._reached(profile, prompt_tokens)]
        known = [cost for cost in costs if cost is not None]
        return max(known) if known and len(known) == len(costs) else None

    def _reached(self, profile: str, prompt_tokens: int) -> list[Price]:
        """Return the rows of a profile kind that hold up to a prompt length."""
        return [
            row
            for row in self.rows
            if profile in row.profiles and (row.over_tokens == 0 or prompt_tokens > row.over_tokens)
        ]
