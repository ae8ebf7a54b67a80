"""JSON schemas as they are sent: what Bedrock refuses is gone, and the model still knows of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentflow.models.schemas import accepted_schema, is_native


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9, description="how many")]


class Dog(BaseModel):
    kind: Literal["dog"]
    pattern: Annotated[str, Field(max_length=5)]  # a field that is called like a keyword


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    place: tuple[float, str]
    names: Annotated[list[str], Field(min_length=1)]


class Node(BaseModel):
    children: list[Node]


class Outer(BaseModel):
    nodes: list[Node]


def test_limits_become_words() -> None:
    lives = accepted_schema(Cat.model_json_schema())["properties"]["lives"]
    assert lives == {"description": "how many (maximum 9, minimum 1)", "title": "Lives", "type": "integer"}
    pattern = accepted_schema(Dog.model_json_schema())["properties"]["pattern"]
    assert pattern == {"description": "maxLength 5", "title": "Pattern", "type": "string"}


def test_what_has_another_form_gets_it() -> None:
    properties = accepted_schema(Owner.model_json_schema())["properties"]
    assert properties["pet"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}], "title": "Pet"}
    assert properties["place"]["items"] == {"anyOf": [{"type": "number"}, {"type": "string"}]}
    assert properties["names"]["minItems"] == 1


@pytest.mark.parametrize("keyword", ["enum", "const", "examples"])
def test_values_are_no_schemas(keyword: str) -> None:
    schema = {keyword: [{"format": "x", "minimum": 1, "type": "object"}]}
    assert accepted_schema(schema) == schema


def test_a_default_becomes_words_unless_it_is_none() -> None:
    schema = {"properties": {"path": {"default": "/tmp"}, "day": {"default": None}, "default": {"type": "string"}}}
    assert accepted_schema(schema)["properties"] == {
        "path": {"description": 'default "/tmp"'}, "day": {}, "default": {"type": "string"},
    }  # fmt: skip


def test_a_class_that_contains_itself_has_a_root_with_a_type() -> None:
    schema = Node.model_json_schema()
    assert schema.keys() == {"$defs", "$ref"}
    accepted = accepted_schema(schema)
    assert (accepted["type"], accepted["properties"]["children"]["items"]) == ("object", {"$ref": "#/$defs/Node"})
    assert accepted_schema({"$ref": "https://example.com/a"}) == {"$ref": "https://example.com/a"}


@pytest.mark.parametrize(
    ("schema", "native"),
    [
        (Owner.model_json_schema(), True),
        (Node.model_json_schema(), False),
        (Outer.model_json_schema(), False),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}}, False),
        ({"type": "object", "additionalProperties": {"type": "string"}}, False),
        ({"type": "object", "properties": {"self": {"$ref": "#"}}}, False),
    ],
)
def test_only_closed_schemas_without_circles_go_as_output_schemas(schema: dict[str, Any], native: bool) -> None:
    assert is_native(accepted_schema(schema)) is native
