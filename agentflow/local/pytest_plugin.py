"""A pytest plugin: Bedrock for your own tests, offline. It is there as soon as AgentFlow's extra `local` is installed.

The fixture `bedrock` is a Bedrock endpoint on this machine, which AgentFlow finds by itself in that test::

    from agentflow import Workflow

    def test_the_ticket_is_classified(bedrock):
        bedrock.script(text="urgent")
        workflow = Workflow("triage")
        ...
        assert workflow.run(ticket="The shop is down").status == "ok"
        assert bedrock.stats()["billed"]["calls"] == 1

    def test_two_throttled_calls_are_waited_for(bedrock):
        bedrock.faults({"fault": "throttled_requests", "first": 2})
        ...

    def test_the_cache_is_used_again_within_five_minutes(bedrock):
        bedrock.clock.advance(299)
        ...

- ``bedrock.url``: for any other client; ``bedrock.client`` is boto3's.
- ``bedrock.script(...)``: what it answers (`agentflow.local.script`); until then it echoes.
- ``bedrock.faults(...)``, ``bedrock.quotas(...)``: what goes wrong (`agentflow.local.fault_script`).
- ``bedrock.stats()``: requests, answers, refusals, billed tokens, duplicates (`agentflow.local.stats`).
- ``bedrock.clock``: ``advance(seconds)``, ``stop()``, ``start()``, ``now()``.
- ``bedrock.reset()``: as at the beginning of a test.

One process serves a session, started at the first use of the fixture; each test finds it as new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from agentflow.local.handle import LocalBedrock
    from agentflow.local.launch import EndpointProcess


@pytest.fixture(scope="session")
def bedrock_process() -> Iterator[EndpointProcess]:
    """Run the session's endpoint in a process of its own."""
    from agentflow.local.launch import EndpointProcess

    process = EndpointProcess("--model", "scripted")
    yield process
    process.stop()


@pytest.fixture
def bedrock(bedrock_process: EndpointProcess, monkeypatch: pytest.MonkeyPatch) -> LocalBedrock:
    """Return a Bedrock endpoint on this machine, as new, to which ``BEDROCK_ENDPOINT_URL`` points."""
    from agentflow.local.handle import LocalBedrock

    endpoint = LocalBedrock(bedrock_process.url)
    endpoint.reset()
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", endpoint.url)
    return endpoint
