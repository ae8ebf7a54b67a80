"""Prompt templates: what is a placeholder, what is text, and what a prompt can reach."""

import dataclasses
import enum

import pytest
from pydantic import BaseModel

from agentflow.core.errors import InputError
from agentflow.core.template import Template


class Ticket(BaseModel):
    product: str
    tags: list[str]


@dataclasses.dataclass
class Point:
    x: int


class Level(enum.StrEnum):
    HIGH = "high"


class Number(enum.Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("Hello {name}", {"name": "Ada"}, "Hello Ada"),
        ("{ticket.product}: {ticket.tags[1]}", {"ticket": Ticket(product="shop", tags=["a", "b"])}, "shop: b"),
        ("{point.x}", {"point": Point(3)}, "3"),
        ("{reply[text]} {reply.text}", {"reply": {"text": "hi"}}, "{reply[text]} hi"),
        ("{level} {number}", {"level": Level.HIGH, "number": Number.ONE}, "high 1"),
        ("{rows}", {"rows": [{"a": "é"}]}, '[{"a": "é"}]'),
        ("{ticket}", {"ticket": Ticket(product="x", tags=[])}, '{"product": "x", "tags": []}'),
        ("{ok}", {"ok": True}, "true"),
        ("{{name}} is {name}", {"name": "Ada"}, "{name} is Ada"),
        ("{name}", {"name": "{other}"}, "{other}"),
    ],
)
def test_values_are_put_in(text: str, values: dict[str, object], expected: str) -> None:
    assert Template(text).render(values) == expected


@pytest.mark.parametrize(
    "text", ['{"ok": true}', "{8}", "{}", "{v:k for k, v in pairs}", "{x:>3}", "{x!r}", "{ x }", "{a.b()}"]
)
def test_other_braces_are_text(text: str) -> None:
    template = Template(text)
    assert template.names == ()
    assert template.render({}) == text


def test_names_come_once_in_order_of_appearance() -> None:
    assert Template("{b} {a.x} {b[0]} {a}").names == ("b", "a")


def test_none_is_empty_text_and_has_no_parts_but_stays_null_in_json() -> None:
    template = Template("[{a}] [{a.field[0]}] {row}")
    assert template.render({"a": None, "row": {"note": None}}) == '[] [] {"note": null}'


def test_what_json_cannot_say_is_named() -> None:
    with pytest.raises(InputError, match=r"type dict cannot be put into a prompt.*a placeholder of its own"):
        Template("{row}").render({"row": {"photo": b"\x89PNG"}})


@pytest.mark.parametrize(
    ("text", "value", "says"),
    [
        ("{t.prodct}", Ticket(product="x", tags=[]), "did you mean 'product'"),
        ("{t.tags[2]}", Ticket(product="x", tags=["a"]), "has 1 items"),
        ("{t.field}", "plain text", "is text"),
        ("{t.__class__}", Ticket(product="x", tags=[]), "has no '__class__'"),
        ("{t.model_fields}", Ticket(product="x", tags=[]), "has no 'model_fields'"),
        ("{t.real}", 1, "of type int"),
    ],
)
def test_a_part_that_is_not_there_is_named(text: str, value: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Template(text).render({"t": value})
