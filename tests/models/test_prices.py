"""Prices: every row of the fact sheet's table to the last digit, and costs that add up."""

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.model import Usage
from agentflow.models.catalog import load_catalog
from agentflow.models.prices import ON_DEMAND, Price, PriceList

CATALOG = load_catalog()
MILLION = 1_000_000
SHORT = 1_000  # tokens of a prompt that is in the first tier of every model

# The parts of a usage that a price list tells apart, as functions of the number of tokens.
PARTS = {
    "input": lambda tokens: Usage(input_tokens=tokens),
    "output": lambda tokens: Usage(output_tokens=tokens),
    "cache_write_5m": lambda tokens: Usage(cache_write_tokens=tokens),
    "cache_write_1h": lambda tokens: Usage(cache_write_tokens=tokens, cache_write_1h_tokens=tokens),
    "cache_read": lambda tokens: Usage(cache_read_tokens=tokens),
}


class Golden(NamedTuple):
    """A model id, as it is called, with the row that the table has for it."""

    model_id: str
    over_tokens: int
    row: dict[str, str]

    def price(self, column: str) -> Decimal | None:
        return Decimal(self.row[column]) if self.row[column] else None

    def cost(self, usage: Usage, *, batch: bool = False) -> Decimal | None:
        return CATALOG.resolve(self.model_id, "us-east-1").cost(usage, batch=batch)


def table() -> Iterator[Golden]:
    """Read the table: as the fact sheet has it, with the long prompts that it gives as factors worked out."""
    with (Path(__file__).parent / "price_table.csv").open() as file:
        for row in csv.DictReader(file):
            for profile in row["profiles"].split():
                model_id = row["model_id"] if profile == "bare" else f"{profile}.{row['model_id']}"
                yield Golden(model_id, int(row["over_tokens"]), row)


def is_callable(golden: Golden) -> bool:
    """Return whether Bedrock takes the id: no bare one of Claude 4 and later, nor of Nova 2."""
    return not golden.model_id.startswith(("anthropic.", "amazon.nova-2"))


ROWS = [golden for golden in table() if is_callable(golden)]
REFUSED = [golden for golden in table() if not is_callable(golden)]


def in_tier(golden: Golden, part: str) -> tuple[Usage, Decimal | None]:
    """Return a usage in the row's tier of prompt lengths that has tokens of one kind, and what these cost."""
    tokens = golden.over_tokens + SHORT
    price = golden.price(part)
    if part != "output":
        return PARTS[part](tokens), None if price is None else tokens * price / MILLION
    prompt = golden.over_tokens + 1
    of_prompt = golden.price("input")
    assert price is not None
    assert of_prompt is not None
    return Usage(prompt, tokens), (prompt * of_prompt + tokens * price) / MILLION


def test_the_table_is_whole() -> None:
    """The sheet prices 154 ids, 20 of them also for long prompts, of all models but the four that no list has."""
    assert len({golden.row["model_id"] for golden in table()}) == len(CATALOG.models) - 4
    assert sum(golden.over_tokens == 0 for golden in table()) == 154
    assert len(ROWS) + len(REFUSED) == 174


@pytest.mark.parametrize("golden", ROWS, ids=lambda golden: f"{golden.model_id}>{golden.over_tokens}")
def test_a_price_is_that_of_the_table(golden: Golden) -> None:
    for part in PARTS:
        usage, dollars = in_tier(golden, part)
        assert golden.cost(usage) == dollars, part


@pytest.mark.parametrize("golden", ROWS, ids=lambda golden: f"{golden.model_id}>{golden.over_tokens}")
def test_a_batch_price_is_that_of_the_table_and_has_no_cache(golden: Golden) -> None:
    prompt = golden.over_tokens + SHORT
    of_input, of_output = golden.price("batch_input"), golden.price("batch_output")
    known = of_input is not None and of_output is not None
    dollars = (prompt * (of_input or 0) + 500 * (of_output or 0)) / MILLION if known else None
    assert golden.cost(Usage(prompt, 500), batch=True) == dollars
    assert golden.cost(Usage(prompt, 500, cache_read_tokens=1), batch=True) is None


@pytest.mark.parametrize("golden", REFUSED, ids=lambda golden: golden.model_id)
def test_a_bare_id_that_cannot_be_called_has_no_price(golden: Golden) -> None:
    assert golden.cost(Usage(1, 1)) is None
    assert golden.cost(Usage(1, 1), batch=True) is None


def test_no_price_is_in_the_catalog_that_the_table_does_not_have() -> None:
    known = {(golden.model_id, golden.over_tokens) for golden in ROWS}
    for name, prices in CATALOG.prices.items():
        for row in prices.rows:
            for profile in row.profiles:
                bare_id = CATALOG.models[name].id
                model_id = bare_id if profile == ON_DEMAND else f"{profile}.{bare_id}"
                assert (model_id, row.over_tokens) in known


@pytest.mark.parametrize("name", [name for name in CATALOG.prices if name.startswith("nova")])
def test_what_nova_takes_to_write_a_cache_is_not_known(name: str) -> None:
    assert all(row.cost(Usage(1, 1, 0, 1)) is None for row in CATALOG.prices[name].rows)


def test_a_long_prompt_is_told_by_all_its_tokens_and_not_by_those_of_the_answer() -> None:
    prices = CATALOG.prices["haiku-5-5"]
    assert prices.cost("global", Usage(50_000, 0, 50_000)) == Decimal("0.0055")
    assert prices.cost("global", Usage(50_000, 0, 50_001)) == Decimal("0.02750005")
    assert prices.cost("global", Usage(100_000, 128_000)) == Decimal("0.074")


def test_counts_that_contradict_themselves_have_no_price() -> None:
    prices = CATALOG.prices["haiku-4-5"]
    assert prices.cost("us", Usage(1, -1)) is None
    assert prices.cost("us", Usage(1, 1, cache_write_tokens=5, cache_write_1h_tokens=6)) is None


@pytest.mark.parametrize("model", ["haiku", "some.new-model-v9:0"])
def test_prices_have_the_day_on_which_they_were_read(model: str) -> None:
    assert CATALOG.resolve(model, "us-east-1").prices.dated == CATALOG.prices_dated


COUNTS = st.integers(0, 10_000)
USAGES = st.builds(
    lambda given, answered, read, kept, kept_long: Usage(given, answered, read, kept + kept_long, kept_long),
    *[COUNTS] * 5,
)
PRICED = st.sampled_from([(name, row) for name, prices in CATALOG.prices.items() for row in prices.rows])


@given(PRICED, USAGES, USAGES, st.booleans())
def test_costs_below_a_tier_add_up_and_are_never_negative(
    priced: tuple[str, Price], one: Usage, two: Usage, batch: bool
) -> None:
    name, row = priced
    prices, profile = CATALOG.prices[name], row.profiles[0]
    costs = [prices.cost(profile, usage, batch=batch) for usage in (one, two)]
    together = prices.cost(profile, one + two, batch=batch)
    if costs[0] is None or costs[1] is None:
        assert together is None
    else:
        assert together == costs[0] + costs[1]
        assert min(costs[0], costs[1]) >= 0


@given(PRICED, st.builds(Usage, *[st.integers(-300_000, 300_000)] * 5))
def test_no_counts_whatever_have_a_negative_cost(priced: tuple[str, Price], usage: Usage) -> None:
    name, row = priced
    cost = CATALOG.prices[name].cost(row.profiles[0], usage)
    assert cost is None or cost >= 0


@given(PRICED, st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 10_000))
def test_no_call_is_dearer_than_the_most(
    priced: tuple[str, Price], given_tokens: int, read: int, more: int, answered: int
) -> None:
    """Tokens that are read from a cache are part of the prompt, and cheaper."""
    name, row = priced
    prices, profile = CATALOG.prices[name], row.profiles[0]
    most = prices.most(profile, Usage(given_tokens + read + more, answered))
    assert most is not None
    assert (prices.cost(profile, Usage(given_tokens, answered, read)) or 0) <= most


def test_the_dearest_tier_is_found_where_a_longer_prompt_is_cheaper() -> None:
    rows = [
        Price(profiles=("us",), input=Decimal(10), output=Decimal(10)),
        Price(profiles=("us",), over_tokens=1000, input=Decimal(1), output=Decimal(1)),
    ]
    assert PriceList(CATALOG.prices_dated, tuple(rows)).most("us", Usage(1_001, 0)) == Decimal("0.01001")
