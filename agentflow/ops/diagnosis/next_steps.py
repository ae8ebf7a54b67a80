"""What to do about what was found: the fix of each cause, and commands that can be copied."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from agentflow.ops.diagnosis.diagnose import Diagnosis
from agentflow.ops.diagnosis.finding import Finding
from agentflow.views.outputs import one_line

_WIDE = 95
_LONGEST = 4_000


def next_steps(found: Diagnosis, source: str = "store") -> str:
    """Return what to do next as lines for a shell: what is to be read are comments, the worst cause first.

    Parameters
    ----------
    source : that the diagnosis was made of.
    """
    return "\n".join(_lines(found, source))


def _lines(found: Diagnosis, source: str) -> Iterator[str]:
    given = "" if source == "store" else f" --source {shlex.quote(str(source))}"
    for number, finding in enumerate(found.findings, start=1):
        yield from _comment(f"{number}. {finding.severity} {finding.cause}: {finding.fix}")
        yield from (f"{command}" for command in _commands(finding, given, is_here=source == "store"))
        yield ""
    if found.unexplained:
        yield from _comment("Errors that no rule knows: look at the runs that have them.")
        yield "agentflow open last"
        yield ""
    if not found.findings:
        yield from _comment("Nothing was found. If it still hurts: a longer time, and what everything depends on.")
        yield f"agentflow diagnose --since 24h{given}"
    yield from _comment("What everything depends on; and what runs now, which can be stopped:")
    yield "agentflow health"
    yield "agentflow runs --active"


def _commands(finding: Finding, given: str, *, is_here: bool) -> Iterator[str]:
    for run_id in finding.affected_runs[-1:]:
        run = shlex.quote(run_id)
        yield f"agentflow diagnose --run {run}{given}"
        if not is_here:
            continue
        if finding.cause == "hang":
            yield f"agentflow stop {run}"
        elif finding.cause in ("throttling", "quota_wasted"):
            yield f"agentflow set {run} max_concurrency=5   # while it runs"
        yield f"agentflow open {run}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        one_line(text, _LONGEST), _WIDE, initial_indent="# ", subsequent_indent="#    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
