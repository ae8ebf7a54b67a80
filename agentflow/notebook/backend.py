"""Where models are asked, and with whose credentials, in words. Nothing is asked of AWS."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from IPython.core.error import UsageError

from agentflow.local.weights import LABEL
from agentflow.models.bedrock_client import BedrockClient
from agentflow.models.credential_sources import credential_source
from agentflow.utils.env import export, setting, withdraw

_ENDPOINT = "BEDROCK_ENDPOINT_URL"


def backend_words(client: Any) -> str:
    """Return where a client asks, such as ``Amazon Bedrock``."""
    if not isinstance(client, BedrockClient):
        return type(client).__name__
    url = client.endpoint_url
    if url is None:
        return "Amazon Bedrock"
    if url == "local":
        model = setting("AGENTFLOW_LOCAL_MODEL").value or ""
        return f"local · {LABEL if model == 'smollm2' else model}"
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # without a password


def region_words(client: BedrockClient) -> str:
    """Return a client's region, and where it comes from."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        found = setting(name)
        if found.value:
            return f"{found.value} (from {name}{' in .env' if found.source == '.env' else ''})"
    is_profiles = client.region != "us-east-1"
    return f"{client.region} ({'from the AWS profile' if is_profiles else 'default'})"


def credential_words(client: BedrockClient) -> str:
    """Return whether credentials are there, and of which kind; never a value."""
    if client.on_this_machine:
        return "not needed"
    found = credential_source(setting("AWS_PROFILE").value)
    return f"found ({found})" if found else "none found (`aws configure`, or `%agentflow backend local` without)"


def choose_backend(backend: str) -> None:
    """Have prompts without a client of their own ask another backend: `local`, `aws`, or a URL.

    Raises
    ------
    UsageError
        It is none of these, or `.env` says otherwise.
    """
    if backend == "aws":
        withdraw(_ENDPOINT)
        if setting(_ENDPOINT).value:
            raise UsageError(f"%agentflow backend aws: .env sets {_ENDPOINT}; take it out there.")
        return
    if backend != "local" and not backend.startswith(("http://", "https://")):
        raise UsageError(f"%agentflow backend {backend}: give local, aws, or a URL that begins with http.")
    BedrockClient(endpoint_url=backend)  # which refuses what is no URL
    export(_ENDPOINT, backend)
