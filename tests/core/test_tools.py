"""Python functions as tools of a model: what the model is told, the rounds, and what is kept of them."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import Field

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError, get_run
from agentflow.core.errors import DefinitionError, OutputFormatError, ToolRoundsError
from agentflow.core.events import RunStarted, ToolCalled
from agentflow.core.model import Request, ToolUse
from agentflow.core.result import RunResult
from agentflow.core.tools import Tool, as_tools, called
from agentflow.models.converse import request_body
from tests.dictated import Dictated, answer, asks_for, results_of, streamed, tool_use


def weather(city: Annotated[str, Field(description="a town")], day: date | None = None) -> dict[str, Any]:
    """Tell the weather of a city."""
    return {"city": city, "day": str(day), "sun": True}


class Told:
    """An object that can be called."""

    def __call__(self) -> str:
        return "yes"


def broken(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


def agent(dictated: Dictated, *tools: Any, **config: Any) -> SimpleAgent:
    client = BedrockClient(endpoint_url=dictated.url)
    return SimpleAgent(AgentConfig(name="a", tools=tools, **config), client, prompt_template="Weather in {place}?")


def workflow(dictated: Dictated, *tools: Any, **config: Any) -> Workflow:
    made = Workflow(WorkflowConfig(name="tools"))
    made.add_step("ask", agent(dictated, *tools, **config))
    return made


def test_signature_and_docstring_are_what_a_model_is_told() -> None:
    spec = Tool(weather).spec
    assert (spec.name, spec.description) == ("weather", "Tell the weather of a city.")
    assert spec.schema["required"] == ["city"]
    assert spec.schema["properties"]["city"]["description"] == "a town"
    assert spec.schema["properties"]["day"]["anyOf"][0] == {"type": "string", "format": "date"}


def test_a_model_is_told_of_the_defaults() -> None:
    def look(place: str = "Rome") -> str:
        """Look."""
        return place

    sent = request_body(Request("x", tools=(Tool(look).spec,)))["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]
    assert sent["json"]["properties"]["place"]["description"] == 'default "Rome"'


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ([lambda x: x], "cannot be called '<lambda>'"),
        ([weather, weather], "the same name"),
        ([lambda *args: args], "cannot be called"),
        ([print], "takes"),
        ([Told()], "type Told has no name.*Give a function"),
        ([partial(weather, "Rome")], "type partial has no name"),
    ],
)
def test_what_cannot_be_a_tool_is_said_when_the_agent_is_made(functions: list[Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        as_tools(functions)


async def test_arguments_become_what_the_annotations_say() -> None:
    output, is_error = await Tool(weather).call({"city": "Rome", "day": "2026-01-02"})
    assert (output, is_error) == ('{"city": "Rome", "day": "2026-01-02", "sun": true}', False)


@pytest.mark.parametrize("arguments", [{}, {"city": "Rome", "day": "soon"}, {"city": "Rome", "planet": "Mars"}])
async def test_arguments_that_do_not_fit_go_back_to_the_model(arguments: dict[str, Any]) -> None:
    output, is_error = await Tool(weather).call(arguments)
    assert is_error
    assert output.startswith("The arguments do not fit: ")


@pytest.mark.parametrize("output", [b"\x89PNG", bytearray(b"a"), (number for number in [1])])
async def test_what_is_no_text_is_told_to_be_none(output: Any) -> None:
    def picture() -> Any:
        """Draw."""
        return output

    kind = type(output).__name__
    assert await Tool(picture).call({}) == (f"It gave a value of type {kind}, which is no text.", True)


async def test_a_tool_that_is_not_there_is_named_to_the_model() -> None:
    call = await called(as_tools([weather]), ToolUse("u", "wether", {}))
    assert (call.output, call.is_error) == ("There is no tool 'wether'; there are weather.", True)


async def test_results_go_back_until_the_model_answers(dictated: Dictated) -> None:
    dictated.says(
        asks_for(tool_use("weather", "u1", city="Rome"), tool_use("broken", "u2", reason="no")), answer("Sun.")
    )
    result = await workflow(dictated, weather, broken).execute(place="Rome")
    assert result.outputs["ask"] == "Sun."
    first, second = dictated.requests
    assert [tool["toolSpec"]["name"] for tool in first["toolConfig"]["tools"]] == ["weather", "broken"]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert results_of(second) == [
        {"toolUseId": "u1", "content": [{"text": '{"city": "Rome", "day": "None", "sun": true}'}]},
        {"toolUseId": "u2", "content": [{"text": "ValueError: no"}], "status": "error"},
    ]
    frame, kept = result.tools_frame().set_index("tool"), get_run(result.run_id).tools_frame().set_index("tool")
    assert frame["status"].to_dict() == {"weather": "ok", "broken": "failed"}  # in the order in which they ended
    assert frame["arguments"]["weather"] == {"city": "Rome"}
    assert kept["output"].to_dict() == frame["output"].to_dict()


async def test_each_call_is_an_event(dictated: Dictated) -> None:
    dictated.says(asks_for(tool_use("weather", city="Rome")), answer("Sun."))
    events = [event async for event in workflow(dictated, weather).stream(place="Rome")]
    assert [event.call.name for event in events if isinstance(event, ToolCalled)] == ["weather"]


async def test_tools_of_one_answer_run_at_the_same_time(dictated: Dictated) -> None:
    both, waiting = threading.Barrier(2, timeout=10), asyncio.Barrier(2)

    def on_a_thread(number: int) -> int:
        both.wait()
        return number

    async def on_the_loop(number: int) -> int:
        async with asyncio.timeout(10):
            await waiting.wait()
        return number

    uses = [tool_use(name, f"{name}-{n}", number=n) for n in (1, 2) for name in ("on_a_thread", "on_the_loop")]
    dictated.says(asks_for(*uses), answer("done"))
    await agent(dictated, on_a_thread, on_the_loop).run({"place": "x"})
    assert [result["content"][0]["text"] for result in results_of(dictated.requests[1])] == ["1", "1", "2", "2"]


async def test_a_model_that_never_stops_asking_is_stopped(dictated: Dictated) -> None:
    dictated.says(asks_for(tool_use("weather", city="Rome")))
    with pytest.raises(ToolRoundsError, match=r"more than 2 answers in a row.*'weather'.*max_tool_rounds"):
        await agent(dictated, weather, max_tool_rounds=2).run({"place": "x"})
    assert len(dictated.requests) == 3


async def test_a_call_that_was_cut_off_is_not_made(dictated: Dictated) -> None:
    dictated.says(answer(tool_use("weather"), stop="max_tokens"))
    with pytest.raises(OutputFormatError, match="'weather' was cut off at max_tokens=1024"):
        await agent(dictated, weather).run({"place": "x"})


CUT = streamed(
    [
        ("start", {"toolUse": {"toolUseId": "use-1", "name": "wipe"}}),
        ("delta", {"toolUse": {"input": '{"path": "/tmp/o'}}),
    ],
    stop="tool_use",
)


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        ("max_tokens", "'wipe' was cut off at max_tokens=1024. Raise max_tokens."),
        ("model_context_window_exceeded", r"'wipe' was cut off, since the model's context is full"),
        ("guardrail_intervened", "'wipe' was stopped by the guardrail"),
        ("content_filtered", "'wipe' was stopped by Bedrock's content filter"),
        ("refusal", "'wipe' was refused by the model"),
        ("tool_use", ""),
        ("malformed_tool_use", ""),
        ("a_new_reason", ""),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
async def test_a_call_that_came_in_part_is_never_made_with_default_arguments(
    dictated: Dictated, stop: str, says: str, is_streamed: bool
) -> None:
    wiped: list[str] = []

    def wipe(path: str = "/all") -> str:
        """Wipe."""
        wiped.append(path)
        return "wiped"

    whole = answer(tool_use("wipe") if stop == "malformed_tool_use" else tool_use("wipe") | UNREAD, stop=stop)
    dictated.says({**CUT, "stopReason": stop} if is_streamed else whole, answer("done"))
    made = workflow(dictated, wipe)
    if says:
        with pytest.raises(WorkflowError, match=says):
            await ended(made, is_streamed)
    else:
        result = await ended(made, is_streamed)
        assert result.outputs["ask"] == "done"
        [told] = results_of(dictated.requests[1])
        assert told["status"] == "error"
        assert "It was not called: its arguments are no JSON object" in told["content"][0]["text"]
        assert dictated.requests[1]["messages"][1]["content"][-1]["toolUse"]["input"] == {}
        assert get_run(result.run_id).tools_frame()["status"].tolist() == ["failed"]
    assert wiped == []


UNREAD = {"toolUse": {"toolUseId": "use-1", "name": "wipe", "input": '{"path": "/tmp/o'}}


async def ended(made: Workflow, is_streamed: bool) -> RunResult:
    if not is_streamed:
        return await made.execute(place="x")
    events = [event async for event in made.stream(place="x", deltas=True)]
    [run_id] = [event.run_id for event in events if isinstance(event, RunStarted)]
    return get_run(run_id)


async def test_reasoning_goes_back_with_its_signature(dictated: Dictated) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
    hidden = {"reasoningContent": {"redactedContent": "aGlkZGVu"}}
    dictated.says(asks_for(thought, hidden, tool_use("weather", city="Rome")), answer("Sun."))
    await agent(dictated, weather).run({"place": "x"})
    assert dictated.requests[1]["messages"][1]["content"][:2] == [thought, hidden]


async def test_a_structured_answer_comes_after_the_tools(dictated: Dictated) -> None:
    dictated.says(asks_for(tool_use("weather", city="Rome")), asks_for(tool_use("answer", "u2", sunny=True)))
    output = await agent(dictated, weather, model_type="nova-pro", output_type="sunny: bool").run({"place": "x"})
    assert output.sunny is True
    config = dictated.requests[0]["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["weather", "answer"]
    assert config["toolChoice"] == {"any": {}}


class Counter:
    """A tool with a side effect, and a model that fails after it until it is told not to."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def tool(self) -> Any:
        calls = self.calls

        def pay(to: str) -> str:
            """Pay."""
            calls.append(to)
            return f"paid {to}"

        return pay


DENIED = {"status": 403, "code": "AccessDeniedException", "message": "no"}


async def test_a_run_that_goes_on_neither_asks_nor_acts_twice(dictated: Dictated) -> None:
    counter = Counter()
    stopped = workflow(dictated, counter.tool())
    dictated.says(asks_for(tool_use("pay", to="Ann")), DENIED)
    with pytest.raises(WorkflowError) as caught:
        await stopped.execute(place="x")
    dictated.says(answer("done"))
    result = await stopped.resume(caught.value.result.run_id)
    assert (result.outputs["ask"], counter.calls, len(dictated.requests)) == ("done", ["Ann"], 3)
    assert results_of(dictated.requests[2])[0]["content"] == [{"text": "paid Ann"}]
    assert len(result.tools_frame()) == 1


async def test_a_tool_that_was_changed_runs_again(dictated: Dictated) -> None:
    def look() -> str:
        """Look."""
        return "old"

    stopped = workflow(dictated, look)
    dictated.says(asks_for(tool_use("look")), DENIED)
    with pytest.raises(WorkflowError) as caught:
        await stopped.execute(place="x")

    def look() -> str:  # type: ignore[no-redef]
        """Look."""
        return "new"

    stopped.add_step("ask", agent(dictated, look))
    dictated.says(answer("done"))
    await stopped.resume(caught.value.result.run_id, accept_changes=True)
    assert results_of(dictated.requests[-1])[0]["content"] == [{"text": "new"}]


async def test_explain_names_a_tool_that_changed(dictated: Dictated) -> None:
    dictated.says(answer("done"))
    made = workflow(dictated, weather)
    await made.execute(place="x")
    made.add_step("ask", agent(dictated, weather, broken))
    explanation = (await made.execute(place="x")).explain("ask")
    assert explanation.word == "tool"
    assert [reason.text for reason in explanation.reasons] == ["Its tool 'broken' is new"]


def test_tools_are_written_by_their_import_paths(dictated: Dictated) -> None:
    text = workflow(dictated, weather).to_yaml()
    assert "tests.core.test_tools:weather" in text
    assert Workflow.from_yaml(text).steps["ask"].agent.config.tools == (weather,)  # type: ignore[attr-defined]


def test_a_tool_without_an_import_path_cannot_be_written() -> None:
    def local() -> None:
        """Do nothing."""

    with pytest.raises(DefinitionError, match=r"its tool .*local.* has no import path"):
        AgentConfig(name="a", tools=(local,)).to_yaml()
