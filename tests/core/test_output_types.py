"""Output types in their short form."""

from __future__ import annotations

import gc
from typing import Any, Literal

import pytest
from pydantic import BaseModel, RootModel, ValidationError

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core import output_types
from agentflow.core.errors import DefinitionError
from agentflow.core.output_types import from_short_form, parse_output, short_form_of
from tests.endpoint import Endpoint


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Cat(BaseModel):
    lives: int


Names = RootModel[list[str]]
Pet = RootModel[Cat | Node]
Counts = RootModel[dict[str, int]]


def config(output_type: Any) -> AgentConfig:
    return AgentConfig(name="a", output_type=output_type)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("urgent: bool, product: str", {"urgent": bool, "product": str}),
        ("a:int,b:float,", {"a": int, "b": float}),
        ("tags: list[str], counts: dict[str, list[int]]", {"tags": list[str], "counts": dict[str, list[int]]}),
        ("severity: 'P0' | \"P1\"", {"severity": Literal["P0", "P1"]}),
        ("place: 'Rome, Italy' | ']:' | None", {"place": Literal["Rome, Italy", "]:"] | None}),
        ("kinds: list['a' | 'b'], one: 'only'", {"kinds": list[Literal["a", "b"]], "one": Literal["only"]}),
        ("note: str | None, model_name: str", {"note": str | None, "model_name": str}),
        ("a: int,\n  b: str  # of the shop", {"a": int, "b": str}),
    ],
)
def test_a_short_form_is_a_pydantic_model(text: str, types: dict[str, Any]) -> None:
    model = from_short_form(text)
    assert {name: field.annotation for name, field in model.model_fields.items()} == types
    assert short_form_of(model) == text


def test_a_field_that_may_be_none_may_be_left_out_and_others_not() -> None:
    model = from_short_form("a: int, note: str | None")
    assert model.model_validate_json('{"a": 1}') == model(a=1, note=None)
    with pytest.raises(ValueError, match="a"):
        model.model_validate_json('{"note": "x"}')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read at its end"),
        ("urgent", "`urgent` is not of the form `name: type`"),
        ("a: strng", r"'strng' is no type \(did you mean 'str'\?\)"),
        ("a: int, b: list", r"'list' is no type \(did you mean 'list\[str\]'\?\)"),
        ("a: dict[int, str]", r"`dict\[int, str\]` is no type"),
        ("a: int | str", r"`int \| str` is neither"),
        ("a: 'x' | 5", r"`'x' \| 5` is neither"),
        ("a: None", "`None` is no type"),
        ("a: int = 5", "cannot be read at '= 5'"),
        ("a: int, class: str", "cannot be read at 'class: str'"),
        ("a: int, _b: str", "cannot be called '_b'"),
        ("model_dump: str", "cannot be called 'model_dump'"),
        ("a: int, a: str", "'a' is there twice"),
        ("a: list[str", "cannot be read at its end"),
        ("a: int][b: int", "brackets do not match"),
        ("a: int], _[b: int", "brackets do not match"),
        ("a: __import__('os').system('x')", "is no type"),
    ],
)
def test_what_is_no_short_form_is_shown_with_its_place(text: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as caught:
        config(text)
    assert str(caught.value).startswith(f"output_type {text!r}: ")


def test_one_short_form_is_one_class_and_configs_are_equal() -> None:
    first, second = (config("urgent: bool") for _ in range(2))
    assert first == second
    assert first.output_type is second.output_type
    assert first != config("urgent: str")


def test_a_class_that_was_written_has_no_short_form() -> None:
    class Ticket(BaseModel):
        urgent: bool

    class More(from_short_form("a: int")):  # type: ignore[misc]
        b: int

    assert AgentConfig(name="a", output_type=Ticket).output_type is Ticket
    assert short_form_of(Ticket) is short_form_of(More) is None


def test_models_that_nothing_uses_are_forgotten() -> None:
    for number in range(50):
        from_short_form(f"passing{number}: int")
    gc.collect()
    assert not any(form.startswith("passing") for form in list(output_types._MODELS))


async def test_its_fields_can_be_used_by_other_steps(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow("tickets")
    classify = config("product: 'shop' | 'app', urgent: bool, tags: list[str]")
    workflow.add_step("classify", SimpleAgent(classify, client, prompt_template="Classify {ticket}"))
    workflow.add_step(
        "reply", SimpleAgent(AgentConfig(name="r"), client, prompt_template="About the {classify.product}")
    )
    result = await workflow.execute(ticket="It is down")
    assert classify.output_class is not None
    assert result.outputs["classify"] == classify.output_class(product="shop", urgent=False, tags=[])
    assert result.outputs["reply"] == "About the shop"


@pytest.mark.parametrize("model", ["haiku", "nova-lite", "sonnet-5-5"])
@pytest.mark.parametrize(
    ("output_type", "text", "output"),
    [
        (Node, '{"name": "a", "children": [{"name": "b"}]}', Node(name="a", children=[Node(name="b")])),
        (Names, '{"value": ["a", "b"]}', Names(["a", "b"])),
        (Pet, '{"value": {"lives": 9}}', Pet(Cat(lives=9))),
        (Counts, '{"value": {"a": 1}}', Counts({"a": 1})),
    ],
)
async def test_an_answer_is_an_object_whatever_the_type_is(
    scripted: Endpoint, model: str, output_type: type[Any], text: str, output: Any
) -> None:
    scripted.follow(text=text)
    made = AgentConfig(name="a", output_type=output_type, model_type=model)
    agent = SimpleAgent(made, BedrockClient(endpoint_url=scripted.url), prompt_template="x")
    assert await agent.run({}) == output


@pytest.mark.parametrize(
    "text",
    [
        'Here you are: {"a": 1}',
        '```json\n{"a": 1}\n```',
        'Sure.\n\n```\n{"a": 1}\n```\nIs that it?',
        ' {"a": 1}\n',
    ],
)
def test_words_around_an_answer_are_passed_over(text: str) -> None:
    assert parse_output(from_short_form("a: int"), text).model_dump() == {"a": 1}


@pytest.mark.parametrize("text", ['[{"a": 1}]', '{"a": 1} or {"a": 2}', '{"a": 1', "a: 1", 'From [1]: {"a": 1}'])
def test_what_may_be_more_than_one_answer_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_output(from_short_form("a: int"), text)


def test_a_list_is_told_to_be_a_field() -> None:
    with pytest.raises(DefinitionError, match=r"; for a list a field of one: 'items: list\[str\]'"):
        config(list[str])


async def test_a_dictionary_of_any_keys_can_be_answered(scripted: Endpoint) -> None:
    scripted.follow(text='{"counts": {"open": 3, "closed": 4}}')
    agent = SimpleAgent(
        config("counts: dict[str, int]"), BedrockClient(endpoint_url=scripted.url), prompt_template="Count."
    )
    assert (await agent.run({})).counts == {"open": 3, "closed": 4}
