"""The catalog's facts as the local endpoint takes them."""

from __future__ import annotations

from agentflow.local.facts import ServedModel, ServedModels
from agentflow.models.catalog import load_catalog


def served_models() -> ServedModels:
    """Return the models of the catalog, for `agentflow.local`, which lies below it and knows no catalog."""
    catalog = load_catalog()
    models = (
        ServedModel(
            spec.id,
            spec.profiles,
            spec.on_demand,
            spec.context_tokens,
            spec.max_output_tokens,
            cache_min_tokens=spec.cache_min_tokens,
            burndown=spec.burndown,
            counts_tokens=spec.count_tokens is not False,
            end_of_life=spec.end_of_life,
        )
        for spec in catalog.models.values()
    )
    return ServedModels(models, {str(name): regions for name, regions in catalog.geographies.items()})
