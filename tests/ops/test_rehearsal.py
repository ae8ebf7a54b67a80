"""The stand-in that the runbook's notebooks run against."""

from __future__ import annotations

from typing import Any

import pytest

import agentflow
from agentflow import BedrockClient
from agentflow.ops import rehearsal
from agentflow.utils.env import setting


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is exported taken back."""
    for name in ("BEDROCK_ENDPOINT_URL", "AGENTFLOW_HOME"):
        monkeypatch.setenv(name, "")


async def test_a_model_takes_its_time() -> None:
    assert "nothing is billed" in rehearsal.use_backend("scripted")
    client = BedrockClient("us-east-1")
    said = await client.invoke("haiku", "Say 'Deployment successful!'")
    assert said.text == "Deployment successful!"
    short = await client.invoke("haiku", "Three insights?")
    cut = await client.invoke("haiku", "Explain it in great detail", max_tokens=50)
    assert (short.usage.output_tokens, cut.usage.output_tokens, cut.stop_reason) == (rehearsal.SHORT, 50, "max_tokens")
    assert short.latency_ms >= rehearsal.FIRST_TOKEN_MS + rehearsal.SHORT * rehearsal.TOKEN_MS
    assert (await client.invoke("sonnet", "Say 'Yes'")).latency_ms >= rehearsal.MORE_MS_OF_SONNET


def test_other_backends_are_named() -> None:
    assert "billed" in rehearsal.use_backend("bedrock")
    assert setting("BEDROCK_ENDPOINT_URL").value is None
    assert rehearsal.use_backend("http://127.0.0.1:9").startswith("http://127.0.0.1:9 answers")
    assert BedrockClient().endpoint_url == "http://127.0.0.1:9"


@pytest.mark.soak
async def test_the_examples_have_something_to_find() -> None:
    assert "12 runs" in await rehearsal.example_runs()
    runs: Any = agentflow.runs()
    assert runs["status"].value_counts().to_dict() == {"ok": 11, "failed": 1}
    steps = runs.steps_frame()
    assert set(steps.loc[steps["status"] == "failed", "error_type"]) == {"AccessDeniedError"}
    assert (steps["attempts"] > 1).any()
