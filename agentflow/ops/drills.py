"""Drills: for each cause that `diagnose` knows, a fault of the local endpoint that provokes it, and a workflow.

Each has a healthy control: the same workflow where nothing goes wrong, in which `diagnose` finds nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from agentflow.core.agent import SimpleAgent
from agentflow.core.config import AgentConfig, WorkflowConfig
from agentflow.core.errors import InputError, WorkflowError, nearest
from agentflow.core.journal import opened_journal
from agentflow.core.surroundings import untold
from agentflow.core.workflow import Workflow
from agentflow.local.handle import LocalBedrock
from agentflow.local.in_process import serving
from agentflow.local.launch import EndpointProcess
from agentflow.local.script import Script
from agentflow.models.bedrock_client import BedrockClient
from agentflow.models.limiting.quotas import Quota
from agentflow.models.served import served_models
from agentflow.ops.diagnosis.finding import CAUSES, Cause
from agentflow.utils.env import export

_USUAL = 12  # runs: enough peers for a median
_LONG_TEXT = "It was a long day at the office, and there is much to say about it. " * 100

Run = Callable[["Stage"], None]

_WIDE = 95  # of what a notebook prints
_running = ExitStack()  # for as long as the process


@dataclass
class Stage:
    """Where a drill plays.

    Attributes
    ----------
    client : of the endpoint that plays the faults.
    is_healthy : whether it is the control.
    run_ids : the runs so far.
    """

    client: BedrockClient
    is_healthy: bool
    run_ids: list[str] = field(default_factory=list)

    def workflow(self, prompt: str = "Answer in a word: {topic}", **config: Any) -> Workflow:
        """Return the workflow of the drill, with one prompt."""
        with untold():
            workflow = Workflow(WorkflowConfig(name="drill", cache=False))
        agent = SimpleAgent(AgentConfig(name="ask", **config), self.client, prompt_template=prompt)
        workflow.add_step("ask", agent)
        return workflow

    def run(self, workflow: Workflow, *topics: str) -> None:
        """Run a workflow for each topic; that a run fails belongs to the drill."""
        for topic in topics:
            with suppress(WorkflowError):
                workflow.run(topic=topic)
            if workflow.last_result is not None:
                self.run_ids.append(workflow.last_result.run_id)


@dataclass(frozen=True)
class Drill:
    """How a cause is provoked.

    Attributes
    ----------
    what : happens, in a sentence.
    play : runs the workflow.
    faults, script : what the endpoint plays, as in `agentflow.local.fault_script` and `agentflow.local.script`;
        the control has the script alone.
    known_quota : that the client is told of, as Service Quotas would.
    """

    what: str
    play: Run
    faults: Sequence[Mapping[str, Any]] = ()
    script: Mapping[str, Any] = field(default_factory=lambda: {"text": "Fine."})
    known_quota: Quota | None = None


def rehearse(cause: str, endpoint: LocalBedrock | None = None, *, healthy: bool = False) -> tuple[str, ...]:
    """Play a drill, and return the ids of its runs, which the store has.

    Parameters
    ----------
    cause : one of those that `diagnose` knows.
    endpoint : a scripted local endpoint; without it one is started for the drill.
    healthy : play the control instead.

    Raises
    ------
    InputError
        There is no such drill.
    """
    if cause not in DRILLS:
        raise InputError(
            f"There is no drill {cause!r}{nearest(cause, CAUSES)}.", fix=f"Give one of {', '.join(CAUSES)}."
        )
    drill = DRILLS[cause]  # type: ignore[index]  # it is one of them
    with _playing(endpoint) as stand_in:
        stand_in.script(**drill.script)
        stand_in.faults(*(() if healthy else drill.faults))
        quotas = {"haiku": drill.known_quota} if drill.known_quota else None
        stage = Stage(BedrockClient("us-east-1", endpoint_url=stand_in.url, quotas=quotas), healthy)
        drill.play(stage)
        stand_in.faults()
    return tuple(stage.run_ids)


def rehearse_where_empty(cause: str, source: str = "store", run_id: str = "") -> str:
    """Play a drill where there is nothing else to look at, and say so in words; empty where it was not played.

    Its control comes first, then the fault, in a store of their own, which the process then uses; so it does with the
    drill's endpoint.

    Parameters
    ----------
    cause : one of those that `diagnose` knows; empty for none.
    source, run_id : what is looked at: a drill is played for a store without runs, of which no run is asked for.

    Raises
    ------
    InputError
        There is no such drill.
    LocalEndpointError
        A package of the extra `local` is not installed, or no port is free.
    """
    if not cause or source != "store" or run_id not in ("", "last") or opened_journal().runs():
        return ""
    export("AGENTFLOW_HOME", tempfile.mkdtemp(prefix="agentflow-drill-"))
    endpoint = _running.enter_context(serving(Script(), served_models()))
    export("BEDROCK_ENDPOINT_URL", endpoint.url)
    runs = len(rehearse(cause, endpoint, healthy=True) + rehearse(cause, endpoint))
    told = (
        f"DRILL {cause}: the store has no runs, so {runs} were made just now on this machine, the first half of them "
        f"healthy. {DRILLS[cause].what} They are in a folder of their own; no call went to AWS."  # type: ignore[index]
    )
    return textwrap.fill(told, _WIDE)


@contextmanager
def _playing(endpoint: LocalBedrock | None) -> Iterator[LocalBedrock]:
    if endpoint is not None:
        yield endpoint
        return
    process = EndpointProcess("--model", "scripted")
    try:
        yield LocalBedrock(process.url)
    finally:
        process.stop()


def _topics(number: int) -> list[str]:
    return [f"topic {position}" for position in range(number)]


def _three(stage: Stage) -> None:
    stage.run(stage.workflow(), *_topics(3))


def _usual(stage: Stage) -> None:
    stage.run(stage.workflow(), *_topics(_USUAL))


def _one_odd(odd: str) -> Run:
    """Return a play of usual runs and one of another topic."""

    def play(stage: Stage) -> None:
        stage.run(stage.workflow(), *_topics(_USUAL), "topic last" if stage.is_healthy else odd)

    return play


def _out_of_memory(stage: Stage) -> None:
    size = 1_000 if stage.is_healthy else 2**62  # no machine has as much, so that nothing is filled

    def load(topic: str) -> int:
        return len(bytearray(size)) + len(topic)

    with untold():
        workflow = Workflow(WorkflowConfig(name="drill", cache=False))
    workflow.add_step("load", load)
    stage.run(workflow, *_topics(3))


def _stuck(stage: Stage) -> None:
    workflow = stage.workflow()

    async def wait(topic: str) -> str:
        await asyncio.sleep(0 if stage.is_healthy else 3600)
        return topic

    workflow.add_step("wait", wait, timeout_seconds=0.3)
    stage.run(workflow, *_topics(3))


def _reserving(stage: Stage) -> None:
    """Have calls wait for a quota, of which they reserve much more than they use."""
    with untold():
        workflow = Workflow(WorkflowConfig(name="drill", cache=False))
    config = AgentConfig(name="ask", max_tokens=100 if stage.is_healthy else 4000)
    agent = SimpleAgent(config, stage.client, prompt_template="Answer in a word: {topic}")
    workflow.add_step("ask", agent, map_over="topic")
    with suppress(WorkflowError):
        workflow.run(topic=_topics(_USUAL))
    if workflow.last_result is not None:
        stage.run_ids.append(workflow.last_result.run_id)


def _changed(stage: Stage) -> None:
    """Change the prompt half-way: what is answered then does not fit any more."""
    output = {"output_type": "word: str"}
    stage.run(stage.workflow("Answer with a word as JSON: {topic}", **output), *_topics(5))
    prompt = "Answer with a word in JSON: {topic}" if stage.is_healthy else "Tell me freely: {topic}"
    stage.run(stage.workflow(prompt, **output), *_topics(5))


def _refused(what: str, fault: str) -> Drill:
    return Drill(what, _three, ({"fault": fault},))


DRILLS: Mapping[Cause, Drill] = {
    "access_denied": _refused("The IAM policy does not allow the model.", "iam_denied"),
    "throttling": Drill(
        "Every fifth request is throttled.", _usual, ({"fault": "throttled_requests", "every": 5},)
    ),
    "high_latency": Drill(
        "One request takes many times what the others do.",
        _one_odd("topic slow"),
        ({"fault": "latency", "prompt": "topic slow", "delay_ms": 1500},),
    ),
    "memory": Drill("A step asks for more memory than there is.", _out_of_memory),
    "hang": Drill("A step waits for something that never comes.", _stuck),
    "wrong_profile": _refused("The model is called without its inference profile.", "wrong_profile"),
    "retired_model": _refused("The model is being retired.", "retired_model"),
    "expired_credentials": _refused("The credentials have expired.", "expired_token"),
    "output_cut": Drill(
        "Answers are longer than max_tokens.",
        lambda stage: stage.run(stage.workflow(max_tokens=200 if stage.is_healthy else 5), *_topics(3)),
        script={"text": "An answer of some more words than just five or six of them."},
    ),
    "quota_wasted": Drill(
        "Calls wait for a quota that they reserve and do not use.",
        _reserving,
        script={"text": "Fine.", "latency_ms": 100},
        known_quota=Quota(tokens_per_minute=8_000),
    ),
    "bad_region": _refused("The region does not have the model.", "unknown_model"),
    "regression": Drill(
        "A prompt was changed, and its answers do not fit any more.",
        _changed,
        script={"rules": [{"prompt": "JSON", "replies": ['{"word": "fine"}']}], "text": "Freely told."},
    ),
    "cost_anomaly": Drill("One run is given a hundred times the text.", _one_odd(_LONG_TEXT)),
}  # fmt: skip
