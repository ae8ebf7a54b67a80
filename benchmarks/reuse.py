"""What answers cost that are given again: steps a second of a workflow whose answers are all there.

`python benchmarks/reuse.py [STEPS]`, against a scripted local endpoint and in a store of its own.
"""

from __future__ import annotations

import sys
import tempfile
import time

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.utils.env import export

RUNS = 7


def workflow(steps: int, *, chained: bool, journal: bool, cache: bool | str) -> Workflow:
    """Return prompts of 500 characters, one after the other or all at once."""
    made = Workflow(WorkflowConfig(name="reuse", cache=cache, journal=journal))
    client = BedrockClient(endpoint_url="local", max_connections=64)
    for number in range(steps):
        agent = SimpleAgent(AgentConfig(name="s"), client, prompt_template=f"Step {number}: {'word ' * 100}")
        made.add_step(f"s{number}", agent, depends_on=f"s{number - 1}" if chained and number else ())
    return made


def seconds(made: Workflow) -> float:
    """Return the best time of a run all of whose answers are there."""
    made.run()
    took = []
    for _ in range(RUNS):
        start = time.perf_counter()
        result = made.run()
        took.append(time.perf_counter() - start)
        if not all(row.cached for row in result.rows.values()):
            raise SystemExit("an answer was not there")
    return min(took)


def main(steps: int) -> None:
    """Print a line for each shape of the workflow and each kind of cache."""
    export("AGENTFLOW_LOCAL_MODEL", "scripted")
    with tempfile.TemporaryDirectory() as home:
        export("AGENTFLOW_HOME", home)
        for chained in (True, False):
            for journal, cache in ((True, True), (False, True), (True, f"{home}/answers.jsonl")):
                best = seconds(workflow(steps, chained=chained, journal=journal, cache=cache))
                shape = "one after the other" if chained else "all at once"
                kept = "store" if cache is True else "cassette"
                told = f"{shape}, {kept}, journal {'on' if journal else 'off'}"
                print(f"{told:45} {steps / best:8,.0f} steps/s {best / steps * 1e6:6.0f} us a step")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
