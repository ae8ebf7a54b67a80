"""What a step is made of: read from the step, kept once in the journal, deleted with its last run."""

from __future__ import annotations

import functools
import json
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import agentflow
from agentflow import AgentConfig, SimpleAgent, Workflow
from agentflow.core.step_parts import StepParts, fingerprint, workflow_parts


class Urgent(BaseModel):
    urgent: bool


def shorten(text: str, limit: int = 3) -> str:
    # Cut it.
    return "".join(
        text[:limit],
    )


def parts_of(thing: Any, inputs: dict[str, Any] | None = None, **wiring: Any) -> StepParts:
    workflow = Workflow("one")
    workflow.add_step("before", lambda: 1)
    workflow.add_step("step", thing, inputs, **wiring)
    return workflow_parts(workflow.steps).steps["step"]


def test_a_prompt_has_what_is_sent_with_it() -> None:
    config = AgentConfig(
        name="a", model_type="haiku", max_tokens=9, stop_sequences=("END",), system="Be brief.", output_type=Urgent
    )
    parts = parts_of(SimpleAgent(config, prompt_template="Say {before} {topic}", examples=[("a", "b")]))
    assert (parts.kind, parts.prompt, parts.system, parts.model) == (
        "prompt", "Say {before} {topic}", "Be brief.", "haiku",
    )  # fmt: skip
    assert parts.examples == (("a", "b"),)
    assert parts.parameters == {"max_tokens": 9, "stop_sequences": ["END"]}
    assert parts.schema is not None
    assert set(parts.schema["properties"]) == {"urgent"}
    assert parts.wiring == {"before": ("step", "before"), "topic": ("input", "topic")}


def test_a_function_has_its_source_to_its_last_line() -> None:
    parts = parts_of(shorten)
    assert (parts.kind, parts.name, parts.has_default) == ("python", "shorten", ["limit"])
    assert parts.source is not None
    assert parts.source.startswith("def shorten(")
    assert parts.source.endswith("        text[:limit],\n    )\n")
    assert parts_of(functools.partial(shorten, limit=2)).source == parts.source
    assert parts_of(eval("lambda text: text")).source is None


def test_wiring_says_where_each_parameter_comes_from() -> None:
    parts = parts_of(
        shorten, {"text": agentflow.core.step.Reference("before", ("a", 0)), "limit": 4}, depends_on="before"
    )
    assert parts.wiring["text"] == ("step", "before", "a", 0)
    assert parts.wiring["limit"][0] == "literal"
    assert parts.literals == {"limit": 4}
    assert parts.depends_on == ["before"]


def test_the_parts_of_a_nested_workflow_are_those_of_its_steps() -> None:
    inner = Workflow("inner")
    inner.add_step("cut", shorten)
    parts = parts_of(inner)
    assert (parts.kind, parts.name) == ("workflow", "inner")
    assert parts.steps["cut"] == workflow_parts(inner.steps).steps["cut"]


def test_a_fingerprint_is_of_every_part_that_counts() -> None:
    plain = StepParts("python")
    others = {
        "kind": "agent", "prompt": "p", "system": "s", "examples": (("a", "b"),), "model": "m", "schema": {"a": 1},
        "parameters": {"a": 1}, "code": "c", "wiring": {"a": ("input", "a")}, "depends_on": ("a",), "map_over": "a",
        "optional": ("a",), "when": ("step", "a"), "steps": {"a": StepParts("python")},
        "tools": {"a": StepParts("python")},
    }  # fmt: skip
    assert set(others) == {part.name for part in fields(StepParts) if part.compare}
    seen = {fingerprint(replace(plain, **{name: value})) for name, value in others.items()}  # type: ignore[arg-type]
    assert len(seen - {fingerprint(plain)}) == len(others)
    aside = replace(plain, name="n", source="s", holds={"a": "b"}, has_default=("a",), literals={"a": 1})
    assert fingerprint(aside) == fingerprint(plain)


def bodies() -> list[dict[str, Any]]:
    with closing(sqlite3.connect(Path(".agentflow") / "agentflow.db")) as connection:
        return [json.loads(body) for [body] in connection.execute("SELECT body FROM parts")]


def test_the_journal_keeps_them_once_for_all_runs_that_have_the_same() -> None:
    def build(limit: int) -> Workflow:
        workflow = Workflow("kept")
        workflow.add_step("cut", shorten, {"limit": limit})
        return workflow

    runs = [build(2).run(text=text).run_id for text in ("one", "two")]
    agentflow.runs()
    assert len(bodies()) == 1
    changed = build(1).run(text="three").run_id
    agentflow.runs()
    assert len(bodies()) == 2
    agentflow.prune_runs(run_ids=runs[:1])
    assert len(bodies()) == 2
    agentflow.prune_runs(run_ids=runs)
    [left] = bodies()
    assert json.loads(left["cut"]["literals"]["limit"]["data"]) == 1
    assert agentflow.get_run(changed).explain("cut").word == "new"
