"""The program whose run the tests see and steer: `python -m tests.ops.control_program URL NAME WORDS`."""

from __future__ import annotations

import sys
import time

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.errors import RunInterrupted

is_busy = False


def build(url: str, name: str, *, enable_parallel: bool = True) -> Workflow:
    workflow = Workflow(WorkflowConfig(name=name, max_concurrency=4, enable_parallel=enable_parallel))
    agent = SimpleAgent(
        AgentConfig(name="echo", model_type="haiku", max_tokens=50),
        BedrockClient(endpoint_url=url, max_connections=16),
        prompt_template=f"{name} says {{word}}",
    )

    async def first(word: list[str]) -> int:
        if is_busy:
            time.sleep(60)  # noqa: ASYNC251 - the event loop hears nothing meanwhile
        return len(word)

    workflow.add_step("first", first)
    workflow.add_step("ask", agent, depends_on="first", map_over="word")
    return workflow


def words(number: int) -> list[str]:
    return [f"word-{position}" for position in range(number)]


def main(url: str, name: str, number: str, mode: str) -> None:
    global is_busy  # noqa: PLW0603 - of this process, whose workflow is the same as that of the tests
    is_busy = mode == "busy"
    try:
        build(url, name, enable_parallel=mode != "sequential").run(word=words(int(number)))
    except RunInterrupted as stopped:
        print(stopped)  # noqa: T201 - what the tests read
        sys.exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
