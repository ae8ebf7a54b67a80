"""CountTokens: the tokens of a prompt, in the form of Converse or of InvokeModel."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, cast

from agentflow.local import anthropic, converse
from agentflow.local.chat import ChatRequest, LocalModel
from agentflow.local.errors import invalid
from agentflow.local.facts import ServedModel, ServedModels
from agentflow.local.incoming import parsed
from agentflow.local.shapes import check


async def count_tokens(name: str, body: object, model: LocalModel, served: ServedModels) -> Mapping[str, Any]:
    """Return the body of a CountTokens response.

    A model that only a profile may call is counted by its bare id too, as Bedrock wants it.

    Raises
    ------
    Refusal
        Bedrock would not accept this body, or does not count for this model.
    """
    named = served.named(name)
    if not named.counts_tokens:
        raise invalid("The provided model doesn't support counting tokens.")
    check(body, "CountTokens")
    return {"inputTokens": await model.count_tokens(await _request(cast("Mapping[str, Any]", body)["input"], named))}


async def _request(counted: Mapping[str, Any], model: ServedModel) -> ChatRequest:
    if given := counted.get("converse"):
        return converse.parse(given, model)
    return anthropic.parse(await parsed(base64.b64decode(counted["invokeModel"]["body"])), model)
