"""Temporary: replaced at the merge."""

from __future__ import annotations

from agentflow.core.model import Estimate, Request, Usage
from agentflow.models.catalog import ResolvedModel


def estimate(resolved: ResolvedModel, request: Request) -> Estimate:
    text = (
        request.prompt if isinstance(request.prompt, str) else "".join(p for p in request.prompt if isinstance(p, str))
    )
    text += request.system or ""
    most = len(text.encode()) + 500
    return Estimate(
        resolved.name,
        len(text) // 3 + 10,
        most,
        request.max_tokens,
        resolved.cost,
        resolved.cost(Usage(most, request.max_tokens)),
    )
