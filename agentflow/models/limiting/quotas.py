"""The quotas of a model: as they are given, or as Service Quotas has them.

Source: Amazon Bedrock User Guide, "Quotas for runtime": they hold for an account, a region, and a model or profile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentflow.core.errors import DefinitionError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a model may be asked in a minute; None is not known, or not limited.

    Attributes
    ----------
    tokens_per_minute : of prompts and answers together, as Bedrock counts them.
    requests_per_minute : of all operations.

    Raises
    ------
    DefinitionError
        A number is not above 0.
    """

    tokens_per_minute: float | None = None
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name, number in (("tokens", self.tokens_per_minute), ("requests", self.requests_per_minute)):
            if number is not None and (isinstance(number, bool) or not 0 < number < float("inf")):
                raise DefinitionError(f"A quota of {number!r} {name} per minute is none.", fix="Give a number above 0.")


def read_quota(client: Callable[[], Any], code: str) -> Quota | None:
    """Return the account's quota of tokens per minute; None where it cannot be read. Blocks: call it on a thread.

    Parameters
    ----------
    client : makes boto3's client of Service Quotas.
    code : of the quota, such as L-58BE175A.
    """
    import botocore.exceptions

    try:
        value = quota_value(client(), code)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        _logger.info("The quota %s cannot be read, and is learned instead: %s", code, error)
        return None
    return Quota(tokens_per_minute=value) if value else None


def quota_value(quotas: Any, code: str) -> float | None:
    """Return what a client of Service Quotas says of a quota; None where it has none. Blocks, and lets errors pass.

    Raises
    ------
    BotoCoreError, ClientError
        It cannot be read.
    """
    try:
        found = quotas.get_service_quota(ServiceCode="bedrock", QuotaCode=code)
    except quotas.exceptions.NoSuchResourceException:  # the account has the default
        try:
            found = quotas.get_aws_default_service_quota(ServiceCode="bedrock", QuotaCode=code)
        except quotas.exceptions.NoSuchResourceException:
            return None
    value: float | None = found["Quota"].get("Value")
    return value
