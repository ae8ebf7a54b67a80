"""A workflow as a file: what is written is read again, and what is wrong is said at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.definition.import_path import import_object, import_path_of
from agentflow.core.definition.workflows import definition_json, from_definition_json, from_dict, to_dict
from agentflow.core.errors import DefinitionError
from agentflow.core.model import Guardrail, Reply, Request
from agentflow.core.nested import WorkflowAgent
from agentflow.core.step import Reference
from agentflow.core.step_parts import workflow_parts


class Ticket(BaseModel):
    product: str


def clean(ticket: str) -> str:
    return ticket.strip()


async def is_long(ticket: str) -> bool:
    return len(ticket) > 100


class Tools:
    @classmethod
    def shout(cls, ticket: str) -> str:
        return ticket.upper()

    def whisper(self, ticket: str) -> str:
        return ticket.lower()


@dataclass(frozen=True)
class Constant:
    """An agent of one's own."""

    value: int

    @property
    def parameters(self) -> Mapping[str, bool]:
        return {}

    def check(self) -> None: ...

    async def run(self, values: Mapping[str, Any]) -> int:
        return self.value


SEVEN = Constant(7)
CLEAN_TWICE = partial(clean)


def prompt(text: str = "Say hello.", client: Any = None, examples: Any = (), **config: Any) -> SimpleAgent:
    settings = AgentConfig(**{"name": "agent", **config})
    return SimpleAgent(settings, client, prompt_template=text, examples=examples)


def one_step(*arguments: Any, **keywords: Any) -> Workflow:
    workflow = Workflow("one")
    workflow.add_step("other", clean)
    workflow.add_step("step", *arguments, **keywords)
    return workflow


def problems_of(source: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        source.to_yaml() if isinstance(source, Workflow) else Workflow.from_yaml(source)
    return caught.value.problems


# What is written is read again.

TEXTS = st.text(max_size=20) | st.text(" \n\t\r\x85\u2028:#-|>'\"{}[]&*!%a0é😀", max_size=12)
NAMES = TEXTS.filter(bool)
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=6,
)
PATHS = st.lists(TEXTS | st.integers(-1, 3) | st.sampled_from(["field", "name"]), max_size=3).map(tuple)
PROMPTS = TEXTS.filter(str.strip) | st.sampled_from(["Classify:\n\n  {ticket}\n", "{a.b[0]} and {{c}}"])
CONFIGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "model_type": NAMES,
        "max_tokens": st.integers(1, 9999),
        "temperature": st.floats(0, 1),
        "system": NAMES,
        "stop_sequences": st.lists(TEXTS, max_size=2),
        "output_type": st.just(Ticket) | st.just("urgent: bool, product: str"),
        "tools": st.lists(st.sampled_from([clean, is_long]), unique=True),
        "cache_prompt": st.sampled_from([None, "5m", "1h"]),
        "guardrail": st.builds(
            Guardrail,
            st.from_regex(r"\A[a-z0-9]{1,9}\Z"),
            st.sampled_from(["1", "12", "DRAFT"]),
            st.sampled_from(["enabled", "disabled"]),
        ),
        "latency": st.sampled_from(["standard", "optimized"]),
        "extra_fields": st.dictionaries(TEXTS, LITERALS, max_size=2),
    },
)
AGENTS = st.builds(
    SimpleAgent,
    CONFIGS.map(lambda config: AgentConfig(**config)),
    prompt_template=PROMPTS,
    examples=st.lists(st.tuples(TEXTS.filter(str.strip), TEXTS.filter(str.strip)), max_size=2),
)


@st.composite
def workflows(draw: st.DrawFn, depth: int = 2) -> Workflow:
    config: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "timeout_seconds": st.floats(0.001, 1e9),
            "enable_parallel": st.booleans(),
            "max_concurrency": st.none() | st.integers(1, 9),
            "on_error": st.sampled_from(["fail", "continue"]),
        },
    )
    workflow = Workflow(WorkflowConfig(**draw(config)))
    step_ids = draw(st.lists(NAMES, unique=True, max_size=3))
    nested: Any = workflows(depth=depth - 1) if depth else st.nothing()
    references = st.builds(Reference, st.sampled_from(step_ids), PATHS) if step_ids else st.nothing()
    inputs = st.dictionaries(TEXTS, LITERALS | references | st.binary(max_size=5) | TEXTS.map(Path), max_size=3)
    for step_id in step_ids:
        workflow.add_step(
            step_id,
            draw(AGENTS | st.sampled_from([clean, is_long, Tools.shout, SEVEN, CLEAN_TWICE]) | nested),
            draw(inputs),
            depends_on=draw(st.lists(st.sampled_from(step_ids), unique=True, max_size=2)),
            when=draw(st.none() | st.just(is_long) | references),
            map_over=draw(st.none() | TEXTS),
            optional=draw(st.lists(TEXTS, unique=True, max_size=2)),
            timeout_seconds=draw(st.none() | st.floats(0.001, 1e9)),
        )
    return workflow


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(workflows())
def test_whatever_is_written_is_read_again(workflow: Workflow) -> None:
    text = workflow.to_yaml()
    again = Workflow.from_yaml(text + "\n")
    assert again.to_yaml() == text
    assert to_dict(again) == to_dict(workflow)
    assert again.config == workflow.config
    assert workflow_parts(again.steps).fingerprints == workflow_parts(workflow.steps).fingerprints
    assert from_dict(json.loads(json.dumps(to_dict(workflow)))).to_yaml() == text


def test_a_file_reads_like_the_calls_that_made_it() -> None:
    workflow = Workflow(WorkflowConfig(name="ticket-triage", timeout_seconds=120.0, on_error="fail"))
    classify = workflow.add_step(
        "classify",
        prompt(
            "Classify this ticket.\nAnswer as {json}: {ticket}\n",
            BedrockClient("eu-west-1"),
            [("My shop is down!", '{"urgent": true}')],
            name="classify",
            model_type="haiku",
            max_tokens=60,
            output_type="urgent: bool, product: str",
        ),
    )
    workflow.add_step("clean", clean)
    workflow.add_step(
        "reply",
        prompt("Reply {tone} about {product}: {clean}", output_type=Ticket),
        {"tone": "formal", "product": classify.product, "first": classify["first name"][0], "list": [1, "b"]},
        depends_on="clean",
        when=classify.urgent,
        map_over="ticket",
        optional="clean",
        timeout_seconds=20,
    )
    inside = Workflow("inside")
    inside.add_step("seven", SEVEN, when=is_long)
    workflow.add_step("sub", inside, {"picture": Path("a/b.png"), "data": b"abc"})
    assert (
        workflow.to_yaml()
        == """\
name: ticket-triage
timeout_seconds: 120
steps:
  classify:
    agent:
      name: classify
      model_type: haiku
      max_tokens: 60
      output_type: 'urgent: bool, product: str'
    prompt_template: |
      Classify this ticket.
      Answer as {json}: {ticket}
    examples:
    - [My shop is down!, '{"urgent": true}']
    client: {region_name: eu-west-1}
  clean: {function: 'tests.core.definition.test_workflows:clean'}
  reply:
    agent:
      name: agent
      output_type: tests.core.definition.test_workflows:Ticket
    prompt_template: 'Reply {tone} about {product}: {clean}'
    inputs:
      tone: formal
      product: {step: classify.product}
      first:
        step: [classify, first name, 0]
      list:
        value: [1, b]
    depends_on: [clean]
    when: classify.urgent
    map_over: ticket
    optional: [clean]
    timeout_seconds: 20
  sub:
    workflow:
      name: inside
      steps:
        seven:
          object: tests.core.definition.test_workflows:SEVEN
          when: tests.core.definition.test_workflows:is_long
    inputs:
      picture: {file: a/b.png}
      data: {bytes: YWJj}
"""
    )


def test_a_workflow_that_was_read_runs() -> None:
    workflow = Workflow("run")
    workflow.add_step("shout", Tools.shout)
    workflow.add_step("clean", clean, {"ticket": Reference("shout")})
    assert Workflow.from_yaml(workflow.to_yaml()).run(ticket=" hi ").outputs == {"shout": " HI ", "clean": "HI"}


def test_the_settings_of_the_environment_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLOW_TIMEOUT", "7")
    text = one_step(clean).to_yaml()
    assert "timeout" not in text
    assert "timeout_seconds: 7\n" in Workflow(WorkflowConfig(name="x", timeout_seconds=7)).to_yaml()
    monkeypatch.setenv("AGENTFLOW_TIMEOUT", "9")
    assert Workflow.from_yaml(text).config.timeout_seconds == 9


# Files.


def test_a_file_is_given_as_a_path_or_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    text = one_step(prompt("Grüße, {name}! 😀")).to_yaml(path)
    assert path.read_bytes().decode() == text
    (tmp_path / "flow").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (tmp_path / "flow.json").write_text(json.dumps(to_dict(Workflow.from_yaml(path)), indent=1))
    for source in (path, str(path), tmp_path / "flow", tmp_path / "flow.json", text):
        assert Workflow.from_yaml(source).to_yaml() == text


def test_another_file_is_found_from_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "main.yaml").write_text("name: main\nsteps: {sub: {workflow: parts/sub.yaml}}")
    (tmp_path / "parts/sub.yaml").write_text("name: sub\nsteps: {deep: {workflow: ../deep.yaml}}")
    (tmp_path / "deep.yaml").write_text(
        "name: deep\nsteps: {clean: {function: 'tests.core.definition.test_workflows:clean'}}"
    )
    sub = Workflow.from_yaml(tmp_path / "main.yaml").steps["sub"].agent
    assert isinstance(sub, WorkflowAgent)
    assert "name: deep" in sub.workflow.to_yaml()


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text("name: a\nsteps: {b: {workflow: b.yaml}}")
    b.write_text("name: b\nsteps: {a: {workflow: a.yaml}}")
    assert problems_of(a) == (
        f"Step 'b', {b}, step 'a' holds the workflow that it is part of: {a} -> {b} -> {tmp_path / 'a.yaml'}.",
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (Path("none.yaml"), "none.yaml cannot be read: The file cannot be read: No such file or directory. Check "),
        ("none.yml", "none.yml cannot be read: The file cannot be read"),
        (Path(), ". cannot be read: The file cannot be read: Is a directory."),
        (Path("latin.yaml"), "latin.yaml cannot be read: The file is no UTF-8 text. Save it as UTF-8."),
        (Path("large.yaml"), "large.yaml cannot be read: It is larger than 10,000,000 bytes."),
        (Path("wrong.yaml"), "wrong.yaml cannot be read: Line 2: "),
        (Path("empty.yaml"), "empty.yaml cannot be read: It is empty."),
        ("a: 1\nb: [", "The text cannot be read: Line 2: "),
        ("flow", "flow cannot be read: It is one word or sentence. Give a path as a Path, or with its .yaml."),
        ("[flow]", "The definition cannot be read: The workflow is ['flow'] where a mapping belongs."),
        ("{}", "The definition cannot be read: WorkflowConfig needs 'name'. The workflow has no `steps`"),
        (7, "7 cannot be read: 7 is no file. Give a Path, or YAML as text."),
    ],
)
def test_what_is_no_file_of_a_workflow_is_named(source: Any, problem: str, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: Grüße".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(b"#" * 10_000_001)
    (tmp_path / "wrong.yaml").write_text("name: x\nsteps: [}")
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(DefinitionError) as caught:
        Workflow.from_yaml(source)
    assert str(caught.value).startswith(problem)


# Everything that is wrong is said at once.


WRONG_STEPS = {
    "{agent: {name: a, max_tokens: x, modeltype: 1}, prompt_tmplate: x}": [
        " has no 'prompt_tmplate' (did you mean 'prompt_template'?); it has agent, function, object, workflow, ",
        ", its agent has no 'modeltype' (did you mean 'model_type'?); it has name, model_type, ",
        ", its agent: AgentConfig(max_tokens='x'): input should be a valid integer",
        " has no 'prompt_template'.",
    ],
    "{function: 'os:nothing', when: 'a..b', depends_on: fist, examples: []}": [
        " has 'examples', which only a step with `agent` has.",
        ": 'os:nothing': there is no 'nothing'. Define it in 'os'.",
        " refers to step 'fist', which the workflow does not have (did you mean 'first'?).",
        " refers to 'a..b'; write `step.field[0]`, or a list of such parts: [step, field, 0].",
    ],
    "{}": [" has nothing to run; give it one of agent, function, object, workflow."],
    "{function: x, object: y, timeout_seconds: -1, map_over: [x], optional: {a: 1}}": [
        " has function and object; give it one of agent, function, object, workflow.",
        " has map_over=['x'], which is no text.",
        " has optional={'a': 1}, which is no list of names.",
        " has timeout_seconds=-1, which is no number of seconds.",
    ],
    "{workflow: {name: '', steps: {x: 1}}}": [
        ", its workflow: WorkflowConfig(name=''): string should have at least 1 character.",
        ", its workflow, step 'x' is 1 where a mapping belongs.",
    ],
    "{workflow: nowhere.yaml}": [", nowhere.yaml: The file cannot be read: No such file or directory. Check /"],
    "{function: 'os:sep'}": [": '/' cannot be a step. Give add_step a SimpleAgent, a Python function or an Agent"],
    "{function: 7, inputs: {a: {bytes: '?'}, b: {step: [a, 1.5]}, c: {step: '[0]'}, d: {file: 1}, e: {z: 1}}}": [
        " has 7 where an import path belongs: package.module:name.",
        ", input 'a' is no base64 text (Only base64 data is allowed).",
        ", input 'b' refers to ['a', 1.5]; write `step.field[0]`, or a list of such parts: [step, field, 0].",
        ", input 'c' refers to '[0]'; write `step.field[0]`, or a list of such parts: [step, field, 0].",
        ", input 'd' is none of {step: ...}, {value: ...}, {file: ...}, {bytes: ...}; write a mapping as {value: ...}.",
        ", input 'e' is none of {step: ...}, {value: ...}, {file: ...}, {bytes: ...}; write a mapping as {value: ...}.",
    ],
    "{agent: 1, prompt_template: x, client: {region: x}, examples: [[1]]}": [
        ", its agent is 1 where a mapping belongs.",
        ", its client has no 'region' (did you mean 'regions'?); it has region_name, endpoint_url, ",
        " has `examples` that are no list of [what a user says, what the model answers].",
    ],
    "{agent: {name: j, output_type: 'nowhere:Ticket'}, prompt_template: 1, client: {max_connections: a}}": [
        ", its agent: 'nowhere:Ticket': the module 'nowhere' cannot be imported (ModuleNotFoundError: No module named ",
        " has prompt_template=1, which is no text.",
        ", its client has max_connections='a', which is no int.",
    ],
    "{agent: {name: k}, prompt_template: ' ', client: {endpoint_url: nowhere}}": [
        ", its client: BEDROCK_ENDPOINT_URL='nowhere' is no URL. Give http(s)://HOST[:PORT], `local`, or nothing for ",
        ": Agent 'k' has an empty prompt. Give it a prompt_template.",
    ],
}


def test_all_that_is_wrong_in_a_file_is_said_at_once() -> None:
    steps = [f"  step-{number}: {step}\n" for number, step in enumerate(WRONG_STEPS)]
    found = problems_of(
        f"name: x\ntimeout_second: 3\nmax_concurrency: 0\nsteps:\n  first: {{function: os:getcwd}}\n{''.join(steps)}"
    )
    expected = [
        "The workflow has no 'timeout_second' (did you mean 'timeout_seconds'?); it has name, ",
        "WorkflowConfig(max_concurrency=0): input should be greater than or equal to 1.",
        *(f"Step 'step-{number}'{said}" for number, all_said in enumerate(WRONG_STEPS.values()) for said in all_said),
    ]
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


def test_a_step_that_stands_twice_is_refused_with_its_lines() -> None:
    text = "name: x\nsteps:\n  a: {function: 'm:f'}\n  b: {function: 'm:f'}\n  a: {function: 'm:g'}\n"
    assert problems_of(text) == ("Step 'a' stands twice in the file, lines 3 and 5.",)


def test_data_whose_keys_are_no_text_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Step 1 is 'x' where a mapping belongs"):
        from_dict({"name": "x", "steps": {1: "x"}})
    with pytest.raises(DefinitionError, match="has the key 1, which is no text"):
        from_dict({1: "x", "name": "x", "steps": {}})


def test_all_that_cannot_be_written_is_said_at_once() -> None:
    def local(ticket: str) -> str:
        return ticket

    class Local(BaseModel):
        a: str

    inside = Workflow("inside")
    inside.add_step("deep", lambda: 1)
    workflow = one_step(lambda ticket: ticket)
    workflow.add_step("local", local, when=lambda ticket: True)
    workflow.add_step("partial", partial(clean), {"ticket": ("a", "tuple")})
    workflow.add_step("method", Tools().whisper, {"ticket": {1: 2}})
    workflow.add_step("agent", Constant(8))
    workflow.add_step("prompt", prompt(output_type=Local), {"a": [Reference("other")], "b": Reference("other", (1.5,))})  # type: ignore[arg-type]
    workflow.add_step("sub", inside)
    problems = problems_of(workflow)
    assert [problem.partition(". ")[0] for problem in problems] == [
        "Step 'step': FunctionAgent(<lambda>) has no import path",
        "Step 'local': FunctionAgent(local) has no import path",
        f"Step 'local': its condition {workflow.steps['local'].when!r} has no import path",
        f"Step 'partial': FunctionAgent({partial(clean)!r}) has no import path",
        "Step 'partial': its input 'ticket' is of type tuple, or holds what cannot be written",
        "Step 'method': FunctionAgent(whisper) has no import path",
        "Step 'method': its input 'ticket' is of type dict, or holds what cannot be written",
        f"Step 'agent': {workflow.steps['agent'].agent!r} has no import path",
        "Step 'prompt': its output_type Local has no import path",
        "Step 'prompt': its input 'a' is of type list, or holds what cannot be written",
        "Step 'prompt': its input 'b', other.1.5, has a part that is neither a name nor a number",
        "Step 'sub': Step 'deep': FunctionAgent(<lambda>) has no import path",
    ]
    assert "Move it into a module of your own" in problems[0]


@pytest.mark.parametrize(
    ("thing", "path"),
    [
        (clean, "tests.core.definition.test_workflows:clean"),
        (Tools.shout, "tests.core.definition.test_workflows:Tools.shout"),
        (SEVEN, "tests.core.definition.test_workflows:SEVEN"),
        (Ticket, "tests.core.definition.test_workflows:Ticket"),
        (json.dumps, "json:dumps"),
        (len, "builtins:len"),
        (Tools().whisper, None),
        (lambda: 1, None),
        (Constant(7), None),
    ],
)
def test_an_import_path_leads_back_to_the_very_same_object(thing: Any, path: str | None) -> None:
    assert import_path_of(thing) == path
    assert path is None or import_object(path) == thing


@pytest.mark.parametrize("path", ["", "os", "os:", ":x", "os:a b", "os:__import__('os')", "../x:y", "a.b:c:d"])
def test_what_is_no_import_path_is_never_imported(path: str) -> None:
    with pytest.raises(DefinitionError, match="is no import path"):
        import_object(path)


# Clients.


def clients(workflow: Workflow) -> list[Any]:
    agents = [step.agent for step in workflow.steps.values()]
    return [agent._client for agent in agents if isinstance(agent, SimpleAgent)]


def test_equal_arguments_give_one_client_and_none_the_default() -> None:
    workflow = Workflow("clients")
    arguments: dict[str, Any] = {"endpoint_url": "http://127.0.0.1:9", "max_connections": 3, "profile_name": None}
    for number, client in enumerate([None, BedrockClient(), BedrockClient("eu-west-1"), BedrockClient("eu-west-1")]):
        workflow.add_step(f"s{number}", prompt(client=client))
    workflow.add_step("s4", prompt(client=BedrockClient("eu-west-1", **arguments)))
    first, second, third, fourth, fifth = clients(Workflow.from_yaml(workflow.to_yaml()))
    assert first is second is None
    assert third is fourth
    assert third.given == {"region_name": "eu-west-1"}
    assert fifth.given == {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:9", "max_connections": 3}


def test_a_client_that_is_given_replaces_all() -> None:
    inside = one_step(prompt(client=BedrockClient("eu-west-1")))
    workflow = one_step(prompt(client=BedrockClient("eu-west-2")))
    workflow.add_step("default", prompt())
    workflow.add_step("sub", inside)
    client = BedrockClient("us-west-2")
    again = Workflow.from_yaml(workflow.to_yaml(), bedrock_client=client)
    sub = again.steps["sub"].agent
    assert isinstance(sub, WorkflowAgent)
    assert clients(again) + clients(sub.workflow) == [client] * 3


class Echo:
    """A model of one's own."""

    def check(self, model: str | None) -> None: ...

    async def answer(self, model: str | None, request: Request) -> Reply:
        raise NotImplementedError


def test_a_client_that_cannot_be_written_is_named() -> None:
    workflow = one_step(prompt(client=Echo()))
    workflow.add_step("secret", prompt(client=BedrockClient(endpoint_url="https://me:hunter2@proxy.example")))
    first, second = problems_of(workflow)
    assert first.startswith("Step 'step': its client <tests.core.definition.test_workflows.Echo object")
    assert second == "Step 'secret': its client's endpoint_url holds a password, which is never written. Leave it out."


def test_keys_are_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.setenv(name, "hunter2")
    assert "hunter2" not in one_step(prompt(client=BedrockClient())).to_yaml()


# The journal's form.


def test_a_workflow_of_prompts_is_kept_as_json() -> None:
    inside = Workflow("inside")
    inside.add_step("a", prompt())
    workflow = Workflow("prompts")
    classify = workflow.add_step("classify", prompt("{ticket} é", output_type="urgent: bool"))
    workflow.add_step("reply", prompt("{classify.urgent}"), when=classify.urgent)
    workflow.add_step("sub", inside)
    text = definition_json(workflow)
    assert text is not None
    assert text.isascii()
    assert "\n" not in text
    assert from_definition_json(text).to_yaml() == workflow.to_yaml()


@pytest.mark.parametrize("code", [clean, SEVEN, one_step(clean), prompt(client=Echo())])
def test_a_workflow_with_code_is_not(code: Any) -> None:
    workflow = Workflow("code")
    workflow.add_step("prompt", prompt())
    workflow.add_step("code", code)
    assert definition_json(workflow) is None


def test_nor_is_one_with_a_condition_in_code() -> None:
    workflow = Workflow("code")
    workflow.add_step("prompt", prompt(), when=is_long)
    assert definition_json(workflow) is None


# An agent's settings as a file.


def test_the_settings_of_an_agent_are_a_file_too(tmp_path: Path) -> None:
    config = AgentConfig(name="summary", max_tokens=500, system="Be\nbrief.\n", output_type=Ticket)
    assert config.to_yaml(tmp_path / "agent.yaml") == (
        "name: summary\nmax_tokens: 500\nsystem: |\n  Be\n  brief.\n"
        "output_type: tests.core.definition.test_workflows:Ticket\n"
    )
    assert AgentConfig.from_yaml(str(tmp_path / "agent.yaml")) == config


def test_all_that_is_wrong_with_an_agents_settings_is_said_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        AgentConfig.from_yaml("nam: x\nmax_tokens: 0")
    assert caught.value.problems[0].startswith(
        "The agent has no 'nam' (did you mean 'name'?); it has name, model_type,"
    )
    assert caught.value.problems[1:] == (
        "The agent: AgentConfig needs 'name'.",
        "The agent: AgentConfig(max_tokens=0): input should be greater than or equal to 1.",
    )


def test_an_async_function_is_read_as_one() -> None:
    workflow = Workflow.from_yaml("name: x\nsteps: {a: {function: 'tests.core.definition.test_workflows:is_long'}}")
    assert asyncio.run(workflow.execute(ticket="x" * 101)).outputs == {"a": True}
