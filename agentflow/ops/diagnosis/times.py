"""Causes that lie in time and memory: high latency, runs that hang, memory that runs out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from agentflow.ops.diagnosis.finding import Finding
from agentflow.ops.diagnosis.seen import PEERS, PLACE, Seen, are_throttled
from agentflow.views.format import plural

if TYPE_CHECKING:
    import pandas as pd

_TIMES_MEDIAN = 5.0  # of at least `PEERS` peers
_LEAST_MS = 300.0  # a call that takes less is slow for nobody, whatever its peers take
_TIMES_LONGEST = 3.0  # of the steps that have ended: a run that says nothing for longer hangs
_MEMORY_PERCENT = 90.0  # of the machine's
HANG_SECONDS = 10.0  # that a run may say nothing, at least: as long as the runbook lets a model take
_SURELY_SECONDS = 60.0  # as long no answer takes that still comes


def high_latency(seen: Seen) -> Iterator[Finding]:
    """Find requests, steps and runs that take longer than the runbook's limits, or than 5 times the median of peers."""
    yield from _slow_requests(seen)
    yield from _slow_steps(seen)


def _slow_requests(seen: Seen) -> Iterator[Finding]:
    limit = seen.limits.bedrock_latency_seconds * 1000
    calls = seen.new(seen.answered).copy()
    peers = seen.answered.groupby(["step_id", "model_id"])["execution_time"].agg(["median", "size"])
    calls = calls.join(peers, on=["step_id", "model_id"])
    is_odd = (calls["size"] > PEERS) & (
        calls["execution_time"] > (_TIMES_MEDIAN * calls["median"]).clip(lower=_LEAST_MS)
    )
    slow = calls[(calls["execution_time"] > limit) | is_odd]
    gave_up = seen.failures("ModelTimeoutError")
    if slow.empty and gave_up.empty:
        return
    if slow.empty:
        yield seen.found(
            "high_latency", gave_up, seen.new(seen.steps), confidence=0.9,
            summary=f"{plural(len(gave_up), 'call')} had no answer in time: {gave_up.iloc[0]['error']}",
            fix=_FIX, mildest="P2", columns=("error", "execution_time"),
        )  # fmt: skip
        return
    median = seen.answered["execution_time"].median()
    models = ", ".join(dict.fromkeys(slow["model"].dropna()))
    yield seen.found(
        "high_latency", slow, calls, confidence=0.9,
        summary=f"{len(slow):,} of {len(calls):,} requests to {models} took up to "
        f"{slow['execution_time'].max():,.0f} ms; the limit is {limit:,.0f} ms, the median of all {median:,.0f} ms.",
        fix=_FIX, mildest="P2", value="execution_time", unit="ms", limit=limit,
        columns=("model", "region", "execution_time", "output_tokens", "ttft_ms"),
    )  # fmt: skip


def _slow_steps(seen: Seen) -> Iterator[Finding]:
    """Find steps and runs whose own time, without waits for quota and retries, is over the limits."""
    limit = seen.limits.agent_execution_seconds * 1000
    steps = seen.new(seen.step_ends)
    longest_call = seen.attempts.groupby(PLACE, dropna=False)["execution_time"].max().rename("longest_call")
    steps = steps.join(longest_call, on=PLACE)
    of_python = steps["longest_call"].fillna(0) < limit / 3  # a slow request has its own finding
    slow = steps[(steps["own_ms"] > limit) & of_python & ~steps["error_type"].isin(_TIMEOUTS)]
    if slow.empty:
        return
    names = ", ".join(dict.fromkeys(slow["step_id"]))
    yield seen.found(
        "high_latency", slow, steps, confidence=0.8,
        summary=f"Steps took up to {slow['own_ms'].max():,.0f} ms without their waits: {names}; the limit is "
        f"{limit:,.0f} ms.",
        fix="Look at what these steps do beside calling models: `agentflow open RUN --step STEP`; steps that do not "
        "need each other run at the same time with enable_parallel=True.",
        mildest="P2", value="own_ms", unit="ms", limit=limit, columns=("execution_time", "own_ms"),
    )  # fmt: skip


_TIMEOUTS = ("StepTimeoutError", "WorkflowTimeoutError")
_FIX = (
    "Use a faster model for simple steps (`select_model`), lower max_tokens, shorten the prompt, run independent steps "
    "in parallel (enable_parallel=True), or ask another region (BedrockClient(regions=[...]))."
)


def hang(seen: Seen) -> Iterator[Finding]:
    """Find runs that have no end and say nothing, and steps that were stopped since their time was up."""
    silent = _silent(seen)
    stuck = seen.failures(*_TIMEOUTS)
    stuck = stuck[~stuck["run_id"].isin(_throttled_runs(seen))]
    if silent.empty and stuck.empty:
        return
    bad = stuck if silent.empty else silent
    run_ids = ", ".join(dict.fromkeys(bad["run_id"]))
    confidence = 0.8
    if silent.empty:
        summary = f"Steps did not end in their time: {stuck.iloc[0]['error']}"
        fix = "Look at what the step waits for; where it needs the time, raise timeout_seconds=600."
    else:
        last = silent.iloc[-1]
        seconds = (seen.now - last["last_at"]).total_seconds()
        step = last["open_step"] if isinstance(last["open_step"], str) else ""
        where = f" in step {step}" if step else ""
        summary = (
            f"{plural(len(silent), 'run')} without an end, and without a word for {seconds:,.0f} s{where}: {run_ids}."
        )
        is_gone = last["status"] == "gone"
        confidence = 0.9 if is_gone or seconds > _SURELY_SECONDS else 0.5
        fix = (
            f"Its process is gone: await workflow.resume({last['run_id']!r}) goes on with it."
            if is_gone
            else f"agentflow stop {last['run_id']} keeps what is done; then look at what the step waits for, and give "
            "it timeout_seconds."
        )
    yield seen.found(
        "hang", bad, seen.new(seen.records), confidence=confidence, summary=summary, fix=fix, mildest="P1",
        columns=("status", "open_step", "error", "execution_time"),
    )  # fmt: skip


def _silent(seen: Seen) -> pd.DataFrame:
    """Return the last sign of each run of the window that has no end and says nothing."""
    records = seen.new(seen.records)
    ended = seen.runs["run_id"]
    open_ = records[~records["run_id"].isin(ended)]
    signs = open_[open_["event"] != "heartbeat"]
    if signs.empty:
        return signs.assign(last_at=[], open_step=[])
    last = signs.groupby("run_id", sort=False).tail(1)
    beats = open_[open_["event"] == "heartbeat"].drop_duplicates("run_id", keep="last").set_index("run_id")
    started = open_[open_["event"] == "step_started"].drop_duplicates("run_id", keep="last").set_index("run_id")
    last = last.assign(
        last_at=last["timestamp"],
        status=last["run_id"].map(beats["status"]),
        open_step=last["run_id"].map(started["step_id"]),
    )
    longest = seen.steps.groupby("workflow_name")["execution_time"].max()
    usual = last["workflow_name"].map(longest).fillna(0) * _TIMES_LONGEST / 1000
    allowed = usual.clip(lower=HANG_SECONDS)
    silent_for = (seen.now - last["last_at"]).dt.total_seconds()
    silent: pd.DataFrame = last[(silent_for > allowed) | (last["status"] == "gone")]
    return silent


def _throttled_runs(seen: Seen) -> set[str]:
    attempts = seen.new(seen.attempts)
    return set(attempts[are_throttled(attempts["error"])]["run_id"])


def memory(seen: Seen) -> Iterator[Finding]:
    """Find steps that ran out of memory, processes that ended with most of it, and machines that are nearly full."""
    new = seen.new(seen.records)
    failed = seen.failures("MemoryError")
    full = new[new["memory_percent"] > _MEMORY_PERCENT]
    full = full[full["timestamp"] >= seen.now - timedelta(minutes=30)] if failed.empty else failed
    if full.empty:
        return
    measured = new[new["memory_mb"].notna()]
    most = measured["memory_mb"].max()
    held = f" The process held up to {most:,.0f} MB." if most == most else ""  # noqa: PLR0124 - NaN
    what = (
        f"{plural(len(failed), 'step')} ran out of memory: {', '.join(dict.fromkeys(failed['step_id']))}."
        if not failed.empty
        else f"{full['memory_percent'].max():.0f}% of the machine's memory is in use (limit {_MEMORY_PERCENT:g}%)."
    )
    yield seen.found(
        "memory", full, measured if failed.empty else seen.new(seen.steps), confidence=1.0 if len(failed) else 0.7,
        summary=what + held,
        fix="Run less at the same time (`agentflow set RUN max_concurrency=5`), keep no large results "
        "(keep_outputs=False), read rows in chunks with `agentflow batch`, or give the machine more memory.",
        mildest="P1", value="memory_mb" if failed.empty else "", unit="MB" if failed.empty else "",
        columns=("memory_mb", "memory_percent", "error"),
    )  # fmt: skip
