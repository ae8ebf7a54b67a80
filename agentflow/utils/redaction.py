"""Keep keys, signatures, prompts and answers out of the debug logs of boto3's parts.

With `logging.basicConfig(level=logging.DEBUG)` botocore writes whole requests and responses, the session token and the
signature among them. A filter on the loggers that do so takes these out before any handler sees them.
"""

from __future__ import annotations

import logging
import re

# The loggers that were seen to write any of these (botocore 1.44, with a call of Converse and of ConverseStream).
LOGGERS = (
    "botocore.auth",
    "botocore.awsrequest",
    "botocore.credentials",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.retryhandler",
    "botocore.tokens",
)

REDACTED = "[redacted]"
_LITERAL = r"""b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*\""""
_PATTERNS = (
    # A header or member that carries a key: `'X-Amz-Security-Token': 'abc'`, `x-amz-security-token:abc`
    (re.compile(rf"(?i)((?:authorization|x-amz-security-token|bearer)['\"]?\s*[:=]\s*)(?:{_LITERAL}|[^\n]+)"), r"\1"),
    (re.compile(r"(?i)(signature(?:=|:\s*))[0-9a-f]{16,}"), r"\1"),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{16,}"), r"\1"),
    # Prompts and answers: the body of a request, or of a response to the end of the record.
    (re.compile(rf"(?i)(['\"]?body['\"]?\s*[:=]\s*)(?:{_LITERAL})"), r"\1"),
    (re.compile(r"(?is)(response body:\s*).+"), r"\1"),
)


def redacted(text: str) -> str:
    """Return a text without the secrets and contents in it."""
    for pattern, kept in _PATTERNS:
        text = pattern.sub(kept + REDACTED, text)
    return text


class _Redaction(logging.Filter):
    """Replaces secrets and contents in a record's text; never drops a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info:  # its text is made here, since a handler would make it from the exception itself
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_FILTER = _Redaction()


def redact_dependencies() -> None:
    """Put the filter on boto3's loggers; doing it again changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
