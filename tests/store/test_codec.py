"""Values as the journal keeps them: they come back as they were, or it says why they cannot be kept."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import math
import socket
import sys
import threading
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    field_validator,
)

from agentflow.core.errors import JournalError
from agentflow.store import codec
from agentflow.store.codec import decode, encode, encode_quickly

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = (0, 0, 255)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Shape:
    name: str
    points: list[Point]
    scale: dataclasses.InitVar[float] = 1.0
    area: float = dataclasses.field(init=False)
    colour: Colour = Colour.RED

    def __post_init__(self, scale: float) -> None:
        self.area = scale * len(self.points)

    @cached_property
    def label(self) -> str:
        return self.name.upper()


class Ticket(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    number: int = Field(alias="ticketNumber")
    opened: datetime
    price: Decimal = Decimal("1.10")
    point: Point = Point(0)
    tags: set[str] = Field(default_factory=set)
    colour: Colour = Colour.BLUE
    parent: Ticket | None = None
    link: HttpUrl | None = None
    _seen: dict[str, int] = PrivateAttr(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def title(self) -> str:
        return f"#{self.number}"


class Numbers(RootModel[list[int]]):
    pass


class Box(BaseModel, Generic[T]):
    content: T


class Twice(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def _double(cls, value: int) -> int:
        return value * 2


class Account(BaseModel):
    name: str
    password: SecretStr


class Hidden(BaseModel):
    name: str
    key: str = Field(default="", exclude=True)


def again(value: Any) -> Any:
    encoded = encode(value)
    assert encoded.problem == ""
    assert encoded.data is not None
    return decode(encoded.kind, encoded.data)


def same(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one return a kind of value
    """Equal, of the same types all the way down, with NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(k1, k2) and same(v1, v2) for (k1, v1), (k2, v2) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, datetime | time):
        return bool(one == other) and one.utcoffset() == other.utcoffset() and one.fold == other.fold
    equal: bool = one == other
    return equal


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=20)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC))
    | st.times(timezones=st.none() | st.just(timezone(timedelta(hours=-5, minutes=-30))))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from([*Colour, *Level, *Word, Rights.READ | Rights.WRITE, Rights(0)])
    | st.builds(PurePosixPath, st.text("abc/.", max_size=8))
    | st.builds(PureWindowsPath, st.text("abc\\.", max_size=8))
    | st.builds(Point, st.floats(allow_nan=False)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
anything = st.recursive(
    plain | hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.sets(hashable, max_size=4)
        | st.dictionaries(hashable | st.just("$"), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(plain)
def test_what_json_has_a_form_for_comes_back(value: Any) -> None:
    assert same(again(value), value)


@given(anything)
def test_types_come_back_exactly(value: Any) -> None:
    assert same(again(value), value)


@given(plain)
def test_the_quick_way_and_the_other_agree(value: Any) -> None:
    quick = encode_quickly(value)
    assert quick is None or quick == encode(value)


@pytest.mark.parametrize("value", ["", "x" * 100_000, 1, -(2**63), 2.5, True, None, [], {}, {"a": [1, {"b": None}]}])
def test_small_plain_values_are_encoded_quickly(value: Any) -> None:
    encoded = encode_quickly(value)
    assert encoded is not None
    assert decode(encoded.kind, encoded.data or "") == value


@pytest.mark.parametrize(
    "value",
    ["x" * 102_000, 2**64, [0] * 60, [[[[[1]]]]], (1,), {1: 2}, {"$": 1}, Level.LOW, {"k" * 200_000: 1}, [Word.YES]],
)
def test_others_are_left_to_a_thread(value: Any) -> None:
    assert encode_quickly(value) is None
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        Decimal("sNaN"),
        Decimal("1.10"),
        10**6000,
        "half of a pair \ud800",
        "nul \0",
        {"$": "tuple", "v": [1]},
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=-1, microseconds=1))),
        time(1, 2, 3, 4, tzinfo=UTC),
        date.min,
        timedelta.min,
        UUID(int=7),
        b"\x00\xff",
        PurePosixPath("a/ü"),
        Shape("triangle", [Point(1), Point(2)], scale=2.5),
        Numbers([1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_special_value_comes_back(value: Any) -> None:
    assert same(again(value), value)


def test_half_a_windows_share_comes_back() -> None:
    share = PureWindowsPath("\\\\host\\")
    assert same(again(share), share)


def test_a_path_of_this_system_keeps_its_type(tmp_path: Any) -> None:
    assert same(again(tmp_path), tmp_path)


def test_a_model_comes_back_with_aliases_nested_models_extras_and_private_attributes() -> None:
    ticket = Ticket(
        ticketNumber=7,
        opened="2026-11-24T09:30:00Z",  # type: ignore[arg-type]  # pydantic parses it, into a time zone of its own
        parent=Ticket(ticketNumber=6, opened=datetime(2026, 1, 1)),  # noqa: DTZ001 - no zone is a case too
        tags={"a"},
        link="https://example.org/x",  # type: ignore[arg-type]
        more=(1, 2),  # type: ignore[call-arg]  # extras are allowed
    )
    ticket._seen["me"] = 3
    back = again(ticket)
    assert back == ticket
    assert type(back.parent) is Ticket
    assert back.model_extra == {"more": (1, 2)}
    assert back._seen == {"me": 3}
    assert back.model_fields_set == ticket.model_fields_set
    assert back.title == "#7"
    assert back.model_dump_json(by_alias=True, exclude_unset=True) == ticket.model_dump_json(
        by_alias=True, exclude_unset=True
    )


def test_a_class_that_is_not_loaded_gives_its_plain_values() -> None:
    class Local(BaseModel):
        number: int
        colour: Colour = Colour.RED

    assert again({"x": Local(number=1)}) == {"x": {"number": 1, "colour": Colour.RED}}
    assert again(Box[int](content=3)) in (Box[int](content=3), {"content": 3})
    text = json.dumps({"$": "set", "v": [{"$": "dataclass", "class": "gone.module:Thing", "v": {"x": 1}}]})
    assert decode("json", text) == [{"x": 1}]


def test_a_class_that_is_not_what_it_was_gives_its_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Point(1)).data or ""
    renamed = dataclasses.make_dataclass("Point", [("z", float)])
    monkeypatch.setattr(sys.modules[__name__], "Point", renamed)
    assert decode("json", data) == {"x": 1, "y": 0.0}
    numbers = encode(Numbers([1])).data or ""
    monkeypatch.setattr(sys.modules[__name__], "Numbers", RootModel[dict[str, int]])
    assert decode("json", numbers) == [1]


def test_nothing_is_imported_and_nothing_but_data_classes_is_built() -> None:
    for kind in ("antigravity:fly", "subprocess:Popen", "os:system", "builtins:dict", "agentflow:Workflow", ":", "x"):
        for tag in ("model", "dataclass", "enum"):
            text = json.dumps({"$": tag, "class": kind, "name": "A", "v": {"args": "true"}})
            assert decode("json", text) == {"args": "true"}
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (threading.Lock(), "it is of type lock"),
        ({"a": [threading.Lock()]}, "it holds a lock"),
        (lambda: 1, "it is of type function"),
        (np.zeros(3), "it is of type ndarray"),
        (np.float64(1), "it is of type float64"),
        (OrderedDict(a=1), "it is of type OrderedDict"),
        (object(), "it is of type object"),
        (Point, "it is of type type"),
        (sys.stdout, "it is of type"),
        (SecretStr("x"), "it holds a secret"),
        ([{"deep": (Account(name="a", password=SecretStr("hunter2")),)}], "it holds a secret"),
        (SecretBytes(b"x"), "it holds a secret"),
        (Twice(value=1), "does not validate to the same values again"),
        (Hidden(name="a", key="secret"), "the field 'key' of Hidden is excluded"),
        (ValueError("x"), "it is of type ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_says_why(value: Any, problem: str) -> None:
    encoded = encode(value)
    assert encoded.data is None
    assert problem in encoded.problem
    assert "hunter2" not in repr(encoded)


def test_a_value_that_contains_itself_is_a_problem() -> None:
    circle: list[Any] = [1]
    circle.append({"again": circle})
    assert encode(circle).problem == "it contains itself"
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert encode(deep).problem == "it is nested deeper than 100 levels"


def test_one_object_in_two_places_is_no_circle() -> None:
    part = [1]
    assert again([part, part]) == [[1], [1]]


def test_a_value_that_would_grow_without_end_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_MOST_PARTS", 1000)
    doubled: list[Any] = []
    for _ in range(60):
        doubled = [doubled, doubled]
    assert encode(doubled).problem == "it has more than 1,000 parts"


def test_an_attribute_beside_the_fields_is_a_problem_but_no_cached_property() -> None:
    shape = Shape("a", [])
    assert shape.label == "A"
    assert again(shape) == shape
    shape.extra = 1  # type: ignore[attr-defined]
    assert encode(shape).problem == "the attribute 'extra' of Shape is no field of it"


def test_whatever_a_value_raises_is_a_problem() -> None:
    class Broken(BaseModel):
        number: int

        def __getattribute__(self, name: str) -> Any:
            if name == "number":
                raise RuntimeError("not today")
            return super().__getattribute__(name)

    assert encode(Broken(number=1)).problem == "reading it failed: RuntimeError: not today"


async def test_live_things_are_problems() -> None:
    with socket.socket() as connection:
        for value in (connection, asyncio.get_running_loop(), iter([1]), (x for x in [1])):
            assert encode(value).data is None


@pytest.mark.parametrize("data", ["{", '{"$": "later", "v": 1}', '{"$": "datetime", "v": "x"}', '{"$": "model"}', ""])
def test_damaged_data_is_an_error_in_words(data: str) -> None:
    with pytest.raises(JournalError, match=r"A kept value cannot be read: .+run the step again\."):
        decode("json", data)
    with pytest.raises(JournalError, match="unknown kind 'later'"):
        decode("later", data)
