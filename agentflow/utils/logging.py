"""`setup_logger`: one handler on AgentFlow's log, readable for a person, JSON lines for a machine."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from agentflow.utils.env import SettingError, setting
from agentflow.utils.redaction import redact_dependencies

PACKAGE = "agentflow"

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

# What else the records of runs carry. Times in milliseconds, money in dollars.
MORE_FIELDS = (
    "event", "run_id", "item", "status", "cost_usd", "model_id", "region", "request_id", "http_status", "queue_ms",
    "ttft_ms", "wait_ms", "cache_read_tokens", "cache_write_tokens", "stop_reason", "cached", "reason", "tool",
    "prompt", "answer", "output", "error_type", "fix", "max_tokens", "bedrock_usd", "version", "memory_mb",
    "memory_percent",
)  # fmt: skip

KNOWN_FIELDS = "known_fields"  # attribute of a record: those of the above that it has, where somebody knows
EMBEDDED_METRICS = "embedded_metrics"  # attribute of a record: members that its JSON line has beside its own


def setup_logger(name: str) -> logging.Logger:
    """Return a logger that writes to standard error at the level of `AGENTFLOW_LOG_LEVEL`; safe to call repeatedly.

    From then on every run is logged: its start and end, its steps, and each request to a model. In a terminal or a
    notebook the lines are for reading, elsewhere each is a JSON object with the fields `FIELDS` and `MORE_FIELDS` that
    the record carries as `extra`. Where the root logger has handlers, as after `logging.basicConfig`, those write
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
    level = level_of_setting()
    logger = logging.getLogger(name)
    for each in (logger, logging.getLogger(PACKAGE)):
        each.setLevel(level)
    for top in {name.partition(".")[0], PACKAGE}:  # one handler for a whole package: no line is written twice
        _write_to_stderr(logging.getLogger(top))
    return logger


def level_of_setting() -> int:
    """Return the level that `AGENTFLOW_LOG_LEVEL` names.

    Raises
    ------
    SettingError
        It names none.
    """
    level = setting("AGENTFLOW_LOG_LEVEL")
    if (number := logging.getLevelNamesMapping().get((level.value or "").upper())) is None:
        message = (
            f"AGENTFLOW_LOG_LEVEL={level.value} (from {level.source}) is no level: use DEBUG, INFO, WARNING or ERROR."
        )
        raise SettingError(message)
    return number


def _write_to_stderr(logger: logging.Logger) -> None:
    if not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
        logger.addHandler(_StandardError())


class _StandardError(logging.StreamHandler[Any]):
    """Writes to standard error, whatever that is at the time, unless the root logger's handlers do so."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self._is_plain = _is_watched()
        self.setFormatter(_PLAIN if self._is_plain else JsonFormatter())

    @property
    def stream(self) -> Any:
        """Standard error."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line."""
        try:
            stream = sys.stderr
            stream.write(f"{self.format(record)}\n")
            if not getattr(stream, "line_buffering", False):  # a kernel's has no such attribute
                stream.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def filter(self, record: logging.LogRecord) -> Any:
        """Return whether the record is written."""
        # The root logger may get handlers later: then this one is the second, and is silent.
        if logging.root.handlers or (self._is_plain and hasattr(record, EMBEDDED_METRICS)):
            return False
        return super().filter(record)


_ALL_FIELDS = (*FIELDS, *MORE_FIELDS)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, made once where several handlers write it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        known = record.__dict__
        if (made := known.get("_json_line")) is not None:
            return str(made)
        entry: dict[str, Any] = {
            "timestamp": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (fields := known.get(KNOWN_FIELDS)) is None:
            fields = {field: known[field] for field in _ALL_FIELDS if field in known}
        entry |= fields
        entry |= known.get(EMBEDDED_METRICS, {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        known["_json_line"] = line = _encoded(entry)
        return line


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _encoded(entry: dict[str, Any]) -> str:
    try:
        return to_json(entry, fallback=str, inf_nan_mode="null").decode()
    except (UnicodeError, ValueError):  # lone surrogates, as in names of files that are no UTF-8
        return json.dumps(entry, default=str)


_PLAIN = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", datefmt="%H:%M:%S")


def _is_watched() -> bool:
    """Return whether a person reads standard error: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
