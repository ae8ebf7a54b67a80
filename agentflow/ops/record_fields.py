"""The fields of a record of the log, made of what the engine knows: the same for the log and for runs of the store."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from agentflow.core.errors import AgentFlowError, ItemsFailedError, StepError, WorkflowError, type_name_of
from agentflow.core.model import Attempt, Reply
from agentflow.ops.error_text import error_text, has_safe_words

Fields = dict[str, Any]

_ITEM = re.compile(r"\[(\d+)\]")
_MEMORY_SECONDS = 1.0  # how long a sample of the memory is used again: taking one reads files of the system


def failed_attempt(attempt: Attempt, model_id: str) -> Fields:
    """Return the fields of a request that was not answered."""
    return known(
        {
            "attempt": attempt.number,
            "execution_time": round(attempt.latency_ms, 3),
            "error": attempt.error_code,
            "model_id": model_id,
            "region": attempt.region,
            "request_id": attempt.request_id,
            "http_status": attempt.http_status,
            "wait_ms": round(attempt.wait_ms, 3),
        }
    )


def billed_answer(reply: Reply, max_tokens: int | None) -> Fields:
    """Return the fields of a request that was answered: model, tokens and dollars stand here alone.

    Parameters
    ----------
    max_tokens : that were asked for, by which Bedrock reserves quota; None where nobody knows.
    """
    usage, last = reply.usage, reply.attempts[-1] if reply.attempts else None
    return known(
        {
            "attempt": last.number if last else 1,
            "execution_time": round(reply.latency_ms, 3),
            "model": reply.model,
            "model_id": reply.model_id,
            "region": reply.region,
            "request_id": reply.request_id,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "max_tokens": max_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_usd": None if reply.cost_usd is None else float(reply.cost_usd),
            "bedrock_usd": None if reply.bedrock_usd is None else float(reply.bedrock_usd),
            "queue_ms": round(reply.queue_ms, 3),
            "ttft_ms": reply.ttft_ms,
            "stop_reason": reply.stop_reason,
            "cached": False,
            "http_status": last.http_status if last else None,
            "reason": (last.reason or None) if last else None,
        }
    )


def failure(error: BaseException, *, with_content: bool = False, code: str = "") -> Fields:
    """Return the fields of an error: its words, AWS's code first, its kind, and what to do about it.

    Parameters
    ----------
    with_content, code : as for `error_text`.
    """
    cause = error
    while isinstance(cause, StepError | ItemsFailedError | WorkflowError) and cause.__cause__ is not None:
        cause = cause.__cause__
    fix = cause.fix if isinstance(cause, AgentFlowError) and has_safe_words(cause) else None
    text = error_text(error, with_content=with_content, code=code)
    return known({"error": text, "error_type": type_name_of(cause), "fix": fix or None})


def step_fields(path: str, item: int | None) -> Fields:
    """Return the fields that say which step it is: the same `step_id` for all rows of a job, the row as `item`.

    >>> step_fields("rows[12].classify", None)
    {'step_id': 'rows.classify', 'item': 12}
    """
    if "[" in path:
        inner = _ITEM.findall(path)
        path, item = _ITEM.sub("", path), int(inner[-1]) if item is None else item
    return {"step_id": path} if item is None else {"step_id": path, "item": item}


class Memory:
    """The memory that this process holds, and how much of the machine's is in use, looked up once a second at most."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._fields: Fields = {}

    def fields(self) -> Fields:
        """Return `memory_mb` of the process and `memory_percent` of the machine (0 to 100)."""
        if (now := time.monotonic()) - self._at > _MEMORY_SECONDS:
            import psutil

            self._at = now
            self._fields = {
                "memory_mb": round(psutil.Process().memory_info().rss / 1_000_000, 1),
                "memory_percent": psutil.virtual_memory().percent,
            }
        return self._fields


def known(fields: Mapping[str, Any]) -> Fields:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
