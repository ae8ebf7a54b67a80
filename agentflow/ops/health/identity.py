"""Who AWS takes this process for, and until when: nothing of a key is ever shown."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agentflow.core.errors import CredentialsError, ModelCallError
from agentflow.core.model import Reply
from agentflow.models.credentials import BEARER, renewal
from agentflow.ops.health.aws import Aws, is_aws_error
from agentflow.ops.health.report import Check
from agentflow.utils.env import aws_variable, setting

#: Less time left than this is worth a warning: botocore begins to renew its own so long before their end.
LITTLE_TIME = timedelta(minutes=15)

# A short-lived Bedrock API key is this, and a presigned URL as base64 (Python package aws-bedrock-token-generator).
_SHORT_KEY = "bedrock-api-key-"
_FIXED = {"env", BEARER}  # nothing renews these


def credentials(aws: Aws) -> Check:
    """Return whether there are AWS credentials that AWS accepts, whose they are and when they expire. Blocks."""
    is_needed = not aws.bedrock.on_this_machine or any(
        setting(name).value for name in ("AGENTFLOW_LOG_GROUP", "AGENTFLOW_METRICS")
    )
    try:
        check = _examined(aws)
    except ModelCallError as error:
        check = Check("failed", error.what, error.fix)
    if check or is_needed:
        return check
    figure = f"{check.figure.rstrip('.')}; this endpoint needs none"
    return Check("not configured", figure, "aws configure, or AWS_PROFILE: for Amazon Bedrock")


def refused(found: Check, answered: Reply | Exception | None) -> Check:
    """Return what was found, unless Bedrock itself did not take the credentials."""
    if isinstance(answered, CredentialsError) and "clock" not in answered.what:  # a wrong clock has its own check
        return Check("failed", answered.what, answered.fix)
    return found


def _examined(aws: Aws) -> Check:
    if (key := aws_variable("AWS_BEARER_TOKEN_BEDROCK")) and not aws.bedrock.on_this_machine:
        return _until(_end_of_key(key), "a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK)", BEARER, aws)
    found, method = None, None
    try:
        if (found := aws.session().get_credentials()) is None:
            fix = "Run `aws configure`, set AWS_PROFILE, or work offline with BEDROCK_ENDPOINT_URL=local."
            return Check("failed", "there are no AWS credentials", fix)
        method = found.method
        found.get_frozen_credentials()  # fetches or renews those of a role
        caller = aws.client("sts").get_caller_identity()["Arn"]
    except Exception as error:
        if isinstance(error, RuntimeError) and found is not None:  # botocore's word for keys that stay expired
            raise ModelCallError(f"The AWS credentials ({method}) have expired.", fix=_renewal(method, aws)) from error
        if not is_aws_error(error):
            raise
        explained = aws.explained(error, "AWS", _renewal(method, aws))
        if explained.kind in ("network", "timeout"):
            return _unasked(found, method, aws, explained)
        raise explained from error
    return _until(_expiry(found), f"{caller} ({method})", method, aws)


def _unasked(found: Any, method: str | None, aws: Aws, why: ModelCallError) -> Check:
    """Return what is known where STS cannot be asked, which says nothing of the credentials."""
    known = _until(_expiry(found), f"found ({method}), and not tried", method, aws)
    fix = "Open the way to STS, in a private network by its VPC endpoint."
    return Check("not checked", f"{known.figure}: {why.what}", fix) if known else known


def _expiry(found: Any) -> datetime | None:
    return getattr(found, "_expiry_time", None)  # of botocore's RefreshableCredentials; it has no other way to tell


def _until(expiry: datetime | None, who: str, method: str | None, aws: Aws) -> Check:
    if expiry is None:
        return Check("ok", f"{who}, no end is known")
    left = expiry - datetime.now(UTC)
    if left <= timedelta():
        return Check("failed", f"{who}, expired at {expiry:%Y-%m-%d %H:%M} UTC", _renewal(method, aws))
    figure = f"{who}, {_words(left)} left"
    if method not in _FIXED:
        return Check("ok", f"{figure}, then renewed")
    return Check("warning", figure, _renewal(method, aws)) if left < LITTLE_TIME else Check("ok", figure)


def _renewal(method: str | None, aws: Aws) -> str:
    return renewal(method, aws.profile_option)


def _words(left: timedelta) -> str:
    minutes = int(left.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _end_of_key(key: str) -> datetime | None:
    """Return when a short-lived Bedrock API key ends; None for a long-lived one, which does not say."""
    if not key.startswith(_SHORT_KEY):
        return None
    try:
        url = base64.b64decode(key.removeprefix(_SHORT_KEY), validate=True).decode()
        query = parse_qs(urlsplit(url if "://" in url else f"https://{url}").query)
        signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))
    except (binascii.Error, UnicodeDecodeError, ValueError, KeyError):
        return None
