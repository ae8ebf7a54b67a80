"""Whose credentials a call is sent with: who may see them, and how they are renewed when they have expired."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlsplit

BEARER = "bearer"

# The ends of Amazon's host names: `dnsSuffix` and `dualStackDnsSuffix` of botocore's partitions.json.
_AMAZON = (
    "amazonaws.com", "api.aws", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "amazonaws.eu",
    "api.amazonwebservices.eu", "c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud", "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov",
)  # fmt: skip

# By botocore's name of the provider that the credentials come from (METHOD, in botocore/credentials.py).
_RENEWALS: Mapping[str, str] = {
    BEARER: "Make a new Bedrock API key in the Bedrock console, and set AWS_BEARER_TOKEN_BEDROCK to it.",
    "env": "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN to new keys, and restart the kernel.",
    "shared-credentials-file": "Put new keys into ~/.aws/credentials: aws configure{option}",
    "config-file": "Put new keys into ~/.aws/config: aws configure{option}",
    "sso": "Log in again: aws sso login{option}",
    "login": "Log in again: aws login{option}",
    "assume-role": "Renew the credentials that the role is assumed with (source_profile, or aws sso login{option}).",
    "assume-role-with-web-identity": "Check the role, and the token file that AWS_WEB_IDENTITY_TOKEN_FILE names.",
    "custom-process": "Run the credential_process of the profile by hand; it must print keys that are not expired.",
    "container-role": "Check the role of the task or pod; its keys are fetched anew at the next call.",
    "iam-role": "Check the role of the instance; its keys are fetched anew at the next call.",
}
_ANY = "Log in again: aws sso login{option}, or renew the role's keys."


def renewal(method: str | None, profile_option: str) -> str:
    """Return what to do about expired credentials.

    Parameters
    ----------
    method : botocore's name of where they come from, or `BEARER`; None where that is not known.
    profile_option : `` --profile NAME``, or empty.
    """
    return _RENEWALS.get(method or "", _ANY).format(option=profile_option)


def is_amazon(url: str) -> bool:
    """Return whether a URL leads, by https, to a host of Amazon's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host.endswith(f".{end}") for end in _AMAZON)


@cache
def warn_of_endpoint(url: str) -> None:
    """Say once that prompts go to a host that is not Amazon's."""
    warnings.warn(f"Prompts go to {url}, which is neither Amazon's nor this machine.", UserWarning, stacklevel=2)
