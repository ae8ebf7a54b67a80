"""The templates of `config/`, which the operation runbook names, as a person uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.definition.workflows import to_dict
from agentflow.core.step_parts import workflow_parts
from tests.endpoint import Endpoint

ROOT = Path(__file__).parents[2]
WORKFLOW = "config/workflow_config.yaml"
AGENT = "config/agent_config.yaml"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(ROOT)


def test_an_urgent_ticket_is_escalated(scripted: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", scripted.url)
    scripted.follow(replies=['{"urgent": true, "product": "shop"}', "The shop is down.", "We are looking into it."])
    result = Workflow.from_yaml(WORKFLOW).run(ticket="The shop is down, nobody can buy anything!")
    assert result.outputs["classify"].product == "shop"
    assert (result.outputs["escalate"], result.outputs["reply"]) == ("The shop is down.", "We are looking into it.")


def test_any_other_ticket_is_only_answered(scripted: Endpoint) -> None:
    scripted.follow(replies=['{"urgent": false, "product": "app"}', "Gladly."])
    workflow = Workflow.from_yaml(Path(WORKFLOW), bedrock_client=BedrockClient(endpoint_url=scripted.url))
    result = workflow.run(ticket="Where is the logo?", notes="A new customer.")
    assert [str(row.status) for row in result.rows.values()] == ["ok", "skipped", "ok"]
    assert result.outputs["reply"] == "Gladly."


def test_the_workflow_takes_a_ticket_and_where_there_are_some_notes() -> None:
    workflow = Workflow.from_yaml(WORKFLOW)
    workflow.validate()
    assert workflow.inputs == {"ticket": True, "notes": False}
    assert workflow.config.timeout_seconds == 120


def test_the_workflow_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    workflow = Workflow.from_yaml(WORKFLOW)
    text = workflow.to_yaml(tmp_path / "again.yaml")
    again = Workflow.from_yaml(tmp_path / "again.yaml")
    assert again.to_yaml() == text
    assert to_dict(again) == to_dict(workflow)
    assert workflow_parts(again.steps).fingerprints == workflow_parts(workflow.steps).fingerprints


async def test_the_agents_settings_are_those_of_a_prompt(scripted: Endpoint) -> None:
    config = AgentConfig.from_yaml(AGENT)
    assert (config.name, config.max_tokens, config.model_type) == ("summary_agent", 500, "haiku")
    assert AgentConfig.from_yaml(config.to_yaml()) == config
    workflow = Workflow("summary")
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("summary", SimpleAgent(config, client, prompt_template="Summarize this: {text}"))
    result = await workflow.execute(text="It rains. END It shines.")
    assert result.outputs["summary"].strip() == "Summarize this: It rains."
