"""A stand-in for Bedrock that the runbook's notebooks run against: scripted answers, at speeds like those of models.

What it answers and how long it takes is made up; what AgentFlow does with it is not.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import ExitStack, suppress
from itertools import cycle, islice
from typing import Any

from agentflow.core.agent import SimpleAgent
from agentflow.core.config import AgentConfig, WorkflowConfig
from agentflow.core.errors import WorkflowError
from agentflow.core.workflow import Workflow
from agentflow.local.chat import ChatRequest
from agentflow.local.handle import LocalBedrock
from agentflow.local.in_process import serving
from agentflow.local.script import ScriptedAnswer
from agentflow.local.scripted import smallest_instance
from agentflow.models.bedrock_client import BedrockClient
from agentflow.models.served import served_models
from agentflow.utils.env import export, withdraw

FIRST_TOKEN_MS, TOKEN_MS = 200.0, 4.0  # of the fast model
MORE_MS_OF_SONNET = 600.0
SHORT, LONG = 40, 240  # tokens of an answer, and of one to a prompt that asks for all there is to say

_TEXT = "Orders rose in March while returns fell in all regions but two, and support answered within the hour."
_SAY = re.compile(r"[Ss]ay '([^']*)'")
_LONG = re.compile(r"great detail|comprehensive|every single")
_SONNET = {"fault": "latency", "model": "*sonnet*", "delay_ms": MORE_MS_OF_SONNET}

_running = ExitStack()  # for as long as the process


def use_backend(backend: str) -> str:
    """Let all clients that are told of no endpoint ask this one, and return where that is, in words.

    Parameters
    ----------
    backend : `scripted` starts the stand-in; `local` is the small model of this machine, `bedrock` Amazon's own, or
        the URL of an endpoint.

    Raises
    ------
    LocalEndpointError
        The stand-in cannot be started.
    """
    if backend == "bedrock":
        withdraw("BEDROCK_ENDPOINT_URL")
        return "Amazon Bedrock answers; calls are billed."
    if backend == "scripted":
        url = stand_in().url
        export("BEDROCK_ENDPOINT_URL", url)
        return f"A stand-in at {url} answers in the place of Bedrock, by a script; nothing is billed."
    export("BEDROCK_ENDPOINT_URL", backend)
    return f"{backend} answers in the place of Bedrock."


def stand_in() -> LocalBedrock:
    """Start a stand-in, which runs until the process ends.

    Raises
    ------
    LocalEndpointError
        A package of the extra `local` is not installed, or no port is free.
    """
    bedrock = _running.enter_context(serving(_answer, served_models()))
    bedrock.faults(_SONNET)
    return bedrock


def _answer(request: ChatRequest) -> ScriptedAnswer:
    prompt = request.turns[-1].text
    if request.answer_schema is not None:
        text = json.dumps(smallest_instance(request.answer_schema))
    elif said := _SAY.search(prompt):
        text = said[1]
    else:
        text = " ".join(islice(cycle(_TEXT.split()), LONG if _LONG.search(prompt) else SHORT))
    tokens = min(len(text.split()), request.max_tokens or LONG)
    return ScriptedAnswer(text=text, latency_ms=FIRST_TOKEN_MS + TOKEN_MS * tokens)


_TOPICS = ("orders", "returns", "stock", "prices", "support", "payments")


async def example_runs() -> str:
    """Make some runs in a store of their own, and return what they are, in words.

    They are real runs of two workflows against a stand-in that throttles some requests and refuses one, so that there
    is something to find. From then on the process uses this store and this stand-in.

    Raises
    ------
    LocalEndpointError
        As for `stand_in`.
    """
    export("AGENTFLOW_HOME", tempfile.mkdtemp(prefix="agentflow-example-"))
    bedrock = stand_in()
    bedrock.faults(
        _SONNET,
        {"fault": "throttled_requests", "every": 9},
        {"fault": "internal_error", "every": 11},
        {"fault": "model_access_denied", "prompt": "payments", "model": "*sonnet*"},
    )
    export("BEDROCK_ENDPOINT_URL", bedrock.url)
    client = BedrockClient("us-east-1")
    workflows = _report(client), _question(client)
    handles = [workflow.start(topic=topic) for topic in _TOPICS for workflow in workflows]
    for handle in handles:
        with suppress(WorkflowError):
            await handle
    return (
        f"Example: {len(handles)} runs of two workflows, made just now against a stand-in for Bedrock that throttles "
        "some requests and refuses one. They are in a folder of their own; your store is as it was."
    )


def _report(client: BedrockClient) -> Workflow:
    workflow = Workflow(WorkflowConfig(name="report"))
    for name, model, prompt in (
        ("facts", "haiku", "List what is known of {topic}."),
        ("figures", "haiku", "List the figures of {topic}."),
        ("summary", "sonnet", "Write a summary on {topic}: {facts} {figures}"),
    ):
        workflow.add_step(name, _asking(name, model, prompt, client))
    return workflow


def _question(client: BedrockClient) -> Workflow:
    workflow = Workflow(WorkflowConfig(name="question"))
    workflow.add_step("answer", _asking("answer", "haiku", "What is new about {topic}?", client))
    return workflow


def _asking(name: str, model: str, prompt: str, client: Any) -> SimpleAgent:
    return SimpleAgent(AgentConfig(name=name, model_type=model, max_tokens=200), client, prompt_template=prompt)
