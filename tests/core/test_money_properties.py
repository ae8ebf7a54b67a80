"""Whatever a run answers, reuses, rejects and gives up: its dollars add up, and none is negative."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.model import ABANDONED, Attempt, Origin, Reply, Usage
from agentflow.core.result import RunResult
from agentflow.core.step_row import StepRow, StepStatus, total_usd
from agentflow.models.catalog import load_catalog

AT = datetime(2026, 11, 25, tzinfo=UTC)
TOKENS = st.integers(0, 2_000_000)
MODELS = st.sampled_from(["haiku", "sonnet", "nova-lite", "haiku-5-5", "some.unknown-v1:0"])


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    written = draw(TOKENS)
    return Usage(draw(TOKENS), draw(TOKENS), draw(TOKENS), written, draw(st.integers(0, written)))


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    model = load_catalog().resolve(draw(MODELS), draw(st.sampled_from(["us-east-1", "eu-west-1", "sa-east-1"])))
    usage = draw(usages())
    dollars = model.cost(usage)
    origin = draw(st.sampled_from([None, Origin("r-0", "s", None, AT)]))
    key = draw(st.sampled_from(["a", "b"]))
    facts = (model.name, model.model_id, "us-east-1", "end_turn", usage, 1.0, None, 0.0, 0.0, ())
    return Reply("text", *facts, dollars, dollars, "2026-11-24", None, origin, key)


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    most = draw(st.sampled_from([Decimal(0), Decimal("0.01"), None]))
    return Attempt(1, AT + timedelta(seconds=draw(st.integers(0, 9))), 1.0, ABANDONED, may_cost_usd=most)


@st.composite
def rows(draw: st.DrawFn, name: str = "s", *, nested: bool = True) -> StepRow:
    row = StepRow(name, status=draw(st.sampled_from([StepStatus.OK, StepStatus.FAILED, StepStatus.CANCELLED])))
    row.own_replies = tuple(draw(st.lists(replies(), max_size=3)))
    row.own_attempts = tuple(draw(st.lists(attempts(), max_size=2)))
    row.rejected = tuple(reply for reply in row.own_replies if reply.key == "a")
    if nested and draw(st.booleans()):
        row.own_replies, row.own_attempts, row.rejected = (), (), ()
        row.items = [draw(rows(name, nested=False)) for _ in range(draw(st.integers(1, 3)))]
        for position, item in enumerate(row.items):
            item.item = position
    return row


@st.composite
def results(draw: st.DrawFn) -> RunResult:
    made = {f"s{number}": draw(rows(f"s{number}")) for number in range(draw(st.integers(1, 3)))}
    return RunResult("r-1", "money", "ok", AT, rows=made)


@given(results())
def test_the_sum_of_the_frame_is_the_headline(result: RunResult) -> None:
    frame = result.to_frame()
    for column in ("cost_usd", "bedrock_usd", "saved_usd"):
        answered = frame[frame.cached.notna()][column]
        headline = getattr(result, column)
        assert (headline is None) == bool(answered.isna().any())
        if headline is not None:
            assert abs(answered.sum() - float(headline)) < 1e-9 * max(1.0, float(headline))
    for column in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
        assert frame[column].fillna(0).sum() == getattr(result.usage, column)


@given(results())
def test_no_amount_is_negative_and_what_is_wasted_was_paid(result: RunResult) -> None:
    items = [item for row in result.rows.values() for item in row.items or ()]
    for row in (*result.rows.values(), *items):
        amounts = [row.cost_usd, row.bedrock_usd, row.saved_usd, row.wasted_usd, row.uncertain_usd]
        assert all(amount is None or amount >= 0 for amount in amounts)
        if row.wasted_usd is not None and row.cost_usd is not None:
            assert row.wasted_usd <= row.cost_usd
    numbers = result.to_frame().select_dtypes("number")
    assert not (numbers < 0).any(axis=None, skipna=True)


@given(st.lists(usages(), max_size=5), MODELS)
def test_the_cost_of_a_model_is_never_less_for_more_tokens(parts: list[Usage], name: str) -> None:
    model = load_catalog().resolve(name, "us-east-1")
    costs = [model.cost(usage) for usage in parts]
    together = model.cost(sum(parts, Usage()))
    if together is not None and (apart := total_usd(costs)) is not None:
        assert together >= apart  # equal, but for a model that takes more of each token of a long prompt
