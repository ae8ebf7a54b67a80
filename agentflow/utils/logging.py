"""`setup_logger`: one handler on AgentFlow's log, readable for a person, JSON lines for a machine."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from agentflow.utils.env import SettingError, setting
from agentflow.utils.redaction import redact_dependencies

# The fields that the operation runbook's Logs Insights queries use; a record carries those that were given as `extra`.
FIELDS = (
    "workflow_id",
    "workflow_name",
    "step_id",
    "execution_time",
    "attempt",
    "error",
    "model",
    "input_tokens",
    "output_tokens",
)


def setup_logger(name: str) -> logging.Logger:
    """Return a logger that writes to standard error at the level of `AGENTFLOW_LOG_LEVEL`; safe to call repeatedly.

    In a terminal or a notebook its lines are for reading, elsewhere each is a JSON object with the fields `FIELDS`
    that the record carries as `extra`. Where the root logger has handlers, as after `logging.basicConfig`, those write
    instead, so that no line appears twice.

    Parameters
    ----------
    name : usually `__name__`.

    Raises
    ------
    SettingError
        `AGENTFLOW_LOG_LEVEL` is no level of Python's logging.
    """
    redact_dependencies()
    level = setting("AGENTFLOW_LOG_LEVEL")
    if (number := logging.getLevelNamesMapping().get((level.value or "").upper())) is None:
        message = (
            f"AGENTFLOW_LOG_LEVEL={level.value} (from {level.source}) is no level: use DEBUG, INFO, WARNING or ERROR."
        )
        raise SettingError(message)
    logger = logging.getLogger(name)
    logger.setLevel(number)
    top = logging.getLogger(name.partition(".")[0])  # one handler for a whole package: no line is written twice
    if not top.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PLAIN if _is_watched() else _JsonFormatter())
        top.addHandler(handler)
        # The root logger may get handlers later: then this logger's own is the second, and is silent.
        handler.addFilter(lambda _record: not logging.root.handlers)
    return logger


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {field: getattr(record, field) for field in FIELDS if hasattr(record, field)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


_PLAIN = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", datefmt="%H:%M:%S")


def _is_watched() -> bool:
    """Return whether a person reads standard error: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
