"""How fast a job over rows is, what memory it takes, and how soon one that is half done goes on.

    make bench      or      python benchmarks/batch.py [--rows 100000]

Each figure is of a process of its own, over a CSV file and a workflow of one function that does nothing, with the
journal on.
"""

from __future__ import annotations

import _thread
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

FEW = 1_000


_seen: list[float] = []  # when each row was asked


async def nothing(text: str) -> str:
    """Do nothing."""
    _seen.append(time.perf_counter())
    return text


def work(folder: Path, rows: int, stop_at: int) -> None:
    """Map a workflow that does nothing over the rows of a file, and print what that took."""
    from agentflow import Workflow
    from agentflow.batch.mapping import run_job
    from agentflow.batch.wanted import Wanted
    from agentflow.core.errors import RunInterrupted

    def stop() -> None:
        while len(_seen) < stop_at:
            time.sleep(0.01)
        _thread.interrupt_main()

    if stop_at >= 0:
        threading.Thread(target=stop, daemon=True).start()
    began = time.perf_counter()
    workflow = Workflow("nothing")
    workflow.add_step("nothing", nothing)
    try:
        run_job(workflow, folder / "rows.csv", Wanted(out=folder / "out", shown=False))
    except RunInterrupted:
        return
    seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = (
        f"{len(_seen) / seconds:,.0f} rows a second, peak {peak_mb:.0f} MiB, first row after {_seen[0] - began:.2f} s"
    )
    sys.stdout.write(f"{told} ({len(_seen):,} of {rows:,} rows asked)\n")


def run(folder: Path, rows: int, *, stop_at: int = -1) -> str:
    """Have a process work in a folder, and return what it says."""
    if not (folder / "rows.csv").exists():
        lines = (f"row {number} of the table,{number}" for number in range(rows))
        (folder / "rows.csv").write_text("text,number\n" + "\n".join(lines))
    command = [sys.executable, __file__, "--work", str(folder), "--rows", str(rows), "--stop-at", str(stop_at)]
    environment = {**os.environ, "AGENTFLOW_HOME": str(folder / "store")}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure jobs over rows.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stop-at", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.work, options.rows, options.stop_at)
        return
    for rows in (FEW, options.rows):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{rows:>7,} rows: {run(Path(folder), rows)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.rows, stop_at=options.rows // 2)
        print(f"half done before: {run(Path(folder), options.rows)}")


if __name__ == "__main__":
    main()
