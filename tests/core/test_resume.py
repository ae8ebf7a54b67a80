"""Going on with a run that was stopped, and looking at past ones."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel, SecretStr

import agentflow
from agentflow import AgentConfig, BedrockClient, RunInterrupted, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import InputError, JournalError, ResumeError, RunNotFoundError
from tests.endpoint import Endpoint


class Switch:
    """A step that fails until it is told not to; counts how often it ran."""

    def __init__(self) -> None:
        self.fails = True
        self.runs = 0

    def __call__(self, before: Any) -> Any:
        self.runs += 1
        if self.fails:
            raise ValueError("not yet")
        return before


def failed_run(workflow: Workflow, **inputs: Any) -> str:
    with pytest.raises(WorkflowError):
        workflow.run(**inputs)
    assert workflow.last_result is not None
    return workflow.last_result.run_id


async def test_finished_steps_are_taken_from_the_journal() -> None:
    first, last = Switch(), Switch()
    first.fails = False
    workflow = Workflow("resumed")
    step = workflow.add_step("first", first)
    workflow.add_step("last", last, {"before": step})
    run_id = failed_run(workflow, before={"n": (1, 2)})
    last.fails = False
    result = await workflow.resume(run_id)
    assert (result.run_id, result.status) == (run_id, "ok")
    assert dict(result.outputs) == {"first": {"n": (1, 2)}, "last": {"n": (1, 2)}}
    assert (first.runs, last.runs) == (1, 2)
    assert workflow.last_result is result
    assert (await workflow.resume(run_id)).outputs == result.outputs
    assert last.runs == 2  # a run that has ended well is returned as it is
    assert agentflow.runs()["status"].to_list() == ["ok"]


async def test_items_that_were_finished_do_not_run_again() -> None:
    seen: list[int] = []
    broken = True

    def item(number: int) -> int:
        seen.append(number)
        if broken and number == 2:
            raise ValueError("two")
        return number * 10

    workflow = Workflow("items")
    workflow.add_step("item", item, map_over="number")
    workflow.add_step("total", lambda item: sum(item) + 0)
    run_id = failed_run(workflow, number=[1, 2, 3])
    broken = False
    assert (await workflow.resume(run_id)).outputs == {"item": [10, 20, 30], "total": 60}
    assert sorted(seen) == [1, 2, 2, 3]


async def test_a_workflow_that_is_a_step_goes_on_inside() -> None:
    inner_first, inner_last = Switch(), Switch()
    inner_first.fails = False
    inner = Workflow("inner")
    step = inner.add_step("first", inner_first)
    inner.add_step("last", inner_last, {"before": step})
    outer = Workflow("outer")
    outer.add_step("sub", inner)
    run_id = failed_run(outer, before=1)
    inner_last.fails = False
    assert (await outer.resume(run_id)).outputs == {"sub": {"first": 1, "last": 1}}
    assert (inner_first.runs, inner_last.runs) == (1, 2)


async def test_skipped_steps_stay_skipped() -> None:
    last = Switch()
    workflow = Workflow("skips")
    workflow.add_step("never", lambda: 1, when=lambda: False)
    workflow.add_step("needs", lambda never: never)
    workflow.add_step("last", last)
    run_id = failed_run(workflow, before=1)
    last.fails = False
    result = await workflow.resume(run_id)
    assert [row.status for row in result.rows.values()] == ["skipped", "skipped", "ok"]


async def test_a_changed_workflow_is_refused_with_the_list_of_changes() -> None:
    def build(text: str, *, more: bool = False) -> Workflow:
        workflow = Workflow("changed")
        workflow.add_step("a", lambda: text)
        workflow.add_step("b", lambda a: f"{a}!")
        workflow.add_step("other", lambda: next(counts))
        workflow.add_step("last", last)
        if more:
            workflow.add_step("new", lambda b: b)
        return workflow

    counts = iter(range(10))
    last = Switch()
    run_id = failed_run(build("one"), before=1)
    last.fails = False
    with pytest.raises(ResumeError, match=r"'a' \(changed\), 'new' \(new\).*accept_changes=True") as error:
        await build("two", more=True).resume(run_id)
    assert error.value.changed == ("a", "new")
    result = await build("two", more=True).resume(run_id, accept_changes=True)
    assert dict(result.outputs) == {"other": 0, "a": "two", "b": "two!", "last": 1, "new": "two!"}
    assert agentflow.get_run(run_id).outputs == result.outputs
    with pytest.raises(ResumeError, match=r"'new' \(gone\)"):
        await build("two").resume(run_id)


async def test_an_output_that_cannot_be_kept_is_made_again_and_that_is_said() -> None:
    last, locks = Switch(), 0

    def lock() -> Any:
        nonlocal locks
        locks += 1
        return threading.Lock()

    workflow = Workflow("locks")
    workflow.add_step("lock", lock)
    workflow.add_step("last", last, {"before": 7}, depends_on="lock")
    run_id = failed_run(workflow)
    assert workflow.last_result is not None
    assert any("'lock' is not in the journal" in warning for warning in workflow.last_result.warnings)
    last.fails = False
    result = await workflow.resume(run_id)
    assert locks == 2
    assert any("Step 'lock' ran again" in warning for warning in result.warnings)


class Ticket(BaseModel):
    subject: str
    urgent: bool


async def test_models_and_frames_come_back_as_they_were() -> None:
    last = Switch()
    workflow = Workflow("values")
    workflow.add_step("ticket", lambda: Ticket(subject="down", urgent=True))
    workflow.add_step("frame", lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}))
    workflow.add_step("last", last)
    run_id = failed_run(workflow, before=1)
    last.fails = False
    outputs = (await workflow.resume(run_id)).outputs
    assert outputs["ticket"] == Ticket(subject="down", urgent=True)
    pd.testing.assert_frame_equal(outputs["frame"], pd.DataFrame({"a": [1, 2], "b": ["x", None]}))


async def test_a_secret_is_never_in_the_journal_and_is_asked_for_again(tmp_path: Path) -> None:
    last = Switch()
    workflow = Workflow("secret")
    workflow.add_step("use", lambda key: len(key.get_secret_value()))
    workflow.add_step("last", last, {"before": workflow.steps["use"]})
    run_id = failed_run(workflow, key=SecretStr("hunter2-hunter2"))
    last.fails = False
    with pytest.raises(InputError, match=r"'key' is not in the journal.*resume\('r-.*', key=\.\.\.\)"):
        await workflow.resume(run_id)
    assert (await workflow.resume(run_id, key=SecretStr("hunter2-hunter2"))).outputs["last"] == 15
    for file in (tmp_path / ".agentflow").iterdir():
        assert b"hunter2" not in file.read_bytes()


async def test_inputs_that_the_journal_has_cannot_be_changed() -> None:
    workflow = Workflow("inputs")
    workflow.add_step("last", Switch())
    run_id = failed_run(workflow, before=1)
    with pytest.raises(InputError, match=r"'before' of run r-.* is in the journal, and stays what it was"):
        await workflow.resume(run_id, before=2)
    with pytest.raises(RunNotFoundError, match="no run 'r-none'"):
        await workflow.resume("r-none")


async def test_a_run_of_prompts_is_built_from_the_journal_and_pays_for_what_was_not_answered(
    scripted: Endpoint,
) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow("prompts")
    config = AgentConfig(name="echo", output_type="urgent: bool, product: str")
    workflow.add_step("classify", SimpleAgent(config, client, prompt_template="Classify {ticket}"))
    text = AgentConfig(name="text", model_type="haiku")
    workflow.add_step("reply", SimpleAgent(text, client, prompt_template="About {classify.product}: {ticket}"))
    error = {"code": "ValidationException", "message": "no"}
    scripted.follow(errors=[error])
    run_id = failed_run(workflow, ticket="it is down")
    scripted.follow()
    before = scripted.stats()["requests"]
    result = await agentflow.resume(run_id)
    assert result.outputs["reply"] == "About : it is down"
    assert result.outputs["classify"].product == ""
    assert scripted.stats()["requests"] - before == 2
    again = agentflow.get_run(run_id)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())
    assert again.outputs == result.outputs
    assert again.attempts == 3


async def test_a_run_with_python_in_it_is_not_built_from_the_journal() -> None:
    workflow = Workflow("python")
    workflow.add_step("last", Switch())
    run_id = failed_run(workflow, before=1)
    with pytest.raises(ResumeError, match=r"'python' holds Python.*await workflow\.resume"):
        await agentflow.resume(run_id)


async def test_calls_that_a_function_made_are_not_paid_again(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    fails = True

    async def loop() -> list[str]:
        said = []
        for number in range(4):
            if fails and number == 3:
                raise ValueError("stopped")
            said.append((await client.invoke("haiku", "same question")).text)
        async for piece in (stream := client.stream("haiku", "streamed")):
            said.append(piece)
        assert stream.reply is not None
        return said

    workflow = Workflow("loop")
    workflow.add_step("loop", loop)
    run_id = failed_run(workflow)
    before = scripted.stats()["requests"]
    fails = False
    result = await workflow.resume(run_id)
    assert result.outputs["loop"][:4] == ["same question"] * 4
    assert scripted.stats()["requests"] - before == 2
    assert len(result.rows["loop"].replies) == 5


async def test_a_past_run_shows_like_a_fresh_one(scripted: Endpoint) -> None:
    client = BedrockClient(endpoint_url=scripted.url)
    workflow = Workflow("shown")
    agent = SimpleAgent(AgentConfig(name="echo", model_type="haiku"), client, prompt_template="Say {word}")
    workflow.add_step("ask", agent, map_over="word")
    workflow.add_step("skipped", lambda ask: ask, when=lambda: False)
    fresh = await workflow.execute(word=["a", "b"])
    past = agentflow.get_run(fresh.run_id)
    assert repr(past) == repr(fresh)
    assert past._repr_html_() == fresh._repr_html_()
    pd.testing.assert_frame_equal(past.to_frame(), fresh.to_frame())
    pd.testing.assert_frame_equal(past.attempts_frame(), fresh.attempts_frame())
    row = agentflow.runs().iloc[0]
    assert (row["run_id"], row["steps"], row["finished_steps"], row["attempts"]) == (fresh.run_id, 2, 1, 2)
    assert row["bedrock_usd"] == pytest.approx(float(fresh.bedrock_usd or 0))


async def test_large_outputs_are_kept_in_the_journal_and_read_when_asked_for() -> None:
    config = WorkflowConfig(name="large", large_output_bytes=1000)
    workflow = Workflow(config)
    workflow.add_step("large", lambda: ["x" * 100] * 100)
    workflow.add_step("length", lambda large: len(large) + 0)
    workflow.add_step("each", lambda item, large: item * 2000, map_over="item")
    result = await workflow.execute(item=["a", "b"])
    assert result.outputs["length"] == 100
    assert "in the journal" in repr(result)
    assert result.outputs["large"] == ["x" * 100] * 100
    assert result.outputs["each"] == ["a" * 2000, "b" * 2000]
    assert type(result.rows["large"].kept_output).__name__ == "Stored"


def test_runs_can_be_pruned() -> None:
    workflow = Workflow("pruned")
    workflow.add_step("a", lambda: 1)
    ids = [workflow.run().run_id for _ in range(3)]
    assert agentflow.runs()["run_id"].to_list() == ids[::-1]
    assert agentflow.prune_runs(run_ids=ids[:1]) == 1
    assert agentflow.prune_runs(older_than_days=1) == 0
    assert agentflow.runs()["run_id"].to_list() == ids[:0:-1]
    with pytest.raises(ValueError, match="older_than_days= or run_ids="):
        agentflow.prune_runs()


def test_a_running_run_can_be_examined_from_another_process_and_not_resumed(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait() -> int:
        started.set()
        go_on.wait(30)
        return 1

    workflow = Workflow("running")
    workflow.add_step("done", lambda: 1)
    workflow.add_step("wait", wait, depends_on="done")
    handle = workflow.start()
    assert started.wait(5)
    script = textwrap.dedent(f"""
        import asyncio, json, time, agentflow
        run_id = {handle.result.run_id!r}
        while agentflow.runs().empty or agentflow.get_run(run_id).rows["wait"].status != "running":
            time.sleep(0.05)
        row = agentflow.runs().iloc[0]
        result = agentflow.get_run(run_id)
        print(json.dumps([row["status"], int(row["pid"]), bool(row["memory_mb"] > 1), dict(result.outputs)]))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status, pid, has_memory, outputs = json.loads(done.stdout)
    assert (status, has_memory, outputs) == ("running", True, {"done": 1})
    assert pid != 0
    with pytest.raises(ResumeError, match="is still running"):
        asyncio.run(workflow.resume(handle.result.run_id))
    go_on.set()
    assert handle.wait().status == "ok"


def test_an_interrupted_run_is_resumed_in_the_same_process() -> None:
    go_on, started = threading.Event(), threading.Event()
    workflow = Workflow("interrupted")
    workflow.add_step("a", lambda: 1)

    def wait(a: int) -> int:
        started.set()
        go_on.wait(30)
        return a

    workflow.add_step("b", wait)
    handle = workflow.start()
    assert started.wait(5)
    handle.cancel()
    with pytest.raises(RunInterrupted):
        handle.wait()
    go_on.set()
    assert asyncio.run(workflow.resume(handle.result.run_id)).outputs == {"a": 1, "b": 1}


@pytest.mark.parametrize("broken", ["a file in the place of the folder", "a file that is no database"])
def test_a_journal_that_cannot_be_opened_is_told_before_anything_is_called(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("AGENTFLOW_HOME", str(home))
    if "folder" in broken:
        home.write_text("in the way")
    else:
        home.mkdir()
        (home / "agentflow.db").write_text("no database at all, but long enough to look at" * 100)
    called: list[int] = []
    workflow = Workflow("broken")
    workflow.add_step("a", lambda: called.append(1))
    with pytest.raises(JournalError, match=r"journal=False"):
        workflow.run()
    assert called == []
    quiet = Workflow(WorkflowConfig(name="quiet", journal=False))
    quiet.add_step("a", lambda: 1)
    assert quiet.run().outputs == {"a": 1}
