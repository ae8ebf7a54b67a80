"""A step's fingerprint: it changes with what the step computes, with nothing else, and is the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.step import Reference, Step
from agentflow.core.step_parts import workflow_parts


def fingerprint(thing: Any, inputs: Mapping[str, Any] | None = None, **wiring: Any) -> str:
    workflow = Workflow("one")
    workflow.add_step("a", lambda: 1)
    workflow.add_step("b", lambda: 1)
    workflow.add_step("step", thing, inputs, **wiring)
    return workflow_parts(workflow.steps).fingerprints["step"]


def function_of(source: str) -> Callable[..., Any]:
    """Return the function `step` of a piece of code."""
    names: dict[str, Any] = {}
    exec(compile(source, f"file-{len(source)}.py", "exec"), names)
    step: Callable[..., Any] = names["step"]
    return step


def prompt(text: str = "Say {x}.", client: Any = None, examples: Any = (), **config: Any) -> SimpleAgent:
    settings = AgentConfig(**{"name": "agent", **config})
    return SimpleAgent(settings, client, prompt_template=text, examples=examples)


BEFORE = """\
def step(ticket, tone="formal", *, limit=3):
    words = {"a", "b", "c"}
    try:
        return [word for word in ticket.split() if word in {"x", "y", "z"}][:limit], tone, words
    except ValueError:
        return (1, 2.0, None)
"""


@pytest.mark.parametrize(
    "after",
    [
        "# A comment\n\n\n" + BEFORE,
        BEFORE.replace("    try:", "    # Another\n\n    try:"),
        BEFORE.replace("def step(ticket, tone", "def step(\n    ticket: str,\n    tone"),
        "def other():\n    return 1\n\n" + BEFORE,
    ],
)
def test_a_comment_or_a_moved_line_changes_nothing(after: str) -> None:
    assert fingerprint(function_of(after)) == fingerprint(function_of(BEFORE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{'a', 'b', 'c'}".replace("'", '"'), "{'a', 'b', 'd'}"),
        ('{"x", "y", "z"}', '{"x", "y"}'),
        ("ticket.split()", "ticket.rsplit()"),
        ("if word in", "if word not in"),
        ("except ValueError", "except TypeError"),
        ("(1, 2.0, None)", "(1, 2, None)"),
        ("(1, 2.0, None)", "(True, 2.0, None)"),
        ('"formal"', '"rude"'),
        ("limit=3", "limit=4"),
        ("*, limit", "limit"),
        ("ticket", "text"),
        ("def step", "async def step"),
    ],
)
def test_other_code_is_another_step(old: str, new: str) -> None:
    after = BEFORE.replace(old, new)
    assert after != BEFORE
    assert fingerprint(function_of(after)) != fingerprint(function_of(BEFORE))


def closing_over(value: Any) -> Callable[..., Any]:
    def step() -> Any:
        return value

    return step


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, "1"),
        (1, True),
        ("a", None),
        ((1, 2), (2, 1)),
        ([1, [2]], [1, [3]]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"a", "b"}, {"a", "c"}),
        (b"a", b"b"),
        (Path("a"), Path("b")),
        (lambda: 1, lambda: 2),
        (closing_over(1), closing_over(2)),
        (partial(closing_over, 1), partial(closing_over, 2)),
        (object(), "object"),
        (str, int),
        (len, repr),
    ],
)
def test_what_a_function_closes_over_is_part_of_it(one: Any, other: Any) -> None:
    assert fingerprint(closing_over(one)) == fingerprint(closing_over(one))
    assert fingerprint(closing_over(one)) != fingerprint(closing_over(other))


def test_what_has_no_value_of_its_own_counts_by_its_type() -> None:
    assert fingerprint(closing_over(object())) == fingerprint(closing_over(object()))
    assert fingerprint(closing_over({"a": 1, "b": 2})) == fingerprint(closing_over({"b": 2, "a": 1}))


def test_a_function_or_a_list_may_hold_itself() -> None:
    def step(n: int) -> int:
        return step(n - 1) + later() if n else 0

    def ahead() -> Any:
        return later

    before = fingerprint(ahead)
    items: list[Any] = []
    items.append(items)
    assert fingerprint(closing_over(items)) == fingerprint(closing_over(items))

    def later() -> int:
        return 1

    assert fingerprint(step) == fingerprint(step)
    assert fingerprint(ahead) != before


class Shop:
    def __init__(self, name: str = "x") -> None:
        self.name = name

    def open(self, ticket: str) -> str:
        return ticket + self.name

    def close(self, ticket: str) -> str:
        return self.name + ticket

    def __call__(self, ticket: str) -> str:
        return ticket


class Stall(Shop):
    def __call__(self, ticket: str) -> str:
        return ticket.upper()


@dataclass
class Constant:
    """An agent of one's own, with values."""

    value: Any
    calls: int = field(default=0, compare=False)

    @property
    def parameters(self) -> Mapping[str, bool]:
        return {}

    def check(self) -> None: ...

    async def run(self, values: Mapping[str, Any]) -> Any:
        return self.value


class Model(BaseModel):
    value: int


class Loud(SimpleAgent):
    async def run(self, values: Mapping[str, Any]) -> Any:
        return str(await super().run(values)).upper()


class Urgent(BaseModel):
    urgent: bool


class UrgentText(BaseModel):
    urgent: str


def add(a: int, b: int) -> int:
    return a + b


def subtract(a: int, b: int) -> int:
    return a - b


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Shop().open, Shop().close),
        (Shop(), Stall()),
        (partial(add, b=1), partial(add, b=2)),
        (partial(add, b=1), partial(subtract, b=1)),
        (cache(add), cache(subtract)),
        (cache(add), add),
        (Constant(1), Constant(2)),
        (Constant(Model(value=1)), Constant(Model(value=2))),
        (Constant([Constant(1)]), Constant([Constant(2)])),
        (prompt(), prompt("Tell {x}.")),
        (prompt(), prompt(system="Be brief.")),
        (prompt(), prompt(model_type="haiku")),
        (prompt(), prompt(max_tokens=5)),
        (prompt(), prompt(temperature=0)),
        (prompt(), prompt(stop_sequences=("a",))),
        (prompt(), prompt(examples=[("a", "b")])),
        (prompt(), prompt(output_type=Urgent)),
        (prompt(output_type=Urgent), prompt(output_type=UrgentText)),
        (prompt(), Loud(AgentConfig(name="agent"), prompt_template="Say {x}.")),
    ],
)
def test_another_agent_is_another_step(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (prompt(), prompt(name="renamed")),
        (prompt(), prompt(client=BedrockClient("eu-west-1"))),
        (prompt(), prompt(max_tokens=AgentConfig(name="x").max_tokens)),
        (prompt(model_type="haiku"), prompt(model_type="haiku")),
        (Shop("a"), Shop("b")),
        (Constant(1, calls=1), Constant(1, calls=2)),
        (cache(add), cache(add)),
    ],
)
def test_what_does_not_change_an_answer_changes_nothing(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def echo(x: Any = None, y: Any = None) -> Any:
    return x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"x": None}),
        ({"x": 1}, {"y": 1}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": Reference("a")}, {"x": Reference("b")}),
        ({"x": Reference("a")}, {"x": Reference("a", ("f",))}),
        ({"x": Reference("a", (0,))}, {"x": Reference("a", ("0",))}),
        ({"x": Reference("a")}, {"x": "a"}),
        ({"x": Path("a")}, {"x": Path("b")}),
        ({"x": Path("a")}, {"x": "a"}),
        ({"x": b"a"}, {"x": b"b"}),
        ({"x": Model(value=1)}, {"x": Model(value=2)}),
    ],
)
def test_other_inputs_make_another_step(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint(echo, one) == fingerprint(echo, dict(reversed(one.items())))
    assert fingerprint(echo, one) != fingerprint(echo, other)


@pytest.mark.parametrize(
    "wiring",
    [
        {"depends_on": "a"},
        {"when": Reference("a")},
        {"when": Reference("b")},
        {"when": lambda a: a},
        {"when": lambda a: not a},
        {"map_over": "x"},
        {"map_over": "y"},
        {"optional": "x"},
        {"optional": "y"},
    ],
)
def test_other_wiring_makes_another_step(wiring: dict[str, Any]) -> None:
    seen = {"plain": fingerprint(echo), "depends on b": fingerprint(echo, depends_on="b")}
    assert fingerprint(echo, **wiring) == fingerprint(echo, **wiring)
    assert fingerprint(echo, **wiring) not in seen.values()


def test_a_step_or_a_reference_to_it_is_the_same_wiring() -> None:
    step = Step("a", prompt())
    assert fingerprint(echo, {"x": step}) == fingerprint(echo, {"x": Reference("a")})
    assert fingerprint(echo, {"x": step.field[0]}) == fingerprint(echo, {"x": Reference("a", ("field", 0))})


def test_limits_of_time_and_the_order_change_nothing() -> None:
    assert fingerprint(echo, timeout_seconds=1) == fingerprint(echo)
    assert fingerprint(echo, depends_on=["a", "b"]) == fingerprint(echo, depends_on=["b", "a"])
    workflow = Workflow("one")
    workflow.add_step("x", echo, {"x": 1})
    workflow.add_step("y", echo)
    assert (
        workflow_parts(workflow.steps).fingerprints
        == workflow_parts(dict(reversed(workflow.steps.items()))).fingerprints
    )


def test_a_name_that_becomes_a_step_rewires_those_that_use_it() -> None:
    workflow = Workflow("one")
    workflow.add_step("reply", prompt("{tone}"))
    before = workflow_parts(workflow.steps).fingerprints["reply"]
    workflow.add_step("tone", lambda: "formal")
    assert workflow_parts(workflow.steps).fingerprints["reply"] != before


def nested(thing: Any, step_id: str = "inside", **config: Any) -> Workflow:
    workflow = Workflow(WorkflowConfig(**{"name": "nested", **config}))
    workflow.add_step(step_id, thing)
    return workflow


def test_a_nested_workflow_is_what_its_steps_are() -> None:
    plain = fingerprint(nested(echo))
    assert plain == fingerprint(nested(echo))
    assert plain == fingerprint(nested(echo, name="renamed", timeout_seconds=1))
    others = [nested(add), nested(echo, "other"), nested(echo, on_error="continue"), nested(nested(echo)), echo]
    assert plain not in map(fingerprint, others)


SCRIPT = """\
import functools
from agentflow import AgentConfig, SimpleAgent, Workflow
from agentflow.core.step_parts import workflow_parts

def close(words, numbers):
    def step(ticket, kinds=frozenset({"a", "b", "c", "d"}), *, limit={"x": 1, "y": 2}):
        return [word for word in ticket if word in {"one", "two", "three", "four"} | words], numbers
    return step

class Tool:
    def use(self, ticket):
        return {"p", "q", "r"}

workflow = Workflow("x")
workflow.add_step("prompt", SimpleAgent(
    AgentConfig(name="a", output_type="urgent: bool, product: str"), prompt_template="{ticket}"))
workflow.add_step("function", close({"q", "w", "e", "r"}, {1: {"s", "t", "u"}}), {"ticket": {"l", "m", "n"}})
workflow.add_step("partial", functools.partial(close({"v"}, 1), limit={"b", "c", "d"}))
workflow.add_step("method", Tool().use)
inside = Workflow("inside")
inside.add_step("step", close({"q", "w"}, {"e", "r"}))
workflow.add_step("sub", inside)
print(workflow_parts(workflow.steps).fingerprints)
"""


def test_two_processes_agree() -> None:
    def printed(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    first = printed("1")
    assert {printed("2"), printed("random")} == {first}
    assert first.count(": '") == 5


def test_a_fingerprint_is_16_hexadecimal_digits() -> None:
    assert len(bytes.fromhex(fingerprint(echo))) == 8
