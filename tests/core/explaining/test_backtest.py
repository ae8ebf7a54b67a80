"""An edited workflow on the recorded inputs of past runs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pydantic import SecretStr

import agentflow
from agentflow import AgentConfig, BedrockClient, RunResult, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import DefinitionError, InputError, RunNotFoundError
from tests.endpoint import Endpoint


def doubling(*, fails_on: int = -1, factor: int = 2, **config: Any) -> Workflow:
    def multiply(number: int) -> int:
        if number == fails_on:
            raise ValueError(f"no {number}")
        return number * factor

    workflow = Workflow(WorkflowConfig(name="doubling", **config))
    workflow.add_step("multiply", multiply)
    workflow.add_step("text", lambda multiply: f"it is {multiply}")
    return workflow


def past_runs(workflow: Workflow, *numbers: int) -> list[RunResult]:
    found = []
    for number in numbers:
        try:
            found.append(workflow.run(number=number))
        except WorkflowError as error:
            found.append(error.result)
    return found


def test_answers_changed_and_failures_fixed_and_broken_are_counted() -> None:
    runs = past_runs(doubling(fails_on=1), 0, 1, 2, 3)
    test = doubling(fails_on=2, factor=3).backtest([run.run_id for run in runs])
    assert [case.run_id for case in test.cases] == [run.run_id for run in runs]
    assert [case.run_id for case in test.fixed] == [runs[1].run_id]
    assert [case.run_id for case in test.broken] == [runs[2].run_id]
    assert [case.run_id for case in test.changed] == [runs[3].run_id]
    assert agentflow.get_run(test.result.run_id).workflow == "backtest of doubling"


def test_the_frame_has_a_row_a_case_and_step() -> None:
    runs = past_runs(doubling(fails_on=1), 0, 1, 3)
    frame = doubling(factor=3).backtest(runs).to_frame()
    assert list(frame.columns) == [
        "run_id", "item", "step", "before_status", "status", "changed", "before", "after", "before_cost_usd",
        "cost_usd", "before_latency_ms", "latency_ms",
    ]  # fmt: skip
    assert frame["step"].to_list() == ["multiply", "text"] * 3
    assert frame["before_status"].to_list() == ["ok", "ok", "failed", "not run", "ok", "ok"]
    assert frame["status"].to_list() == ["ok"] * 6
    assert frame["changed"].to_list() == [False, False, pd.NA, pd.NA, True, True]
    assert frame["after"].to_list() == [0, "it is 0", 3, "it is 3", 9, "it is 9"]
    assert str(frame["changed"].dtype) == "boolean"
    assert frame["latency_ms"].notna().all()
    assert frame["before_latency_ms"].isna().to_list() == [False, False, False, True, False, False]


def test_a_part_of_the_list_of_runs_can_be_given_and_a_sample_is_repeatable() -> None:
    past_runs(doubling(), *range(6))
    other = Workflow("other")
    other.add_step("only", lambda word: word)
    other.run(word="x")
    listed = agentflow.runs()
    mine = listed[listed["workflow"] == "doubling"]
    samples = [doubling().backtest(mine, sample=3, seed=seed) for seed in (0, 0, 1)]
    first, second, third = ([case.run_id for case in test.cases] for test in samples)
    assert first == second != third
    assert len(first) == 3
    assert first == [run_id for run_id in mine["run_id"] if run_id in first]
    assert len(doubling().backtest(mine, sample=100).cases) == 6


def test_each_row_of_a_run_that_was_mapped_over_rows_is_a_case() -> None:
    outer = Workflow("batch")
    outer.add_step("double", doubling(fails_on=2), map_over="number")
    with pytest.raises(WorkflowError) as failed:
        outer.run(number=[1, 2, 3])
    test = doubling(factor=5).backtest(failed.value.result)
    assert [(case.item, case.status) for case in test.cases] == [(0, "ok"), (1, "ok"), (2, "ok")]
    assert [case.item for case in test.fixed] == [1]
    assert test.to_frame().query("step == 'multiply'")["after"].to_list() == [5, 10, 15]


def test_a_backtest_can_be_backtested_and_its_steps_are_explained() -> None:
    first = doubling(factor=3).backtest(past_runs(doubling(), 1, 2))
    second = doubling(factor=3).backtest(first.result)
    assert [(case.run_id, case.item) for case in second.cases] == [(first.result.run_id, 0), (first.result.run_id, 1)]
    assert second.changed == []
    third = doubling(factor=4).backtest(second.result)
    assert third.result.explain("case[1].multiply").word == "code"
    assert third.result.explain("case[1].text").word == "upstream"


def test_prompts_are_sent_once_a_case_and_costs_are_told_before_and_after(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)

    def build(prompt: str) -> Workflow:
        workflow = Workflow("prompts")
        workflow.add_step("ask", SimpleAgent(AgentConfig(name="a", model_type="haiku"), client, prompt_template=prompt))
        return workflow

    runs = [build("Say {word}").run(word=word) for word in ("one", "two")]
    before = scripted.stats()["requests"]
    test = build("Shout {word}").backtest(runs)
    assert scripted.stats()["requests"] - before == 2
    frame = test.to_frame()
    assert frame["before"].to_list() == ["Say one", "Say two"]
    assert frame["after"].to_list() == ["Shout one", "Shout two"]
    assert frame["cost_usd"].to_list() == frame["before_cost_usd"].to_list() == [0.0, 0.0]
    assert test.cost_usd == test.result.cost_usd
    assert test.before_latency_ms is not None
    assert "cases 2 · with other answers 2 · failures fixed 0 · broken 0 · cost before $0 · cost now $0" in repr(test)


def test_a_case_whose_inputs_were_not_kept_is_skipped_and_named() -> None:
    workflow = Workflow("secret")
    workflow.add_step("use", lambda key: f"{key}")
    runs = [workflow.run(key=SecretStr("hunter2")), workflow.run(key="plain")]
    test = workflow.backtest(runs)
    assert [case.status for case in test.cases] == ["skipped", "ok"]
    assert test.cases[0].skipped == f"input 'key' of run {runs[0].run_id} was not kept: it holds a secret"
    assert test.to_frame()["status"].to_list() == ["skipped", "ok"]
    with pytest.raises(InputError, match="No case of these runs can run: input 'key'"):
        workflow.backtest(runs[:1])


def test_steps_that_came_or_went_have_rows_too() -> None:
    [run] = past_runs(doubling(), 2)
    workflow = Workflow("doubling")
    workflow.add_step("multiply", lambda number: number * 2)
    workflow.add_step("extra", lambda multiply: multiply)
    frame = workflow.backtest(run).to_frame().set_index("step")
    assert frame.index.to_list() == ["multiply", "extra", "text"]
    assert frame.loc["extra", ["before_status", "changed"]].isna().all()
    assert frame.loc["text", ["status", "changed"]].isna().all()


def test_a_run_without_a_journal_is_a_case_and_leaves_none() -> None:
    [run] = past_runs(doubling(journal=False), 2)
    assert doubling(journal=False, factor=5).backtest(run).to_frame()["after"].to_list() == [10, "it is 10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": []}, "There are no runs to test with"),
        ({"runs": [7]}, "7 is no run"),
        ({"runs": pd.DataFrame({"status": ["ok"]})}, "no column 'run_id'"),
        ({"runs": pd.DataFrame({"run_id": []})}, "There are no runs to test with"),
        ({"runs": ["r-1"], "sample": 0}, "sample=0 is no number of cases"),
        ({"runs": ["r-1"], "sample": 1.5}, "sample=1.5 is no number of cases"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        doubling().backtest(**arguments)


def test_runs_that_cannot_be_used_are_refused_before_anything_runs() -> None:
    ran: list[int] = []

    def count(number: int) -> None:
        ran.append(number)

    workflow = Workflow("counted")
    workflow.add_step("count", count)
    good = workflow.run(number=1)
    other = Workflow("other")
    other.add_step("only", lambda word: word)
    strange = other.run(word="x")
    with pytest.raises(InputError, match=r"other inputs than workflow 'counted' takes \(number\).*lacks 'number' and"):
        workflow.backtest([good, strange])
    pruned = workflow.run(number=2)
    agentflow.prune_runs(run_ids=[pruned.run_id])
    for missing in (pruned, "r-unknown"):
        with pytest.raises(RunNotFoundError, match="The journal has no run"):
            workflow.backtest([good, missing])
    workflow.add_step("wrong", lambda number: 1, {"nothing": 1})
    with pytest.raises(DefinitionError, match="uses nothing called 'nothing'"):
        workflow.backtest([good])
    assert ran == [1, 2]
