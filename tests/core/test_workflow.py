"""Building and validating a workflow: names are the wiring, and what is wrong is said before anything is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from agentflow import AgentConfig, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.agent import Agent
from agentflow.core.errors import CycleError, DefinitionError, InputError, UnknownModelError
from agentflow.core.model import Estimate, Reply, Request


class NeverCalled:
    """A model that knows only `haiku`, and must not be asked."""

    def check(self, model: str | None) -> None:
        if model not in {None, "haiku"}:
            raise UnknownModelError(f"{model!r} is no model.")

    def estimate(self, model: str | None, request: Request) -> Estimate:
        raise AssertionError(f"{model} has no price for {request}")

    def identify(self, model: str | None, request: Request) -> tuple[str, str]:
        raise AssertionError(f"{model} was asked for the key of {request}")

    async def answer(self, model: str | None, request: Request) -> Reply:
        raise AssertionError(f"{model} was asked {request}")


def prompt(text: str, model: str | None = None, **config: Any) -> SimpleAgent:
    return SimpleAgent(AgentConfig(name="agent", model_type=model, **config), NeverCalled(), prompt_template=text)


def test_a_parameter_named_like_a_step_is_that_steps_output() -> None:
    workflow = Workflow("names")
    workflow.add_step("double", lambda number: number * 2)
    workflow.add_step("text", lambda double, number: f"{number} -> {double}")
    assert workflow.run(number=4).outputs == {"double": 8, "text": "4 -> 8"}


def test_the_order_of_definition_does_not_matter() -> None:
    workflow = Workflow("order")
    workflow.add_step("last", lambda first: first + 1)
    workflow.add_step("first", lambda: 1)
    assert workflow.run().outputs["last"] == 2


def test_inputs_given_by_hand_are_references_or_literals() -> None:
    workflow = Workflow("by hand")
    source = workflow.add_step("source", lambda: {"field": {"deep": ["a", "b"]}, "inputs": 7})
    workflow.add_step("whole", lambda value: value["inputs"], {"value": source})
    workflow.add_step("part", lambda value, suffix: value + suffix, {"value": source.field.deep[1], "suffix": "!"})
    workflow.add_step("shadowed", lambda value: value, {"value": source["inputs"]})
    assert workflow.run().outputs | {"source": None} == {"source": None, "whole": 7, "part": "b!", "shadowed": 7}


def test_a_default_makes_an_input_optional() -> None:
    def greet(name: str = "you") -> str:
        return f"Hello {name}"

    workflow = Workflow("optional")
    workflow.add_step("greet", greet)
    assert workflow.run().outputs["greet"] == "Hello you"
    assert workflow.run(name="Ada").outputs["greet"] == "Hello Ada"


def test_adding_a_step_again_replaces_it() -> None:
    workflow = Workflow("again")
    workflow.add_step("a", lambda: 1)
    workflow.add_step("b", lambda a: a)
    assert workflow.run().outputs["b"] == 1
    workflow.add_step("a", lambda: 2)
    assert workflow.run().outputs["b"] == 2
    assert list(workflow.steps) == ["a", "b"]


def test_any_object_with_the_protocol_is_an_agent() -> None:
    class Shout:
        parameters: Mapping[str, bool] = {"word": True}

        def check(self) -> None:
            pass

        async def run(self, values: Mapping[str, Any]) -> Any:
            return values["word"].upper()

    workflow = Workflow("own")
    agent: Agent = Shout()
    workflow.add_step("shout", agent)
    assert workflow.run(word="hi").outputs["shout"] == "HI"


def test_depends_on_orders_steps_that_share_no_value() -> None:
    order: list[str] = []
    workflow = Workflow("order only")
    workflow.add_step("second", lambda: order.append("second"), depends_on=["first"])
    workflow.add_step("first", lambda: order.append("first"))
    workflow.run()
    assert order == ["first", "second"]


def test_depends_on_takes_a_step_or_a_name_or_several() -> None:
    for depends_on in ("first", ["first"], ("first",)):
        workflow = Workflow("order only")
        first = workflow.add_step("first", lambda: 1)
        workflow.add_step("by_name", lambda: 2, depends_on=depends_on)
        workflow.add_step("by_step", lambda: 2, depends_on=first)
        workflow.validate()
        assert workflow.steps["by_name"].depends_on == workflow.steps["by_step"].depends_on == ("first",)
    with pytest.raises(TypeError):
        list(first)  # type: ignore[call-overload]


class Product(BaseModel):
    product: str


def test_a_misspelt_field_in_a_prompt_names_the_nearest_before_anything_is_called() -> None:
    workflow = Workflow("field")
    classify = workflow.add_step("classify", prompt("{ticket}", output_type=Product))
    workflow.add_step("reply", prompt("About {classify.prodct}"))
    with pytest.raises(DefinitionError, match=r"Step 'reply': 'classify' has no 'prodct' \(did you mean 'product'\?\)"):
        workflow.run(ticket="x")
    workflow.add_step("reply", prompt("About {what}"), {"what": classify.prodct})
    with pytest.raises(DefinitionError, match="'classify' has no 'prodct'"):
        workflow.run(ticket="x")
    workflow.add_step("reply", prompt("About {classify.product}"))
    workflow.validate()
    workflow.add_step("classify", prompt("{ticket}"))
    with pytest.raises(DefinitionError, match="'classify' gives text, which has no 'product'"):
        workflow.validate()


def test_a_step_inside_a_list_is_refused_where_it_would_not_be_followed() -> None:
    workflow = Workflow("list")
    first = workflow.add_step("first", lambda: 1)
    workflow.add_step("second", lambda values: values, {"values": [1, {"a": first}]})
    with pytest.raises(DefinitionError, match="has a step among its items"):
        workflow.validate()


def test_an_input_may_be_called_self() -> None:
    workflow = Workflow("self")
    workflow.add_step("echo", lambda self: self)
    assert workflow.run(self=3).outputs["echo"] == 3


def test_a_misspelt_step_in_a_prompt_names_the_nearest() -> None:
    workflow = Workflow("typo")
    workflow.add_step("classify", prompt("Classify {ticket}"))
    workflow.add_step("reply", prompt("Reply to {clasify}"))
    with pytest.raises(InputError, match=r"Step 'reply' needs \{clasify\}.*did you mean 'classify'") as error:
        workflow.run(ticket="x")
    assert "run(ticket=..., clasify=...)" in error.value.fix


def test_a_missing_input_is_named_with_the_call() -> None:
    workflow = Workflow("missing")
    workflow.add_step("reply", prompt("Reply to {ticket}"))
    with pytest.raises(InputError, match=r"needs \{ticket\}.*Call run\(ticket=\.\.\.\)"):
        workflow.run()


def test_an_input_that_nothing_uses_is_an_error() -> None:
    workflow = Workflow("extra")
    workflow.add_step("reply", prompt("Reply to {ticket}"))
    with pytest.raises(InputError, match=r"'tiket'.*did you mean 'ticket'"):
        workflow.run(ticket="x", tiket="y")
    with pytest.raises(InputError, match="'reply' is a step"):
        workflow.run(ticket="x", reply="y")


def test_a_cycle_shows_its_path() -> None:
    workflow = Workflow("cycle")
    workflow.add_step("a", lambda c: c)
    workflow.add_step("b", lambda a: a)
    workflow.add_step("c", lambda b: b)
    with pytest.raises(CycleError) as error:
        workflow._validate_workflow()
    path = [part.strip(" '.") for part in str(error.value).split(": ")[1].split(". ")[0].split("->")]
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    with pytest.raises(CycleError):
        workflow.run()


def test_a_step_that_needs_itself_is_a_cycle() -> None:
    workflow = Workflow("self")
    workflow.add_step("a", lambda a: a)
    with pytest.raises(CycleError, match="'a' -> 'a'"):
        workflow.validate()


def test_all_problems_are_found_at_once() -> None:
    workflow = Workflow("many")
    workflow.add_step("one", prompt("x", model="haikuu"))
    workflow.add_step("two", lambda value: value, {"valu": 1}, depends_on=["on"])
    workflow.add_step("three", lambda four: four)
    workflow.add_step("four", lambda three: three)
    with pytest.raises(DefinitionError) as error:
        workflow.validate()
    text = str(error.value)
    assert len(error.value.problems) == 4
    for part in ("'haikuu' is no model", "did you mean 'value'", "did you mean 'one'", "'three' -> 'four'"):
        assert part in text


def test_a_workflow_without_steps_says_so() -> None:
    with pytest.raises(DefinitionError, match="has no steps"):
        Workflow("empty").run()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": ""}, "name"),
        ({}, "needs 'name'"),
        ({"name": "x", "timeout_seconds": -1}, "timeout_seconds=-1"),
        ({"name": "x", "timeout_seconds": "soon"}, "timeout_seconds='soon'"),
        ({"name": "x", "enable_paralel": True}, "did you mean 'enable_parallel'"),
        ({"name": "x", "max_concurrency": 0}, "max_concurrency=0"),
    ],
)
def test_a_wrong_workflow_setting_says_what_is_allowed(values: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        WorkflowConfig(**values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temperature": 3}, "temperature=3"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"max_token": 5}, "did you mean 'max_tokens'"),
        ({"output_type": int}, "output_type"),
    ],
)
def test_a_wrong_agent_setting_says_what_is_allowed(values: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        AgentConfig(name="x", **values)


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a name or a WorkflowConfig"):
        Workflow({"name": "x"})  # type: ignore[arg-type]


def test_what_cannot_be_a_step_is_refused() -> None:
    workflow = Workflow("x")
    with pytest.raises(DefinitionError, match="no id of a step"):
        workflow.add_step(3, lambda: 1)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="no mapping"):
        workflow.add_step("a", lambda: 1, ["x"])  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="no AgentConfig"):
        SimpleAgent("x", prompt_template="x")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="is no client"):
        SimpleAgent(AgentConfig(name="x"), "haiku", prompt_template="x")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="cannot be a step"):
        workflow.add_step("a", 3)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="named parameters only"):
        workflow.add_step("a", lambda *args: args)
    with pytest.raises(DefinitionError, match="empty prompt"):
        prompt("  ")


def test_the_repr_names_steps_and_inputs() -> None:
    workflow = Workflow("triage")
    workflow.add_step("classify", prompt("{ticket}"))
    assert "classify" in repr(workflow)
    assert "workflow.run(ticket=...)" in repr(workflow)
