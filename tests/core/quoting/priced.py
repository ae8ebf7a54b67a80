"""A client of the local endpoint with estimates and prices that can be followed by hand."""

from __future__ import annotations

from decimal import Decimal

from agentflow import AgentConfig, BedrockClient, SimpleAgent
from agentflow.core.model import Estimate, Request, Usage
from agentflow.core.output_types import from_short_form
from tests.endpoint import Endpoint

NOWHERE = "http://127.0.0.1:9"  # nothing listens there: what is sent fails


def price(usage: Usage) -> Decimal:
    """A dollar for a thousand input tokens, and ten for a thousand output tokens."""
    return Decimal(usage.input_tokens) / 1000 + Decimal(usage.output_tokens) / 100


class PricedClient(BedrockClient):
    """Takes a character for a token; a model called `us.unknown` has no price."""

    def __init__(
        self, endpoint: Endpoint | None = None, *, model: str = "local · scripted", connections: int = 10
    ) -> None:
        super().__init__(endpoint_url=endpoint.url if endpoint else NOWHERE, max_connections=connections)
        self.model = model

    def estimate(self, model: str | None, request: Request) -> Estimate:
        texts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        tokens = sum(len(text) for text in texts if isinstance(text, str)) + len(request.system or "")
        known = model != "us.unknown"
        return Estimate(
            model="us.unknown" if not known else self.model,
            input_tokens=tokens,
            most_input_tokens=4 * tokens,
            most_output_tokens=request.max_tokens,
            price=price if known else lambda _usage: None,
            most_usd=price(Usage(4 * tokens, request.max_tokens)) if known else None,
        )


def prompt(
    template: str, client: PricedClient, *, max_tokens: int = 100, model: str = "haiku", output: str | None = None
) -> SimpleAgent:
    config = AgentConfig(
        name="priced", model_type=model, max_tokens=max_tokens, output_type=from_short_form(output) if output else None
    )
    return SimpleAgent(config, client, prompt_template=template)
