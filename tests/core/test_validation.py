"""Everything that is wrong with a workflow is found at once, before anything runs."""

from __future__ import annotations

import gc
import weakref

import pytest

from agentflow import AgentConfig, SimpleAgent, Workflow
from agentflow.core.errors import CycleError, DefinitionError, InputError, UnknownModelError
from agentflow.core.step import Step


def problems(workflow: Workflow) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        workflow._validate_workflow()
    assert all(problem in str(error.value) for problem in error.value.problems)
    return list(error.value.problems)


def test_all_that_is_wrong_is_told_at_once() -> None:
    workflow = Workflow("wrong")
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="ask", model_type="hiaku"), prompt_template="{text}"))
    workflow.add_step("a", lambda b: b)
    workflow.add_step("b", lambda a: a)
    workflow.add_step("after", lambda a: a)
    workflow.add_step("later", lambda after: after)
    workflow.add_step("misspelt", lambda text: text, {"txet": 1})
    workflow.add_step("unknown", lambda: 1, depends_on="asc")
    workflow.add_step("field", lambda part: part, {"part": workflow.steps["ask"].product})
    workflow.add_step("mapped", lambda item: item, map_over="items")
    workflow.add_step("optional", lambda item: item, optional="itme")
    found = problems(workflow)
    for sentence in (
        "Step 'ask': 'hiaku' is no model of the catalog (did you mean 'haiku'?)",
        "Steps wait for each other: 'a' -> 'b' -> 'a'.",
        "Step 'after' can never run: it needs 'a', which never ends.",
        "Step 'later' can never run: it needs 'after', which never ends.",
        "Step 'misspelt' uses nothing called 'txet' (did you mean 'text'?)",
        "Step 'unknown' needs step 'asc', which the workflow does not have (did you mean 'ask'?).",
        "Step 'field': 'ask' gives text, which has no 'product'",
        "Step 'mapped' uses nothing called 'items' (did you mean 'item'?) (map_over=)",
        "Step 'optional' uses nothing called 'itme' (did you mean 'item'?) (optional=)",
    ):
        assert sum(problem.startswith(sentence) for problem in found) == 1, (sentence, found)
    assert len(found) == 9


def test_cycles_alone_are_a_cycle_error_with_every_path() -> None:
    workflow = Workflow("cycles")
    for name, needed in {"a": "b", "b": "c", "c": "a", "x": "y", "y": "x"}.items():
        workflow.add_step(name, lambda: 1, depends_on=needed)
    with pytest.raises(CycleError) as error:
        workflow.validate()
    assert len(error.value.problems) == 2
    assert {name for name in "abcxy" if f"'{name}'" in str(error.value)} == set("abcxy")


def test_a_step_that_hides_a_run_input_of_its_own_name_is_told_so() -> None:
    workflow = Workflow("hidden")
    workflow.add_step("ticket", lambda ticket: ticket.strip())
    with pytest.raises(CycleError, match=r"\{ticket\} is the name of the step itself, which hides the input 'ticket'"):
        workflow.validate()


def test_an_input_that_a_step_hides_is_found_before_a_run() -> None:
    workflow = Workflow("hidden")
    workflow.add_step("ticket", lambda text: text)
    workflow.validate()
    with pytest.raises(InputError, match="'ticket' is a step: its value cannot be given as an input"):
        workflow.validate(ticket="?", text="!")


def test_a_name_that_is_a_step_and_a_field_of_a_step_is_ambiguous() -> None:
    workflow = Workflow("ambiguous")
    workflow.add_step("reply", lambda: {"text": 1})
    workflow.add_step("reply.text", lambda: 2)
    workflow.add_step("use", SimpleAgent(AgentConfig(name="use"), prompt_template="{reply.text}"))
    assert problems(workflow) == [
        "Step 'use': {reply.text} is ambiguous: it is a step, and a field of the step 'reply'."
    ]


def test_a_condition_is_checked_like_a_step() -> None:
    workflow = Workflow("conditions")
    a = workflow.add_step("a", lambda: 1)
    workflow.add_step("b", lambda: 1, when=a.field)
    workflow.add_step("c", lambda: 1, when=Step("gone", a.agent).field)
    workflow.add_step("d", lambda: 1, when=lambda e: e)
    workflow.add_step("e", lambda d: d)
    assert problems(workflow) == [
        "Step 'c' needs step 'gone', which the workflow does not have.",
        "Steps wait for each other: 'd' -> 'e' -> 'd'.",
    ]


def test_an_unknown_model_alone_is_still_a_definition_error() -> None:
    workflow = Workflow("model")
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="ask", model_type="gtp"), prompt_template="{x}"))
    with pytest.raises(DefinitionError, match="'gtp' is no model of the catalog"):
        workflow.validate()
    assert issubclass(UnknownModelError, DefinitionError)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1"])
def test_a_time_limit_that_is_none_is_refused(timeout: object) -> None:
    with pytest.raises(DefinitionError, match="is no time"):
        Workflow("w").add_step("a", lambda: 1, timeout_seconds=timeout)  # type: ignore[arg-type]


@pytest.mark.soak
def test_redefining_a_step_a_thousand_times_leaks_nothing() -> None:
    workflow = Workflow("cells")
    workflow.add_step("first", lambda: 1)
    functions: weakref.WeakSet[object] = weakref.WeakSet()
    for number in range(1000):

        def second(first: int, number: int = number) -> int:
            return first + number

        functions.add(second)
        workflow.add_step("second", second)
        if number % 100 == 0:
            assert workflow.run().outputs["second"] == 1 + number
    del second
    workflow.add_step("second", lambda first: first)
    workflow.run()
    gc.collect()
    assert len(functions) == 0
    assert len(workflow.steps) == 2
