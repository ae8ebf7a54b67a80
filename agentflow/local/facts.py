"""Which models the endpoint pretends to serve. The caller hands these facts in: the catalog lies in a room above."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from agentflow.local.errors import invalid

MODEL_HEADER = "x-agentflow-model"  # of every response: the label of the model that answered, percent-encoded

_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:(?:[0-9]{12}:inference-profile|:foundation-model)/(?P<id>[^/]+)",
)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of Bedrock, as far as the endpoint must know it."""

    model_id: str  # the bare id, without a geography
    profiles: tuple[str, ...]  # geographies of its inference profiles, such as "us", "eu", "global"
    on_demand: bool  # whether the bare id can be called
    context_tokens: int
    max_output_tokens: int
    cache_min_tokens: int | None = None  # the shortest prompt that is cached; None: no prompt caching
    burndown: int = 1  # what one output token takes of a token quota
    counts_tokens: bool = True  # whether CountTokens takes it
    end_of_life: date | None = None  # where it is announced

    def check_max_tokens(self, asked: int | None) -> None:
        """Refuse a request for a longer answer than the model can give.

        Raises
        ------
        Refusal
            It is one.
        """
        limit = self.max_output_tokens
        if asked and asked > limit:
            raise invalid(
                f"The maximum tokens you requested exceed the model limit of {limit}. Try again with a maximum "
                f"tokens value lower than {limit}."
            )


class ServedModels:
    """The models by every name that a client may call them.

    Parameters
    ----------
    models : iterable of ServedModel
        In the order in which lists show them.
    geographies : mapping of str to sequence of str
        The source regions of each geography's inference profiles; a region of none has the global ones only.
    """

    def __init__(self, models: Iterable[ServedModel], geographies: Mapping[str, Sequence[str]] = {}) -> None:
        self._geographies = geographies
        self._by_id: dict[str, ServedModel] = {}
        for model in models:
            self._by_id[model.model_id] = model
            self._by_id.update({f"{profile}.{model.model_id}": model for profile in model.profiles})

    def __iter__(self) -> Iterator[ServedModel]:
        """Iterate over the models, each once."""
        return iter(dict.fromkeys(self._by_id.values()))

    def geographies_of(self, region: str) -> Sequence[str]:
        """Return the geographies whose profiles can be called from a region, the nearest first."""
        near = [name for name, regions in self._geographies.items() if region in regions]
        near += ["apac"] if region.startswith("ap-") else []
        return near if region.startswith("us-gov-") else [*near, "global"]  # a partition that global ones do not reach

    def regions_of(self, geography: str, region: str) -> Sequence[str]:
        """Return the regions of a geography, and at least the one that asks."""
        return self._geographies.get(geography, (region,))

    def named(self, name: str) -> ServedModel:
        """Return the model of a bare id, a profile's id or the ARN of either.

        Raises
        ------
        Refusal
            Nothing has that name.
        """
        model = self._by_id.get(bare_name(name))
        if model is None:
            raise invalid("The provided model identifier is invalid.")
        return model

    def find(self, name: str) -> ServedModel:
        """Return the model that a request by this name reaches.

        Raises
        ------
        Refusal
            Nothing has that name, or it is the bare id of a model that only a profile may call.
        """
        model, called_as = self.named(name), bare_name(name)
        if not model.on_demand and called_as == model.model_id:
            # Bedrock writes this apostrophe as U+2019, and clients match the sentence.
            message = (
                f"Invocation of model ID {name} with on-demand throughput isn\u2019t supported. Retry your request "
                "with the ID or ARN of an inference profile that contains this model."
            )
            raise invalid(message)
        return model


def bare_name(name: str) -> str:
    """Return the id or profile in an ARN; any other name as it is."""
    arn = _ARN.fullmatch(name) if name.startswith("arn:") else None
    return arn["id"] if arn else name
