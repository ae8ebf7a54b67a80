"""A user's own prices: what they change, and what is said of a file that is written wrongly."""

from decimal import Decimal
from pathlib import Path

import pytest

from agentflow import BedrockClient
from agentflow.core.errors import DefinitionError
from agentflow.core.model import Request, Usage
from agentflow.models import price_file
from agentflow.models.catalog import load_catalog
from tests.endpoint import Endpoint

OWN = """
dated: 2026-11-20
prices:
  haiku-4-5:
    - {profiles: [us], input: 0.99, output: 4.95, batch_input: 0.495, batch_output: 2.475}
    - {profiles: [us], over_tokens: 100000, input: 1.98, output: 7.43}
  deepseek.r1-v1:0:
    - {profiles: [us, on-demand], input: 1.35, output: 5.4}
  arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123:
    - {profiles: [on-demand], input: 1, output: 2}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "prices.yaml"
    file.write_text(OWN)
    monkeypatch.setenv("AGENTFLOW_PRICES", str(file))
    return file


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("model", "usage", "dollars"),
    [
        ("haiku", Usage(100_000, 0), "0.099"),
        ("haiku", Usage(100_001, 0), "0.19800198"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(0, 1000), "0.00495"),
        ("us.deepseek.r1-v1:0", Usage(1000, 0), "0.00135"),
        ("deepseek.r1-v1:0", Usage(1000, 0), "0.00135"),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123", Usage(1000, 0), "0.001"),
        ("sonnet-5", Usage(1000, 0), "0.0022"),
    ],
)
def test_own_prices_take_the_place_of_the_list_prices(model: str, usage: Usage, dollars: str) -> None:
    assert load_catalog().resolve(model, "us-east-1").cost(usage) == Decimal(dollars)


@pytest.mark.usefixtures("own")
def test_what_the_file_does_not_list_of_a_model_has_no_known_price() -> None:
    catalog = load_catalog()
    assert catalog.resolve("haiku", "eu-west-1").cost(Usage(1, 1)) is None
    assert catalog.resolve("haiku", "us-east-1").cost(Usage(1, 1, cache_read_tokens=1)) is None
    assert catalog.resolve("haiku", "us-east-1").cost(Usage(100, 100), batch=True) == Decimal("0.000297")
    assert catalog.resolve("eu.deepseek.r1-v1:0", "us-east-1").cost(Usage(1, 1)) is None


@pytest.mark.usefixtures("own")
async def test_a_reply_has_the_day_of_the_prices_that_it_was_counted_with(scripted: Endpoint) -> None:
    scripted.follow(text="four words of text")
    client = BedrockClient("us-east-1", endpoint_url=scripted.url)
    reply = await client.invoke("haiku", "Hello there")
    assert reply.price_date == "2026-11-20"
    assert reply.bedrock_usd == (5 * Decimal("0.99") + 4 * Decimal("4.95")) / 1_000_000
    listed = await client.invoke("sonnet-5", "Hello there")
    assert listed.price_date == load_catalog().prices_dated.isoformat() == "2026-11-24"


@pytest.mark.usefixtures("own")
def test_an_estimate_is_made_with_own_prices() -> None:
    estimate = BedrockClient("us-east-1").estimate("haiku", Request("x", 1000))
    assert estimate.price(Usage(1000, 0)) == Decimal("0.00099")


def test_a_bare_id_of_the_catalog_is_the_same_as_its_name(own: Path) -> None:
    own.write_text(OWN.replace("haiku-4-5:", "anthropic.claude-haiku-4-5-20251001-v1:0:"))
    assert load_catalog().resolve("haiku", "us-east-1").cost(Usage(1000, 0)) == Decimal("0.00099")


def test_the_example_of_the_documentation_can_be_used(own: Path) -> None:
    example = (price_file.__doc__ or "").partition("::\n")[2].partition("\nPrices are")[0]
    own.write_text(example)
    assert load_catalog().resolve("us.deepseek.r1-v1:0", "us-east-1").cost(Usage(1000, 0)) == Decimal("0.00135")


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        (", output: 5.4", "", r"'deepseek.r1-v1:0', row 1 has no `output`\."),
        (
            "output: 7.43",
            "output: -7.43",
            r"'haiku-4-5', row 2: output=-7.43: input should be greater than",
        ),
        ("input: 0.99", "input: cheap", r"'haiku-4-5', row 1: input='cheap': input should be a valid decimal"),
        ("input: 0.99", "input: .nan", r"'haiku-4-5', row 1: input=nan: "),
        ("batch_input:", "batch_inputs:", r"row 1 has an unknown `batch_inputs` \(did you mean 'batch_input'\?\)\."),
        ("over_tokens: 100000", "over_tokens: -1", r"'haiku-4-5', row 2: over_tokens=-1: "),
        ("[us, on-demand]", "[usa]", r"'deepseek.r1-v1:0', row 1: profiles.0='usa': input should be 'on-demand', 'us'"),
        ("[us, on-demand]", "[]", r"'deepseek.r1-v1:0', row 1: profiles=\[\]: "),
        ("over_tokens: 100000, ", "", r"'haiku-4-5': it has two prices for us over 0 tokens\."),
        ("dated: 2026-11-20", "", r"it has no `dated`\."),
        ("dated: 2026-11-20", "dated: soon", r"it: dated='soon': input should be a valid date"),
        ("dated:", "updated: 1\ndated:", r"it has an unknown `updated`"),
        ("haiku-4-5:", "haiku-45:", r"'haiku-45' is no model of the catalog \(did you mean 'haiku-4-5'\?\)"),
        ("haiku-4-5:", "haiku:", r"'haiku' is no model of the catalog"),
        ("  deepseek", "  us.deepseek", r"prefix of a profile: write 'deepseek.r1-v1:0', and `profiles: \[us\]`"),
        ("deepseek.r1-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0", r"is there twice, also as 'haiku-4-5'\."),
        (OWN, "- 1", r"it: input should be a valid dictionary"),
        (OWN, "dated: [", r"Line 1: "),
        (OWN, "", r"It is empty\."),
    ],
)
def test_a_mistake_is_named_with_file_model_and_field(own: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in OWN
    own.write_text(OWN.replace(right, wrong, 1))
    with pytest.raises(DefinitionError, match=sentence) as caught:
        BedrockClient("us-east-1")
    assert str(own) in str(caught.value)
    assert "AGENTFLOW_PRICES" in caught.value.fix


def test_all_mistakes_are_listed(own: Path) -> None:
    own.write_text(OWN.replace("output: 4.95", "outputs: 4.95"))
    with pytest.raises(DefinitionError) as caught:
        load_catalog()
    assert len(caught.value.problems) == 2


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTFLOW_PRICES", str(tmp_path / "none.yaml"))
    with pytest.raises(DefinitionError, match=r"none\.yaml cannot be used: .*No such file"):
        BedrockClient("us-east-1")
