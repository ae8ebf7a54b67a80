"""The drill matrix: what `diagnose` finds in each drill, and in its control.

    python scripts/drills.py

A row is a drill, a column a cause: `x` where it is found. The control of each has to be empty.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime

from agentflow.local.handle import LocalBedrock
from agentflow.local.launch import EndpointProcess
from agentflow.models.failover import breakers
from agentflow.models.limiting.lanes import lanes
from agentflow.ops.diagnosis.diagnose import diagnose
from agentflow.ops.diagnosis.finding import CAUSES
from agentflow.ops.drills import rehearse


def main() -> int:
    """Print the matrix; return 1 where it is not the diagonal with empty controls."""
    process = EndpointProcess("--model", "scripted")
    endpoint = LocalBedrock(process.url)
    wide = max(map(len, CAUSES))
    print(f"{'drill':{wide}}  {' '.join(f'{number:2}' for number in range(1, len(CAUSES) + 1))}  control  seconds")
    is_right = True
    for number, cause in enumerate(CAUSES, 1):
        with tempfile.TemporaryDirectory() as home:
            os.environ["AGENTFLOW_HOME"] = home
            controls = _found(cause, endpoint, healthy=True)
            started = time.perf_counter()
            found = _found(cause, endpoint, healthy=False)
            seconds = time.perf_counter() - started
        marks = " ".join(" x" if each in found else " ." for each in CAUSES)
        print(f"{cause:{wide}}  {marks}  {', '.join(controls) or 'silent':7}  {seconds:7.1f}   ({number})")
        is_right &= found == {cause} and not controls
    process.stop()
    return 0 if is_right else 1


def _found(cause: str, endpoint: LocalBedrock, *, healthy: bool) -> set[str]:
    """Play a drill as the first thing that this process does, and return the causes that are found."""
    endpoint.reset()
    lanes.reset()
    breakers.reset()
    begin = datetime.now(UTC)
    rehearse(cause, endpoint, healthy=healthy)
    return {finding.cause for finding in diagnose(since=begin).findings}


if __name__ == "__main__":
    raise SystemExit(main())
