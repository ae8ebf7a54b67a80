"""Why a step ran: each kind of change is named, and what did not run says what kept it back."""

from __future__ import annotations

import asyncio
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

import agentflow
from agentflow import AgentConfig, BedrockClient, RunInterrupted, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import InputError
from agentflow.core.result import RunResult
from agentflow.store.journal import journal
from tests.endpoint import Endpoint


class Urgent(BaseModel):
    urgent: bool


class Graded(BaseModel):
    urgent: bool
    grade: int


def tidy(ticket: str) -> str:
    return ticket.strip()


def tidy_more(ticket: str) -> str:
    return ticket.strip().lower()


def closing_over(limit: int) -> Callable[..., Any]:
    def cut(ticket: str) -> str:
        return ticket[:limit]

    return cut


def triage(endpoint: Endpoint, clean: Any = tidy, extra: Mapping[str, Any] | None = None, **settings: Any) -> Workflow:
    """A Python step `clean`, and a prompt `ask` that reads it."""
    client = BedrockClient(endpoint_url=endpoint.url)
    prompt = settings.pop("prompt", "Classify this: {clean}\nBe brief.")
    examples = settings.pop("examples", ())
    wiring = settings.pop("wiring", {})
    workflow = Workflow("triage")
    workflow.add_step("clean", clean, extra)
    config = AgentConfig(**{"name": "ask", "model_type": "haiku", **settings})
    workflow.add_step("ask", SimpleAgent(config, client, prompt_template=prompt, examples=examples), **wiring)
    return workflow


CHANGES: list[tuple[str, str, dict[str, Any], str]] = [
    ("ask", "prompt", {"prompt": "Classify this: {clean}\nBe exact."}, "-Be brief."),
    ("ask", "system", {"system": "You are terse."}, "Its system prompt: none -> 'You are terse.'"),
    ("ask", "examples", {"examples": [("a", "b")]}, '+    "b"'),
    ("ask", "model", {"model_type": "sonnet"}, "Its model: 'haiku' -> 'sonnet'"),
    ("ask", "parameters", {"max_tokens": 7}, "max_tokens: the default -> 7"),
    ("ask", "parameters", {"temperature": 0.5}, "temperature: the default -> 0.5"),
    ("ask", "schema", {"output_type": Graded}, '+    "grade": {'),
    ("ask", "wiring", {"wiring": {"inputs": {"clean": "by hand"}}}, "Its input 'clean': step clean -> 'by hand'"),
    ("ask", "wiring", {"wiring": {"when": lambda ticket: True}}, "when: none -> a function"),
    ("ask", "upstream", {"clean": tidy_more}, "step clean: 'Help ME' -> 'help me'"),
    ("clean", "code", {"clean": tidy_more}, "+    return ticket.strip().lower()"),
    ("clean", "code", {"clean": closing_over(2)}, "-    return ticket.strip()"),
]


@pytest.mark.parametrize(("step", "word", "change", "shown"), CHANGES)
def test_a_planted_change_is_named(
    scripted: Endpoint, step: str, word: str, change: dict[str, Any], shown: str
) -> None:
    scripted.follow(text='{"urgent": true, "grade": 1}')
    schema: dict[str, Any] = {"output_type": Urgent} if word == "schema" else {}
    first = triage(scripted, **schema).run(ticket=" Help ME ")
    second = triage(scripted, **{**schema, **change}).run(ticket=" Help ME ")
    explained = second.explain(step)
    assert (explained.word, explained.compared_with) == (word, first.run_id)
    assert f"run {first.run_id}, " in explained.said
    assert shown in repr(explained)
    [reason] = explained.reasons
    assert reason.kind == word
    assert second.to_frame().set_index("step").loc[step, "why"] == word


def test_another_input_of_the_run_is_named_with_both_values(scripted: Endpoint) -> None:
    triage(scripted).run(ticket="one")
    second = triage(scripted).run(ticket="two")
    assert "input ticket: 'one' -> 'two'" in repr(second.explain("clean"))
    second.tell_why()
    assert [row.why for row in second.rows.values()] == ["input", "upstream"]


def test_a_long_text_is_shown_as_a_diff(scripted: Endpoint) -> None:
    text = "\n".join(f"Line {number} of the ticket." for number in range(9))
    triage(scripted).run(ticket=text)
    explained = triage(scripted).run(ticket=text.replace("Line 4", "Row 4")).explain("clean")
    assert explained.reasons[0].text == "input ticket changed"
    assert "-Line 4 of the ticket.\n+Row 4 of the ticket.\n" in explained.reasons[0].diff
    assert "Line 8" not in explained.reasons[0].diff


def test_a_value_that_code_holds_is_named_and_not_shown() -> None:
    def run(limit: int) -> RunResult:
        workflow = Workflow("held")
        workflow.add_step("cut", closing_over(limit))
        return workflow.run(ticket="abc")

    run(123_456)
    explained = run(654_321).explain("cut")
    assert (explained.word, explained.reasons[0].text) == ("code", "What its code holds changed: 'limit'")
    assert b"123456" not in b"".join(file.read_bytes() for file in Path(".agentflow").iterdir())


def test_nothing_changed_and_why_it_ran_all_the_same(scripted: Endpoint) -> None:
    triage(scripted).run(ticket="one")
    second = triage(scripted).run(ticket="one")
    for step, why in (("clean", "A Python step runs each time"), ("ask", "The model was asked again")):
        explained = second.explain(step)
        assert explained.word == "again"
        assert why in repr(explained)


def test_the_first_run_is_new_and_so_is_a_step_that_never_ended_well(scripted: Endpoint) -> None:
    first = triage(scripted).run(ticket="one")
    assert first.explain("ask").word == first.explain("clean").word == "new"
    fails = True

    def flaky(ask: str) -> str:
        if fails:
            raise ValueError(ask)
        return ask

    workflow = triage(scripted)
    workflow.add_step("flaky", flaky)
    for _ in range(2):
        with pytest.raises(WorkflowError) as failed:
            workflow.run(ticket="one")
        assert failed.value.result.explain("flaky").word == "new"
    fails = False
    assert workflow.run(ticket="one").explain("flaky").word == "new"
    assert workflow.run(ticket="one").explain("flaky").word == "again"


def test_it_is_compared_with_the_newest_run_in_which_the_step_ended_well() -> None:
    def run(number: int) -> RunResult:
        workflow = Workflow("flaky")
        workflow.add_step("divide", lambda number: 6 / number)
        try:
            return workflow.run(number=number)
        except WorkflowError as error:
            return error.result

    good, bad, other = run(2), run(0), run(3)
    assert bad.explain("divide").compared_with == other.explain("divide").compared_with == good.run_id
    assert "input number: 2 -> 3" in repr(other.explain("divide"))


def test_what_did_not_run_names_the_step_that_kept_it_back() -> None:
    workflow = Workflow(WorkflowConfig(name="stopped", on_error="continue"))
    workflow.add_step("unwanted", lambda: 1, when=lambda: False)
    workflow.add_step("beside", lambda unwanted: 1)
    workflow.add_step("broken", lambda: 1 / 0)
    workflow.add_step("after", lambda broken: 1)
    workflow.add_step("last", lambda after: 1)
    with pytest.raises(WorkflowError) as failed:
        workflow.run()
    explained = {step: failed.value.result.explain(step) for step in workflow.steps}
    words = {step: explanation.word for step, explanation in explained.items()}
    assert words == {
        "unwanted": "skipped", "beside": "skipped", "broken": "new", "after": "not run", "last": "not run",
    }  # fmt: skip
    assert explained["unwanted"].said == "It was skipped: its condition does not hold."
    assert "it needs 'unwanted', which was skipped" in explained["beside"].said
    for step in ("after", "last"):
        assert "it needs step 'broken', which failed: division by zero" in explained[step].said


async def test_what_was_cancelled_names_the_failure_that_ended_the_run() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    async def broken() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("it broke")

    workflow = Workflow("cancelled")
    workflow.add_step("slow", slow)
    workflow.add_step("broken", broken)
    workflow.add_step("after", lambda slow: 1)
    with pytest.raises(WorkflowError) as failed:
        await workflow.execute()
    result = failed.value.result
    assert result.explain("slow").word == "cancelled"
    assert "step 'broken' failed, which ended the run: it broke" in result.explain("slow").said
    assert "step 'broken' failed, which ended the run: it broke" in result.explain("after").said


def test_an_interrupted_run_says_so() -> None:
    async def wait() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    workflow = Workflow("interrupted")
    workflow.add_step("wait", wait)
    workflow.add_step("after", lambda wait: 1)
    with pytest.raises(RunInterrupted) as stopped:
        workflow.run()
    assert stopped.value.result.explain("after").said == "It did not run: the run was interrupted."


def test_items_are_compared_with_the_items_of_their_position() -> None:
    def run(numbers: list[int]) -> RunResult:
        workflow = Workflow("mapped")
        workflow.add_step("square", lambda number: number * number, map_over="number")
        return workflow.run(number=numbers)

    run([1, 2])
    second = run([1, 3, 4])
    assert [second.explain("square", item).word for item in range(3)] == ["again", "input", "new"]
    assert "input number: 2 -> 3" in repr(second.explain("square", item=1))
    assert second.explain("square").word == "input"
    assert second.to_frame()["why"].to_list() == ["again", "input", "new"]


def test_steps_of_a_workflow_that_is_a_step_are_explained_by_their_path() -> None:
    def run(sign: str, words: list[str]) -> RunResult:
        inner = Workflow("inner")
        inner.add_step("loud", lambda word: word + sign)
        inner.add_step("twice", lambda loud: loud * 2)
        outer = Workflow("outer")
        outer.add_step("shout", inner, map_over="word")
        return outer.run(word=words)

    run("!", ["a", "b"])
    second = run("?", ["a", "c"])
    assert second.explain("shout").word == "code"
    assert "Step 'loud': What its code holds changed: 'sign'" in repr(second.explain("shout"))
    assert second.explain("shout[1].loud").word == "code"
    assert "step loud: 'b!' -> 'c?'" in repr(second.explain("shout[1].twice"))
    assert second.to_frame()["why"].to_list() == ["code", "upstream", "code", "upstream"]


def test_an_answer_that_was_reused_names_the_run_that_paid_for_it(scripted: Endpoint) -> None:
    workflow = Workflow(WorkflowConfig(name="reused", cache=True))
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="ask"), client, prompt_template="Say {word}"))
    first = workflow.run(word="hello")
    result = workflow.run(word="hello")
    explained = result.explain("ask")
    assert (explained.word, explained.said) == ("cached", "Its answer was taken from the cache: nothing was paid.")
    assert re.fullmatch(rf"Asked .* before, by step 'ask' of run {first.run_id}\.", explained.reasons[0].text)
    assert "cached" in repr(result).splitlines()[4]


def test_an_unknown_step_is_told_with_the_nearest_name(scripted: Endpoint) -> None:
    result = triage(scripted).run(ticket="one")
    with pytest.raises(InputError, match=r"no step 'clena' \(did you mean 'clean'\?\).*It has clean, ask"):
        result.explain("clena")
    with pytest.raises(InputError, match=r"'clean' has no items: it is not mapped"):
        result.explain("clean", item=0)
    workflow = Workflow("mapped")
    workflow.add_step("each", lambda number: number, map_over="number")
    with pytest.raises(InputError, match=r"'each' has no item 2\. It has 2; the first is 0"):
        workflow.run(number=[1, 2]).explain("each", item=2)


def test_a_run_without_a_journal_is_compared_with_the_one_before_it_in_this_process() -> None:
    workflow = Workflow(WorkflowConfig(name="light", journal=False))
    workflow.add_step("same", lambda number: number)
    first = workflow.run(number=1)
    assert first.explain("same").word == "new"
    second = workflow.run(number=2)
    assert "input number: 1 -> 2" in repr(second.explain("same"))
    third = workflow.run(number=2)
    assert third.explain("same").word == "again"
    forgotten = second.explain("same")
    assert (forgotten.word, "held in memory no more" in forgotten.said) == ("", True)
    assert not Path(".agentflow").exists()


def test_a_result_alone_has_nothing_to_compare_with() -> None:
    workflow = Workflow("inner")
    workflow.add_step("a", lambda x: x)
    outer = Workflow("outer")
    outer.add_step("sub", workflow)
    inner = outer.run(x=1).rows["sub"].inner
    assert inner is not None
    assert "nothing to compare it with" in inner.explain("a").said


def test_a_run_that_was_deleted_says_so_and_deleted_runs_do_not_count() -> None:
    workflow = Workflow("pruned")
    workflow.add_step("same", lambda number: number)
    first, second = workflow.run(number=1), workflow.run(number=1)
    assert agentflow.prune_runs(run_ids=[first.run_id]) == 1
    assert "runs that were deleted do not count" in second.explain("same").said
    assert agentflow.prune_runs(run_ids=[second.run_id]) == 1
    explained = second.explain("same")
    assert explained.word == ""
    assert f"Run {second.run_id} is not in the journal any more" in explained.said
    assert "why" in repr(second)


def test_what_cannot_be_compared_is_said() -> None:
    workflow = Workflow("secret")
    workflow.add_step("use", lambda key: len(key.get_secret_value()))
    workflow.run(key=SecretStr("one-secret"))
    explained = workflow.run(key=SecretStr("another-secret")).explain("use")
    assert explained.word == "again"
    assert "input key cannot be compared: it holds a secret" in repr(explained)


def test_a_journal_that_cannot_be_read_hides_no_run(tmp_path: Path) -> None:
    workflow = Workflow("damaged")
    workflow.add_step("same", lambda number: number)
    result = workflow.run(number=1)
    journal().close()
    for file in (tmp_path / ".agentflow").glob("agentflow.db*"):
        file.write_bytes(b"no database at all")
    assert "same" in repr(result)
    assert result.rows["same"].why == ""


OTHER_PROCESS = """\
import agentflow
from agentflow import Workflow
workflow = Workflow("shared")
workflow.add_step("double", lambda number: number * 3)
result = workflow.run(number=1)
print(result.explain("double"))
print(agentflow.get_run({run_id!r}).explain("double"))
"""


def test_a_second_process_explains_what_the_first_ran() -> None:
    workflow = Workflow("shared")
    workflow.add_step("double", lambda number: number * 2)
    run_id = workflow.run(number=1).run_id
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS.format(run_id=run_id)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = done.stdout.split("double · ")[1:]
    assert theirs.startswith("code: ")
    assert run_id in theirs
    assert ours.startswith("new: ")


async def test_a_resumed_run_is_explained_as_it_ended() -> None:
    fails = True

    def last(first: int) -> int:
        if fails:
            raise ValueError("not yet")
        return first

    workflow = Workflow("resumed")
    workflow.add_step("first", lambda number: number)
    workflow.add_step("last", last)
    with pytest.raises(WorkflowError) as failed:
        await workflow.execute(number=1)
    fails = False
    result = await workflow.resume(failed.value.result.run_id)
    assert [result.explain(step).word for step in workflow.steps] == ["new", "new"]
    assert result.to_frame()["why"].to_list() == ["new", "new"]


async def test_after_a_resume_with_changes_a_run_is_compared_with_what_it_became() -> None:
    def build(factor: int, *, fails: bool) -> Workflow:
        def last(first: int) -> int:
            if fails:
                raise ValueError("not yet")
            return first

        workflow = Workflow("edited")
        workflow.add_step("first", lambda number: number * factor)
        workflow.add_step("last", last)
        return workflow

    with pytest.raises(WorkflowError) as failed:
        await build(2, fails=True).execute(number=1)
    run_id = failed.value.result.run_id
    await build(3, fails=False).resume(run_id, accept_changes=True)
    later = await build(3, fails=False).execute(number=1)
    assert later.explain("first").compared_with == run_id
    assert [later.explain(step).word for step in ("first", "last")] == ["again", "again"]


def test_a_list_that_could_be_read_only_once_is_no_error() -> None:
    workflow = Workflow(WorkflowConfig(name="once", journal=False))
    workflow.add_step("each", lambda number: number, map_over="number")
    workflow.run(number=iter([1, 2]))
    result = workflow.run(number=iter([1, 2]))
    assert "number cannot be compared: it could be read only once" in repr(result.explain("each", item=1))
    assert "each" in repr(result)


def test_a_result_passes_to_another_process() -> None:
    for keep in (True, False):
        workflow = Workflow(WorkflowConfig(name="pickled", journal=keep))
        workflow.add_step("same", lambda number: number)
        copied = pickle.loads(pickle.dumps(workflow.run(number=1)))
        assert copied.explain("same").word == ("new" if keep else "")


def test_too_many_rows_are_not_compared_for_a_table_but_explained_when_asked() -> None:
    workflow = Workflow("large")
    workflow.add_step("each", lambda number: number, map_over="number")
    result = workflow.run(number=list(range(5_000)))
    assert result.to_frame()["why"].isna().all()
    assert result.explain("each", item=4_999).word == "new"
