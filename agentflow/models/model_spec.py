"""What is known of a model beside its prices: its ids, its limits, what it can do, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

from agentflow.core.content import CacheTime
from agentflow.models.prices import ProfileKind, Row


class ModelSpec(Row):
    """One model of the catalog. A capability is None where no source says whether the model has it.

    Attributes
    ----------
    id : the bare id, without the prefix of a profile.
    profiles : the kinds of its inference profiles.
    on_demand : the bare id can be called, at least in some regions.
    context_tokens, max_output_tokens : the most tokens of prompt and answer together, and of the answer.
    json_schema : takes an output schema as such.
    forced_tool : can be made to call a tool.
    sampling : takes `temperature` and the like.
    count_tokens : CountTokens answers for it.
    batch : can be asked in batch jobs.
    cache_min_tokens : the shortest prompt prefix that is cached.
    cache_ttls : how long cached prefixes may be kept; empty where nothing is cached.
    burndown : tokens of the quota that each token of the answer takes.
    tokenizer : the family, where it is one of Claude's: the newer makes about 30 % more tokens of the same text.
    quota_codes : of the quotas of tokens per minute in Service Quotas, by the kind of quota.
    legacy_since, end_of_life : dates that were announced.
    successor : the catalog's name of the model to use instead.
    """

    id: str
    profiles: tuple[ProfileKind, ...] = ()
    on_demand: bool = False
    context_tokens: int
    max_output_tokens: int
    json_schema: bool | None = None
    forced_tool: bool | None = None
    sampling: bool | None = None
    count_tokens: bool | None = None
    batch: bool | None = None
    cache_min_tokens: int | None = None
    cache_ttls: tuple[CacheTime, ...] | None = None
    burndown: int = 1
    tokenizer: Literal["older", "newer"] | None = None
    quota_codes: Mapping[Literal["cross-region", "global"], str] = {}
    legacy_since: date | None = None
    end_of_life: date | None = None
    successor: str | None = None

    def cache_time(self, wanted: CacheTime) -> CacheTime | None:
        """Return how long the model keeps a prefix that is to be kept so long; None where it keeps none."""
        known = self.cache_ttls
        return wanted if known is None or wanted in known else next(iter(known), None)
