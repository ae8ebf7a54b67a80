"""Which models the endpoint pretends to serve. The caller hands these facts in: the catalog lies in a room above."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

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


class ServedModels:
    """The models by every name that a client may call them."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._by_id: dict[str, ServedModel] = {}
        for model in models:
            self._by_id[model.model_id] = model
            self._by_id.update({f"{profile}.{model.model_id}": model for profile in model.profiles})

    def find(self, name: str) -> ServedModel:
        """Return the model of a bare id, a profile's id or the ARN of either.

        Raises
        ------
        Refusal
            Nothing has that name, or it is the bare id of a model that only a profile may call.
        """
        called_as = bare_name(name)
        model = self._by_id.get(called_as)
        if model is None:
            raise invalid("The provided model identifier is invalid.")
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
    arn = _ARN.fullmatch(name)
    return arn["id"] if arn else name
