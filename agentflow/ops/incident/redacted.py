"""Records that may be shown to anybody: without prompts, answers, words that may quote them, secrets and accounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentflow.ops.error_text import is_safe_kind
from agentflow.utils.redaction import REDACTED, redacted

if TYPE_CHECKING:
    import pandas as pd

_CONTENT = ("prompt", "answer", "output", "message", "tool")  # fields that hold what a step was given, or returned
_IDS = ("run_id", "workflow_id", "request_id", "version")  # ours and AWS's, made by chance
_ACCOUNT = "[account]"

# A run's id and a UUID may have twelve digits in a row, an account's number has nothing else.
_DIGITS = re.compile(r"(r-[0-9a-f]{12}\b|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?<!\d)\d{12}(?!\d)")
_SECRETS = (
    (re.compile(r"\b(?:AKIA|ASIA|AIDA|AROA|ABSK|ABIA|ACCA)[A-Za-z0-9+/=]{12,}"), REDACTED),  # keys of AWS and Bedrock
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REDACTED),  # JSON web tokens
    (re.compile(r"\b(?:sk|ghp|gho|xox[abp])[-_][\w-]{16,}"), REDACTED),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\w-]*['\"]?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"((?:/home|/Users|\\Users)[/\\])[^/\\\s]+"), r"\1[user]"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[email]"),
)
_KIND = re.compile(r"[\w.]+(?: \(raised at [\w.<>-]+:\d+\))?(?: \([\d,]+ items failed\))?")  # of an error, no words


def shareable(text: str) -> str:
    """Return a text without secrets, addresses of people and numbers of accounts."""
    text = redacted(text)
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return _DIGITS.sub(lambda found: found[1] or _ACCOUNT, text)


def shareable_records(records: pd.DataFrame) -> pd.DataFrame:
    """Return records that may be shown to anybody; rules find in them what they find in all.

    Parameters
    ----------
    records : with the fields of the log. Those of content become nothing; of an error whose words may quote a prompt
        or an answer its kind remains.
    """
    shown = records.copy()
    for name in _CONTENT:
        shown[name] = None
    named = shown["error_type"].astype("string").str.fullmatch(r"[\w.]+", na=False)
    shown["error_type"] = shown["error_type"].where(named, None)
    said = shown["error"].notna()
    kinds = shown.loc[said, "error_type"]
    shown.loc[said, "error"] = [
        _error(str(error), kind) for error, kind in zip(shown.loc[said, "error"], kinds, strict=True)
    ]
    texts = [name for name in shown.columns if shown[name].dtype == object and name not in (*_IDS, "cached")]
    for name in texts:
        shown[name] = shown[name].map(lambda value: shareable(value) if isinstance(value, str) else value)
    return shown


def _error(text: str, kind: object) -> str:
    """Return an error of a record, without words that may be of a prompt or an answer."""
    if isinstance(kind, str) and is_safe_kind(kind):
        return text
    if _KIND.fullmatch(text):  # the code of a request, or the kind of an error without its words
        return text
    name = kind if isinstance(kind, str) and _KIND.fullmatch(kind) else "error"
    return f"{name}: [words left out: they may quote a prompt or an answer]"
