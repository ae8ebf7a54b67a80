"""The program that the crash tests kill: `python -m tests.crash.program URL FOLDER [RUN_ID]` runs, or resumes a run.

Its Python steps leave a line each in `FOLDER/effects`; its prompts are answered by the scripted endpoint, which echoes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.result import RunResult

WORDS = 12
CHAIN = 4
LOOP = 5
CALLS = WORDS + CHAIN + LOOP


def build(url: str, effects: Path) -> Workflow:
    client = BedrockClient(endpoint_url=url, max_connections=4)
    config = AgentConfig(name="echo", model_type="haiku", max_tokens=50)

    def note(effect: str) -> None:
        with effects.open("a") as file:
            file.write(f"{effect}\n")

    def words() -> list[str]:
        note("words")
        return [f"word-{number}" for number in range(WORDS)]

    async def loop(chain0: str) -> list[str]:
        replies = [await client.invoke("haiku", f"{chain0} loop {number}") for number in range(LOOP)]
        return [reply.text for reply in replies]

    def end(ask: list[str], loop: list[str], last: str) -> dict[str, Any]:
        note("end")
        return {"ask": ask, "loop": loop, "last": last}

    workflow = Workflow("crash")
    step = workflow.add_step("words", words)
    workflow.add_step("ask", SimpleAgent(config, client, prompt_template="Say {word}"), {"word": step}, map_over="word")
    before: Any = "start"
    for number in range(CHAIN):
        agent = SimpleAgent(config, client, prompt_template=f"{number}: {{before}}")
        before = workflow.add_step(f"chain{number}", agent, {"before": before})
    workflow.add_step("loop", loop)
    workflow.add_step("end", end, {"last": before})
    return workflow


EXPECTED = {
    "ask": [f"Say word-{number}" for number in range(WORDS)],
    "loop": [f"0: start loop {number}" for number in range(LOOP)],
    "last": "3: 2: 1: 0: start",
}


async def main(url: str, folder: str, run_id: str = "") -> RunResult:
    workflow = build(url, Path(folder) / "effects")
    print("ready", flush=True)  # noqa: T201 - what the tests wait for
    return await (workflow.resume(run_id) if run_id else workflow.execute())


if __name__ == "__main__":
    outputs = asyncio.run(main(*sys.argv[1:])).outputs["end"]
    print(outputs == EXPECTED or outputs)  # noqa: T201
