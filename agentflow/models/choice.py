"""Choosing a model: the catalog as a table, and the model that suits a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.core.errors import UnknownModelError
from agentflow.models.catalog import Catalog, ModelType, load_catalog
from agentflow.models.model_spec import ModelSpec
from agentflow.models.prices import ON_DEMAND

if TYPE_CHECKING:
    import pandas as pd

SIMPLE_TASKS = ("summarize", "extract", "classify")  # the operation runbook's


def list_models(region_name: str | None = None) -> pd.DataFrame:
    """Return the models of the catalog, one row each.

    Parameters
    ----------
    region_name : the region to call them from; default that of a `BedrockClient()`.

    Returns
    -------
    DataFrame
        `model`, `aliases`, `model_id` (what is called from the region; `<NA>` where nothing can be), `context_tokens`,
        `max_output_tokens`, list prices in dollars per million tokens (of short prompts, where the length matters) and
        the date of these, what the model can do (`<NA>`: no source says), when it ends and what to use then.
    """
    region = region_name or ports.load("model_client")().region
    catalog = load_catalog()
    records = [_record(catalog, name, spec, region) for name, spec in catalog.models.items()]
    frame: pd.DataFrame = ports.load("models_frame")(records)
    return frame


def select_model(task_description: str) -> ModelType:
    """Return the catalog's fast model for a task that says it is simple, and its capable model for all others.

    Examples
    --------
    >>> select_model("Summarize the ticket")
    <ModelType.HAIKU_4_5: 'haiku-4-5'>
    """
    is_simple = any(keyword in task_description.lower() for keyword in SIMPLE_TASKS)
    return ModelType(load_catalog().aliases["fast" if is_simple else "capable"])


def _record(catalog: Catalog, name: str, spec: ModelSpec, region: str) -> Mapping[str, Any]:
    try:
        profile = catalog.profile_for(spec, region)
    except UnknownModelError:
        profile = None
    prices = catalog.prices.get(name)
    price = (
        next((row for row in prices.rows if profile in row.profiles and not row.over_tokens), None) if prices else None
    )
    return {
        "model": name,
        "aliases": _names(catalog, name),
        "model_id": spec.id if profile == ON_DEMAND else f"{profile}.{spec.id}" if profile else None,
        "context_tokens": spec.context_tokens,
        "max_output_tokens": spec.max_output_tokens,
        "input_per_million_usd": price.input if price else None,
        "output_per_million_usd": price.output if price else None,
        "cache_read_per_million_usd": price.cache_read if price else None,
        "price_date": prices.dated.isoformat() if prices and price else None,
        "json_schema": spec.json_schema,
        "forced_tool": spec.forced_tool,
        "sampling": spec.sampling,
        "count_tokens": spec.count_tokens,
        "batch": spec.batch,
        "cache_min_tokens": spec.cache_min_tokens,
        "end_of_life": spec.end_of_life.isoformat() if spec.end_of_life else None,
        "successor": spec.successor,
    }


def _names(catalog: Catalog, name: str) -> str | None:
    aliases: Sequence[str] = [alias for alias, target in catalog.aliases.items() if target == name]
    return ", ".join(aliases) or None
