"""Our prices beside those of the library genai-prices: where a new release of it differs, a price may have changed.

The library is no source of ours: what it does not have or has for another place is listed here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from agentflow.models.catalog import load_catalog
from agentflow.models.prices import ON_DEMAND, Price

CATALOG = load_catalog()

# Their counterparts in the library.
COLUMNS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "cache_read": "cache_read_mtok",
}

# The library gives these the price of another geography, which is lower.
OF_ANOTHER_PLACE = {
    "us-gov.anthropic.claude-haiku-5-5",
    "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us-gov.anthropic.claude-sonnet-5",
    "us-gov.anthropic.claude-sonnet-5-5",
    "eu.amazon.nova-micro-v1:0",
    "apac.amazon.nova-micro-v1:0",
    "eu.amazon.nova-lite-v1:0",
    "apac.amazon.nova-lite-v1:0",
    "eu.amazon.nova-pro-v1:0",
    "apac.amazon.nova-pro-v1:0",
    "eu.amazon.nova-2-lite-v1:0",
    "jp.amazon.nova-2-lite-v1:0",
}
WITHOUT_LONG_PROMPTS = {"sonnet-4", "sonnet-4-5"}


def their_price(model_id: str) -> ModelPrice | None:
    """Return the library's price on the day of ours; None where it does not know the model."""
    try:
        _, model = get_snapshot().find_provider_model(model_id, None, "aws", None)
    except LookupError:
        return None
    return model.get_prices(datetime.combine(CATALOG.prices_dated, time(12), UTC))


def dollars(price: Decimal | TieredPrices | None, over_tokens: int) -> Decimal | None:
    """Return the price of a prompt that is longer than that."""
    if not isinstance(price, TieredPrices):
        return price
    return next((tier.price for tier in reversed(price.tiers) if over_tokens >= tier.start), price.base)


def rows_of_both() -> Iterator[tuple[str, Price, ModelPrice]]:
    """Read each of our rows, by the id of the model, with the library's price where it has one."""
    for name, prices in CATALOG.prices.items():
        bare_id = CATALOG.models[name].id
        for row in prices.rows:
            if row.over_tokens and name in WITHOUT_LONG_PROMPTS:
                continue
            for profile in row.profiles:
                model_id = bare_id if profile == ON_DEMAND else f"{profile}.{bare_id}"
                if theirs := their_price(model_id):
                    yield model_id, row, theirs


@pytest.mark.parametrize(
    ("model_id", "row", "theirs"),
    [pytest.param(*both, id=f"{both[0]}>{both[1].over_tokens}") for both in rows_of_both()],
)
def test_the_library_has_the_same_price_but_for_those_of_another_place(
    model_id: str, row: Price, theirs: ModelPrice
) -> None:
    same = all(
        getattr(row, ours) == dollars(getattr(theirs, column), row.over_tokens) for ours, column in COLUMNS.items()
    )
    assert same == (model_id not in OF_ANOTHER_PLACE)
