"""`when=` and optional inputs: steps that are skipped, and what that means for others."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow import Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import InputError, StepError
from agentflow.core.events import StepSkipped


def statuses(workflow: Workflow) -> dict[str, str]:
    assert workflow.last_result is not None
    return {row.step: row.status.value for row in workflow.last_result.rows.values()}


def triage(*, urgent: bool) -> Workflow:
    workflow = Workflow("triage")
    classify = workflow.add_step("classify", lambda ticket: {"ticket": ticket, "urgent": urgent})
    workflow.add_step("page", lambda ticket: f"paged: {ticket}", when=classify.urgent)
    workflow.add_step("confirm", lambda page: f"confirmed: {page}")
    workflow.add_step("reply", lambda classify, page="nobody": f"{classify['ticket']}, {page}")
    return workflow


async def test_a_wanted_step_runs() -> None:
    result = await triage(urgent=True).execute(ticket="down")
    assert result.outputs["reply"] == "down, paged: down"
    assert result.outputs["confirm"] == "confirmed: paged: down"


async def test_a_step_not_wanted_is_skipped_and_so_is_what_needs_it_but_not_what_can_do_without() -> None:
    workflow = triage(urgent=False)
    result = await workflow.execute(ticket="slow")
    assert result.status == "ok"
    assert statuses(workflow) == {"classify": "ok", "page": "skipped", "confirm": "skipped", "reply": "ok"}
    assert result.outputs["reply"] == "slow, nobody"
    assert result.rows["page"].reason == "its condition does not hold"
    assert result.rows["confirm"].reason == "it needs 'page', which was skipped"


async def test_a_condition_is_a_function_whose_parameters_bind_by_name() -> None:
    def is_long(ticket: str, limit: int = 3) -> bool:
        return len(ticket) > limit

    async def never(shorten: str) -> bool:
        return not shorten

    workflow = Workflow("lengths")
    workflow.add_step("shorten", lambda ticket: ticket[:3], when=is_long)
    workflow.add_step("more", lambda shorten: shorten, when=never)
    assert (await workflow.execute(ticket="abcd")).outputs == {"shorten": "abc"}
    assert (await workflow.execute(ticket="ab")).outputs == {}
    assert dict(workflow.inputs) == {"ticket": True, "limit": False}


async def test_an_optional_input_of_a_step_is_none_where_its_step_was_skipped() -> None:
    workflow = Workflow("optional")
    workflow.add_step("draft", lambda: "text", when=lambda: False)
    workflow.add_step("check", lambda draft: draft, optional="draft")
    workflow.add_step("given", lambda text: text, {"text": workflow.steps["draft"]}, optional=["text"])
    assert (await workflow.execute()).outputs == {"check": None, "given": None}


async def test_an_optional_input_may_fail_where_the_run_goes_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    workflow = Workflow(WorkflowConfig(name="going on", on_error="continue"))
    workflow.add_step("fail", fail)
    workflow.add_step("needs", lambda fail: fail)
    workflow.add_step("does_without", lambda fail="default": fail)
    with pytest.raises(WorkflowError) as error:
        await workflow.execute()
    assert error.value.result.outputs == {"does_without": "default"}
    assert statuses(workflow) == {"fail": "failed", "needs": "not run", "does_without": "ok"}


async def test_a_condition_that_raises_fails_its_step() -> None:
    workflow = Workflow("broken")
    workflow.add_step("a", lambda: 1, when=lambda: 1 / 0)
    with pytest.raises(WorkflowError, match="Step 'a' failed: ZeroDivisionError"):
        await workflow.execute()


async def test_a_reference_to_a_field_that_is_not_there_fails_the_step() -> None:
    workflow = Workflow("missing")
    a = workflow.add_step("a", lambda: {"yes": True})
    workflow.add_step("b", lambda: 1, when=a.no)
    with pytest.raises(WorkflowError, match="'a' has no 'no'") as error:
        await workflow.execute()
    assert isinstance(error.value.__cause__, StepError)
    assert isinstance(error.value.__cause__.__cause__, InputError)


async def test_skipped_steps_are_events_with_their_reason() -> None:
    events = [event async for event in triage(urgent=False).stream(ticket="slow") if isinstance(event, StepSkipped)]
    assert [(event.step_id, event.reason) for event in events] == [
        ("page", "its condition does not hold"),
        ("confirm", "it needs 'page', which was skipped"),
    ]


async def test_a_step_that_depends_on_a_skipped_one_is_skipped() -> None:
    workflow = Workflow("after")
    workflow.add_step("first", lambda: 1, when=lambda: False)
    workflow.add_step("second", lambda: 2, depends_on="first")
    assert (await workflow.execute()).rows["second"].status == "skipped"


@pytest.mark.parametrize("serial", [False, True])
async def test_skips_go_down_long_chains_and_meet_what_ran(serial: bool) -> None:
    workflow = Workflow(WorkflowConfig(name="long", enable_parallel=not serial))
    workflow.add_step("s0", lambda: 0, when=lambda: False)
    for number in range(1, 500):
        workflow.add_step(f"s{number}", lambda before: before, {"before": workflow.steps[f"s{number - 1}"]})
    workflow.add_step("ok", lambda: "ok")
    workflow.add_step("end", lambda ok, s499=None: (ok, s499))
    result: Any = await workflow.execute()
    assert result.outputs == {"ok": "ok", "end": ("ok", None)}
    assert sum(row.status == "skipped" for row in result.rows.values()) == 500
