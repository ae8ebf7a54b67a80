"""The input tokens of a request: as Bedrock counts them, else as they are estimated."""

from __future__ import annotations

from agentflow.core.errors import AgentFlowError
from agentflow.core.model import Request, TokenCount
from agentflow.models import converse
from agentflow.models.catalog import ResolvedModel
from agentflow.models.faults import Place, explain
from agentflow.models.route import Route
from agentflow.models.tokens import estimate


async def count_tokens(route: Route, model: ResolvedModel, request: Request) -> TokenCount:
    """Return the input tokens of a request. CountTokens is free of charge, and takes a model by its bare id only.

    Where a model does not have it, or the count fails for whatever reason, the estimate says so.
    """
    link, spec = route.link, model.spec
    if spec is not None and spec.count_tokens is False:
        return _estimated(model, request, f"Bedrock does not count the tokens of {model.name}.")
    model_id = spec.id if spec else model.model_id
    arguments = converse.count_arguments(converse.request_body(request, spec))

    def count() -> int:
        counted: int = link.client().count_tokens(modelId=model_id, **arguments)["inputTokens"]
        return counted

    try:
        return TokenCount(await link.pool.run(count), is_estimate=False)
    except AgentFlowError as error:
        return _estimated(model, request, str(error))
    except Exception as error:  # noqa: BLE001 - whatever botocore raises
        place = Place(model_id, route.region, link.endpoint_url, model.model_id)
        return _estimated(model, request, str(explain(error, place)))


def _estimated(model: ResolvedModel, request: Request, reason: str) -> TokenCount:
    return TokenCount(estimate(model, request).input_tokens, is_estimate=True, reason=reason)
