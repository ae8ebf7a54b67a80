"""What a request will take, as far as that can be said without asking Bedrock: tokens and dollars, likely and at most.

No vocabulary of Claude 3 or later is published, so the likely number is a rule of thumb: good to about 25 %, and low
where the request has attachments, or a schema that the model is told of in words of Bedrock's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil
from typing import Literal

from agentflow.core.content import Attachment
from agentflow.core.model import Estimate, Request, Usage
from agentflow.models.catalog import ResolvedModel
from agentflow.models.converse import accepted_schema

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
    reach; nothing is written to a prompt cache, since no request has cache points.
    """
    spec = model.spec
    most_input = most_tokens(request, spec.context_tokens if spec else LARGEST_CONTEXT_TOKENS)
    return Estimate(
        model=model.name,
        input_tokens=estimated_tokens(request, spec.tokenizer if spec else None),
        most_input_tokens=most_input,
        most_output_tokens=min(request.max_tokens, spec.max_output_tokens) if spec else request.max_tokens,
        price=model.cost,
        most_usd=model.most_cost(Usage(most_input, request.max_tokens)),
    )


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
        tokens += MOST_TOKENS_OF_A_TOOL + MOST_TIMES_A_SCHEMA * len(schema)
    return tokens


def _texts(request: Request) -> Iterator[str]:
    if request.system:
        yield request.system
    for turn in request.turns:
        yield turn.text
    yield from (block for block in _blocks(request) if isinstance(block, str))


def _blocks(request: Request) -> tuple[str | Attachment, ...]:
    return (request.prompt,) if isinstance(request.prompt, str) else request.prompt


def _schema_text(request: Request) -> str:
    """Return the answer's schema as it is sent, in ASCII; empty where there is none."""
    return "" if request.output_schema is None else json.dumps(accepted_schema(request.output_schema))
