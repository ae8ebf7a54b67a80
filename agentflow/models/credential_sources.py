"""Where AWS credentials would come from, as files and variables tell. Asks nobody: neither AWS nor the machine's role.

The order is botocore's. What it finds need not be valid; only a call tells that.
"""

from __future__ import annotations

import configparser
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from agentflow.utils.env import aws_variable

# A setting of a profile -> how credentials come from it.
_KINDS: Mapping[str, str] = {
    "aws_access_key_id": "keys",
    "sso_session": "SSO",
    "sso_start_url": "SSO",
    "role_arn": "role",
    "credential_process": "process",
    "web_identity_token_file": "web identity",
    "login_session": "login",
}


def credential_source(profile: str | None = None) -> str:
    """Return where credentials would come from, in a few words; empty where nothing on this machine tells of any.

    Parameters
    ----------
    profile : None for the default one.
    """
    if aws_variable("AWS_BEARER_TOKEN_BEDROCK"):
        return "Bedrock API key"
    if not profile and aws_variable("AWS_ACCESS_KEY_ID"):
        return "environment"
    if not profile and aws_variable("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "web identity"
    if found := _of_profile(profile or "default"):
        return found
    if aws_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or aws_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return "container role"
    return ""


def _of_profile(profile: str) -> str:
    settings: dict[str, str] = {}
    sections: dict[str, Mapping[str, str]] = {}
    for path in _files():
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # a call says what is wrong with it
        sections |= {name: dict(parser[name]) for name in parser.sections()}
        for section in (profile, f"profile {profile}"):
            settings |= sections.get(section, {})
    kind = next((told for name, told in _KINDS.items() if settings.get(name)), "")
    if not kind:
        return ""
    found = f'profile "{profile}", {kind}'
    if kind == "SSO":
        session = sections.get(f"sso-session {settings.get('sso_session', '')}", {})
        start_url = session.get("sso_start_url") or settings.get("sso_start_url", "")
        option = "" if profile == "default" else f" --profile {profile}"
        if not _has_token(settings.get("sso_session") or start_url):
            found += f", not logged in: aws sso login{option}"
    return found


def _files() -> Iterator[Path]:
    for variable, default in (
        ("AWS_CONFIG_FILE", "~/.aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ):
        yield Path(aws_variable(variable) or default).expanduser()


def _has_token(session: str) -> bool:
    """Return whether the cache of SSO has a token that can be used or renewed; botocore names the file by a hash."""
    name = hashlib.sha1(session.encode(), usedforsecurity=False).hexdigest()
    try:
        token = json.loads((Path("~/.aws/sso/cache").expanduser() / f"{name}.json").read_text(encoding="utf-8"))
        if token.get("refreshToken"):
            return True
        return datetime.fromisoformat(token["expiresAt"]) > datetime.now(UTC)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
