"""What a request will take, as far as that can be said without asking Bedrock: tokens and dollars, likely and at most.

No vocabulary of Claude 3 or later is published, so the likely number is a rule of thumb: good to about 25 %, and low
where the request has attachments, or a schema that the model is told of in words of Bedrock's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import ceil
from typing import Any, Literal

from agentflow.core.content import Attachment, Block, CachePoint, CacheTime, ToolResult
from agentflow.core.model import Estimate, Request, Usage
from agentflow.models.catalog import ResolvedModel
from agentflow.models.schemas import accepted_schema

# The rule: 3.5 characters a token is what public estimators of Claude take (such as the crates char-token-est and
# infiniloom-engine), for mixed English, code and JSON; the other numbers are AgentFlow's choice.
ASCII_CHARACTERS_PER_TOKEN = 3.5
SCHEMA_CHARACTERS_PER_TOKEN = 3.0
TOKENS_PER_MESSAGE = 10
NEWER_TOKENIZER = 1.3  # Anthropic's documentation, "Token counting": about 30 % more tokens of the same text

# The bound: the frame of a message takes fewer than 10 tokens ("hello, world" takes 10 to 15 with it), the words around
# one small tool some 350 ("Token counting"). How a schema is written out for the model is not published.
MOST_TOKENS_PER_MESSAGE = 50
MOST_TOKENS_OF_A_TOOL = 1_000
MOST_TIMES_A_SCHEMA = 2
LARGEST_CONTEXT_TOKENS = 10_000_000  # of all models of the catalog; taken for a model that it does not know


def estimate(model: ResolvedModel, request: Request) -> Estimate:
    """Return what a request will take, at the list price of the model.

    The dearest that it can become is the price of the most tokens, in the dearest tier of prompt lengths that they
    reach; where it has cache points, all of them may be written to the prompt cache, for the longest time it names.
    Where a service tier or a latency has another price, which no list has, it is None.
    """
    model = model.served_as(request.service_tier, request.latency)
    spec = model.spec
    most_input = most_tokens(request, spec.context_tokens if spec else LARGEST_CONTEXT_TOKENS)
    return Estimate(
        model=model.name,
        input_tokens=estimated_tokens(request, spec.tokenizer if spec else None),
        most_input_tokens=most_input,
        most_output_tokens=min(request.max_tokens, spec.max_output_tokens) if spec else request.max_tokens,
        price=model.cost,
        most_usd=_most_usd(model, request, most_input),
        model_id=model.model_id,
    )


def _most_usd(model: ResolvedModel, request: Request, most_input: int) -> Decimal | None:
    plain = model.most_cost(Usage(most_input, request.max_tokens))
    times = _cache_times(model, request)
    if not times or plain is None:
        return plain
    written_1h = most_input if "1h" in times else 0
    written = model.most_cost(Usage(0, request.max_tokens, 0, most_input, written_1h))
    return None if written is None else max(plain, written)


def _cache_times(model: ResolvedModel, request: Request) -> set[CacheTime]:
    """Return how long the model would keep prefixes of the request."""
    wanted = {block.ttl for block in _blocks(request) if isinstance(block, CachePoint)}
    wanted |= {ttl for ttl in (request.cache_tools, request.cache_system) if ttl}
    kept = {model.spec.cache_time(ttl) for ttl in wanted} if model.spec else wanted
    return {ttl for ttl in kept if ttl}


def estimated_tokens(request: Request, tokenizer: Literal["older", "newer"] | None = None) -> int:
    """Return the likely number of input tokens, rounded up.

    Formula: ASCII characters / 3.5 + other characters + 10 a message + characters of the schema / 3; times 1.3 for the
    newer of Claude's tokenizers. Attachments add nothing: their size does not tell what they take.
    """
    ascii_characters = other_characters = 0
    for text in _texts(request):
        in_ascii = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
        ascii_characters += in_ascii
        other_characters += len(text) - in_ascii
    tokens = ceil(ascii_characters / ASCII_CHARACTERS_PER_TOKEN + other_characters)
    tokens += TOKENS_PER_MESSAGE * (len(request.turns) + 1)
    return ceil(
        (tokens + len(_schema_text(request)) / SCHEMA_CHARACTERS_PER_TOKEN)
        * (NEWER_TOKENIZER if tokenizer == "newer" else 1)
    )


def most_tokens(request: Request, context_tokens: int) -> int:
    """Return a number of input tokens that the request cannot pass.

    A token stands for one byte of text or more, so no text has more tokens than bytes in UTF-8. What attachments take
    is not known, but no prompt takes more than the context window.

    Parameters
    ----------
    context_tokens : the model's context window.
    """
    if any(isinstance(block, Attachment) for block in _blocks(request)):
        return context_tokens
    tokens = sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in _texts(request))
    tokens += MOST_TOKENS_PER_MESSAGE * (len(request.turns) + 2)  # the prompt, and the system prompt
    if schema := _schema_text(request):
        tools = len(request.tools) + (request.output_schema is not None)
        tokens += tools * MOST_TOKENS_OF_A_TOOL + MOST_TIMES_A_SCHEMA * len(schema)
    return tokens


def _texts(request: Request) -> Iterator[str]:
    if request.system:
        yield request.system
    for block in _blocks(request):
        if isinstance(block, str):
            yield block
        elif isinstance(block, ToolResult):
            yield block.text
        elif isinstance(block, Mapping):  # of an answer, as it came
            yield json.dumps(block)


def _blocks(request: Request) -> Iterator[Block | Mapping[str, Any]]:
    for turn in request.messages:
        yield from (turn.content,) if isinstance(turn.content, str) else turn.content


def _schema_text(request: Request) -> str:
    """Return the tools and the answer's schema as they are sent, in ASCII; empty where there are none."""
    schemas = [] if request.output_schema is None else [accepted_schema(request.output_schema)]
    tools = [[tool.name, tool.description, accepted_schema(tool.schema)] for tool in request.tools]
    return "".join(map(json.dumps, [*tools, *schemas]))
