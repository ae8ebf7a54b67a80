"""Quotes: figures that can be followed by hand, from no past at all and from real past runs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.errors import InputError
from agentflow.core.events import StepFinished, StepMapped, StepStarted
from agentflow.core.quoting.quote import Quote, StepQuote
from agentflow.store.journal import journal
from tests.core.quoting.priced import PricedClient, prompt
from tests.endpoint import Endpoint
from tests.store.runs import Recorded, reply

CLIENT = PricedClient()


def usd(part: Quote | StepQuote) -> tuple[Any, ...]:
    return tuple(
        amount if amount is None else float(amount)
        for amount in (part.low_usd, part.likely_usd, part.high_usd, part.worst_usd)
    )


def by_step(quote: Quote) -> dict[str, StepQuote]:
    return {step.step: step for step in quote.steps}


def single(template: str = "Say {word}", client: PricedClient = CLIENT, **options: Any) -> Workflow:
    workflow = Workflow("triage")
    workflow.add_step("say", prompt(template, client, **options))
    return workflow


def ran(*latencies: float, step: str = "say", tokens: int = 40) -> None:
    """Have the journal hold runs of `triage`, whose one answer took so many seconds."""
    kept = journal()
    kept.open()
    for latency in latencies:
        run = Recorded(kept, step.partition(".")[0].partition("[")[0])
        answer = replace(reply(text="x" * 80), model=CLIENT.model, latency_ms=latency * 1000)
        run.run.keep_answer(step, None, prompt("12345678", CLIENT).request({}), _with_tokens(answer, tokens))
        run.end()
    assert kept.flush(10)


def _with_tokens(answer: Any, tokens: int) -> Any:
    return replace(answer, usage=replace(answer.usage, input_tokens=7, cache_read_tokens=3, output_tokens=tokens))


def test_a_step_that_has_never_run_is_quoted_from_its_limit() -> None:
    quote = single().quote(word="tea")  # 7 input tokens: 5.25 to 8.75; 10, 50 and 100 of 100 output tokens
    [step] = quote.steps
    assert usd(step) == usd(quote) == (0.105, 0.507, 1.009, 1.009)
    assert (step.calls, step.input_tokens, step.output_tokens) == (1, 7, 50)
    assert (step.model, quote.likely_s, step.likely_s) == ("local · scripted", None, None)
    assert step.basis == (
        "output tokens: half of max_tokens, since the step has never run; input tokens estimated, 25% up or down; "
        "time unknown until the first run"
    )


def test_an_answer_that_is_not_known_makes_the_prompts_after_it_longer() -> None:
    workflow = single()
    workflow.add_step("check", prompt("ok? {say}", CLIENT))
    check = by_step(workflow.quote(word="tea"))["check"]
    # 4 tokens and 3.5 characters for each of 10, 50 or 100 tokens of the answer before
    assert check.input_tokens == 4 + 175
    assert usd(check) == (
        pytest.approx((4 + 35) * 0.75 / 1000 + 0.1, abs=0.001),
        0.679,
        pytest.approx((4 + 350) * 1.25 / 1000 + 1, abs=0.001),
        pytest.approx((4 + 350) * 1.25 / 1000 + 1, abs=0.001),
    )


def test_past_answers_calibrate_tokens_and_time(scripted: Endpoint) -> None:
    scripted.follow(replies=["one", "one two", "one two three", "one two three four", "one two three four five"])
    workflow = single(client=PricedClient(scripted))
    for _ in range(5):
        workflow.run(word="tea")
    [step] = (quote := workflow.quote(word="tea")).steps
    # The endpoint counts 2 words and 3 for the message, for 7 that were estimated; 1.4, 3 and 4.6 tokens of answers.
    margin = 0.25 / 6**0.5
    assert (step.input_tokens, step.output_tokens) == (5, 3)
    assert usd(step) == (
        round(5 * (1 - margin)) / 1000 + 0.01,
        0.035,
        round(5 * (1 + margin)) / 1000 + 0.05,
        round(5 * (1 + margin)) / 1000 + 1,
    )
    assert step.basis == "output tokens from 5 past answers; input tokens calibrated by 5 past requests"
    assert quote.low_s is not None
    assert 0 < quote.low_s <= (quote.likely_s or 0) <= (quote.high_s or 0)
    assert quote.likely_s == step.likely_s


def test_a_quote_sends_nothing_and_runs_nothing(scripted: Endpoint) -> None:
    before = scripted.stats()["requests"]
    called: list[str] = []
    workflow = single(client=PricedClient(scripted))

    def post(say: str) -> None:
        called.append(say)

    workflow.add_step("post", post, when=post)
    workflow.quote(word="tea")
    assert scripted.stats()["requests"] == before
    assert called == []
    assert not Path(".agentflow").exists()


def test_answers_of_another_model_tell_the_length_but_do_not_calibrate(scripted: Endpoint) -> None:
    single(client=PricedClient(scripted)).run(word="tea")
    [step] = single(client=PricedClient(model="Claude Haiku 4.5")).quote(word="tea").steps
    assert step.basis.startswith("output tokens from 1 past answer of local · scripted; input tokens estimated, 25%")
    assert (step.input_tokens, step.output_tokens) == (7, 2)


def test_no_answer_is_quoted_longer_than_it_may_be() -> None:
    ran(1, tokens=90)
    [step] = single(max_tokens=50).quote(word="tea").steps
    assert step.output_tokens == 50


def test_a_price_that_is_not_known_is_never_free() -> None:
    workflow = single(model="us.unknown")
    workflow.add_step("other", prompt("hi", CLIENT))
    quote = workflow.quote(word="tea")
    say, other = quote.steps
    assert usd(say) == usd(quote) == (None,) * 4
    assert other.likely_usd == Decimal("0.502")
    assert quote.unpriced == ("us.unknown",)
    assert say.basis.endswith("price unknown")


def test_cached_tokens_of_past_requests_count_as_input() -> None:
    ran(1)  # 7 tokens and 3 of the cache, for 8 that were estimated
    assert single().quote(word="tea!").steps[0].input_tokens == 10


def test_a_function_costs_nothing_and_its_past_output_counts_in_the_next_prompt() -> None:
    workflow = Workflow("triage")
    workflow.add_step("load", lambda name: name * 10)
    workflow.add_step("say", prompt("{load}", CLIENT))
    load, say = workflow.quote(name="tea").steps
    assert usd(load) == (0, 0, 0, 0)
    assert (load.calls, load.model, load.likely_s) == (0, None, None)
    assert load.basis == "Python; the length of its output is not known, and counted as none"
    assert say.input_tokens == 0
    kept = journal()
    kept.open()
    for length in (20, 30, 100):
        run = Recorded(kept, "load")
        run.put(StepStarted("load", 1.0))
        run.put(StepFinished("load", "x" * length, 3.0))
        run.end()
    load, say = workflow.quote(name="tea").steps
    assert (load.basis, load.likely_s, say.input_tokens) == ("Python; time from 3 past runs", 2.0, 30)


def test_a_function_that_asks_models_itself_cannot_be_quoted() -> None:
    ran(1)
    workflow = Workflow("triage")
    workflow.add_step("say", lambda: "hello")
    quote = workflow.quote()
    assert usd(quote) == (None,) * 4
    assert quote.unpriced == ("say",)
    assert quote.steps[0].calls is None
    assert quote.steps[0].basis == "Python; it asks models itself, which no quote can know"


def mapped() -> Workflow:
    workflow = Workflow("triage")
    workflow.add_step("split", lambda text: text.split())
    workflow.add_step("say", prompt("Say {split}", CLIENT), map_over="split")
    return workflow


def test_each_item_of_a_known_list_is_a_call_of_its_own() -> None:
    workflow = Workflow("triage")
    workflow.add_step("say", prompt("Say {word}", CLIENT), map_over="word")
    workflow.add_step("sum", prompt("{say}", CLIENT))
    say, total = workflow.quote(word=["a", "bcd"]).steps
    assert (say.calls, say.input_tokens, say.output_tokens) == (2, 5 + 7, 100)
    assert total.input_tokens == 2 * 175 + len('["", ""]')
    assert [step.calls for step in workflow.quote(word=[]).steps] == [0, 1]
    assert workflow.quote(word=[]).steps[0].basis == "its list has no items"


def test_a_list_that_is_not_known_has_as_many_items_as_in_the_past() -> None:
    assert by_step(mapped().quote(text="a b"))["say"].basis.endswith("one item assumed, since its list is not known")
    kept = journal()
    kept.open()
    for count in (2, 3, 8):
        run = Recorded(kept, "split", "say")
        run.step("split", "x" * 30)
        run.put(StepMapped("say", count, 1.0))
        run.end()
    say = by_step(mapped().quote(text="a b"))["say"]
    assert (say.calls, say.input_tokens) == (3, 3 * (4 + 10))
    assert say.basis.endswith("3 items a run, the median of 3 past runs")


def test_the_steps_of_a_workflow_that_is_a_step_have_rows_and_a_past_of_their_own() -> None:
    ran(1, step="sub.say")
    inner = Workflow("inner")
    inner.add_step("say", prompt("Say {word}", CLIENT))
    outer = Workflow("triage")
    sub = outer.add_step("sub", inner)
    outer.add_step("end", prompt("{said}", CLIENT), {"said": sub.say})
    say, end = outer.quote(word="tea").steps
    assert (say.step, end.step) == ("sub.say", "end")
    assert say.basis.startswith("output tokens from 1 past answer;")
    assert (say.output_tokens, end.input_tokens) == (40, 80)


def test_a_workflow_that_is_mapped_takes_the_past_of_all_its_items() -> None:
    ran(1, 2, step="sub[3].say")
    inner = Workflow("inner")
    inner.add_step("say", prompt("Say {word}", CLIENT))
    outer = Workflow("triage")
    outer.add_step("sub", inner, map_over="word")
    [say] = outer.quote(word=["a", "b", "c"]).steps
    assert (say.step, say.calls, say.output_tokens) == ("sub.say", 3, 120)
    assert [step.step for step in outer.quote(word=[]).steps] == ["sub.say"]


def test_what_a_condition_may_leave_out_may_cost_nothing() -> None:
    workflow = single()
    workflow.add_step("check", prompt("{say}", CLIENT), when=lambda say: "!" in say)
    workflow.add_step("after", prompt("{check}", CLIENT))
    workflow.add_step("anyway", prompt("{check}", CLIENT), optional="check")
    steps = by_step(workflow.quote(word="tea"))
    assert [name for name, step in steps.items() if step.low_usd == 0] == ["check", "after"]
    assert all(step.likely_usd for step in steps.values())
    assert steps["after"].basis.endswith("may be skipped")


def test_the_fields_of_an_answer_share_its_length() -> None:
    workflow = Workflow("triage")
    workflow.add_step("classify", prompt("hi", CLIENT, output="urgent: bool, product: str"))
    workflow.add_step("reply", prompt("{classify.product}", CLIENT))
    workflow.add_step("both", prompt("{classify}", CLIENT))
    steps = by_step(workflow.quote())
    assert steps["reply"].input_tokens == 87
    assert steps["both"].input_tokens == 2 * 87 + len('{"urgent": "", "product": ""}')


def test_a_frame_is_the_sum_of_its_rows() -> None:
    workflow = single()
    words = ["a", "tea", "a", "a longer word"]
    quote = workflow.quote(pd.DataFrame({"word": words, "other": range(4)}))
    assert quote == workflow.quote([{"word": word, "more": None} for word in words])
    alone = [workflow.quote(word=word) for word in words]
    assert quote.likely_usd == sum((each.likely_usd or 0 for each in alone), Decimal(0))
    assert quote.worst_usd == sum((each.worst_usd or 0 for each in alone), Decimal(0))
    assert (quote.runs, quote.steps[0].calls) == (4, 4)


def test_an_input_beside_the_rows_is_the_same_for_all() -> None:
    workflow = single("Say {word} {tone}")
    quote = workflow.quote([{"word": "a"}, {"word": "bc"}], tone="kindly")
    assert quote.steps[0].input_tokens == sum(len(f"Say {word} kindly") for word in ("a", "bc"))


@pytest.mark.parametrize(
    ("rows", "inputs", "told"),
    [
        (None, {}, "Step 'say' needs {word}"),
        (None, {"word": "a", "wrod": "b"}, r"No step uses an input 'wrod' \(did you mean 'word'\?\)"),
        ([], {}, "There are no rows to quote"),
        (pd.DataFrame({"word": []}), {}, "There are no rows to quote"),
        (pd.DataFrame({"Word": ["a"]}), {}, r"Row 0 has no 'word', which step 'say' needs \(did you mean 'Word'\?\)"),
        ([{"word": "a"}, {"x": 1}], {}, "Row 1 has no 'word'.*Give the rows a column 'word'"),
        ([{"word": "a"}], {"word": "b"}, "'word' is a column of the rows, and an input beside them"),
        ([{"word": "a"}], {"tone": "b"}, "No step uses an input 'tone'"),
        ("word", {}, "Rows of type str cannot be quoted"),
        ({"word": "a"}, {}, "Rows of type dict cannot be quoted"),
        (["word"], {}, "Rows of type list cannot be quoted"),
        (7, {}, "Rows of type int cannot be quoted"),
    ],
)
def test_bad_input_is_told(rows: Any, inputs: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        single().quote(rows, **inputs)


def test_a_field_that_a_value_lacks_is_told() -> None:
    with pytest.raises(InputError, match="'word' has no 'b'"):
        single("{word.b}").quote(word={"a": 1})


def test_a_workflow_without_a_journal_has_no_past() -> None:
    ran(1)
    workflow = Workflow(WorkflowConfig(name="triage", journal=False))
    workflow.add_step("say", prompt("Say {word}", CLIENT))
    assert "half of max_tokens, since the workflow keeps no journal" in workflow.quote(word="tea").steps[0].basis


def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "agentflow.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "broken"))
    quote = single().quote(word="tea")
    assert quote.likely_usd == Decimal("0.507")
    assert "since the journal cannot be read" in quote.steps[0].basis
    [warning] = quote.warnings
    assert warning.startswith("The quote rests on no past runs. The journal ")
    assert "is no SQLite database" in warning


def timed(config: WorkflowConfig, *steps: str, connections: int = 10) -> Workflow:
    """A workflow of prompts that took 2 s each; `a>b` is a step b that needs a."""
    client = PricedClient(connections=connections)
    workflow = Workflow(config)
    for step in steps:
        needed, _, name = step.rpartition(">")
        ran(2, step=name)
        workflow.add_step(name, prompt(f"hi {{{needed}}}" if needed else "hi", client))
    return workflow


@pytest.mark.parametrize(
    ("options", "steps", "connections", "rows", "seconds"),
    [
        ({}, ["a", "b"], 10, 1, 2),
        ({}, ["a", "a>b", "c"], 10, 1, 4),
        ({"enable_parallel": False}, ["a", "b", "c"], 10, 1, 6),
        ({"max_concurrency": 2}, ["a", "b", "c", "d"], 10, 1, 4),
        ({}, ["a", "b", "c", "d"], 1, 1, 8),
        ({}, ["a", "a>b"], 10, 100, 40),
        ({"enable_parallel": False}, ["a", "a>b"], 10, 2, 4),
    ],
)
def test_time_is_the_longest_way_or_what_the_limits_allow(
    options: dict[str, Any], steps: list[str], connections: int, rows: int, seconds: float
) -> None:
    workflow = timed(WorkflowConfig(name="triage", **options), *steps, connections=connections)
    assert workflow.quote([{}] * rows).likely_s == seconds


def test_a_step_that_may_be_skipped_may_take_no_time() -> None:
    ran(1, 1)
    workflow = Workflow("triage")
    workflow.add_step("wanted", lambda: True)
    workflow.add_step("say", prompt("hi", CLIENT), when=workflow.steps["wanted"])
    quote = workflow.quote()
    assert (quote.low_s, quote.likely_s) == (0, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.text(max_size=30), min_size=1, max_size=6),
    max_tokens=st.integers(1, 5000),
    kinds=st.lists(st.sampled_from(["plain", "when", "after"]), min_size=1, max_size=4),
)
def test_the_cases_are_in_order_and_totals_add_up(words: list[str], max_tokens: int, kinds: list[str]) -> None:
    workflow = Workflow("triage")
    for number, kind in enumerate(kinds):
        template = f"{{word}} {{step_{number - 1}}}" if kind == "after" and number else "{word}"
        when = (lambda: True) if kind == "when" else None
        workflow.add_step(f"step_{number}", prompt(template, CLIENT, max_tokens=max_tokens), when=when)
    quote = workflow.quote([{"word": word} for word in words])
    parts: list[Quote | StepQuote] = [quote, *quote.steps]
    for part in parts:
        assert 0 <= usd(part)[0] <= usd(part)[1] <= usd(part)[2] <= usd(part)[3]
    assert quote.likely_usd == sum((step.likely_usd or 0 for step in quote.steps), Decimal(0))
    assert all(step.calls == len(words) for step in quote.steps)


def test_what_the_cache_has_costs_nothing_and_is_known_to_the_steps_after_it(scripted: Endpoint) -> None:
    def build(second: str) -> Workflow:
        workflow = Workflow(WorkflowConfig(name="cached", cache=True))
        client = BedrockClient(endpoint_url=scripted.url)
        for step, text in (("first", "One {text}"), ("second", second), ("third", "Three {second}")):
            workflow.add_step(step, SimpleAgent(AgentConfig(name=step), client, prompt_template=text))
        return workflow

    build("Two {first}").run(text="x")
    same = build("Two {first}").quote(text="x")
    assert (same.likely_usd, same.worst_usd, same.likely_s) == (Decimal(0), Decimal(0), 0.0)
    assert {step.basis for step in same.steps} == {"its answer is in the cache"}
    edited = build("2 {first}").quote(text="x")
    assert [step.calls for step in edited.steps] == [0, 1, 1]
    assert edited.steps[0].likely_usd == 0
    assert all(step.likely_usd for step in edited.steps[1:])
