"""The environment variables that AgentFlow knows, and the only place that reads or sets them.

A setting is looked up in one order: an argument of the call (the caller's business), the process environment,
`.env` in the current folder, the default below. An empty value counts as not set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its default (None: not set), and what it does, with the unit."""

    default: str | None
    meaning: str


VARIABLES: Mapping[str, Variable] = {
    "AWS_REGION": Variable(None, "AWS region of the client"),
    "AWS_DEFAULT_REGION": Variable(None, "AWS region, read where AWS_REGION is not set"),
    "AWS_PROFILE": Variable(None, "profile of the AWS configuration; `default` without such a profile counts as unset"),
    "AGENTFLOW_HOME": Variable(".agentflow", "folder of the store: every run, what it was asked and answered"),
    "AGENTFLOW_RETENTION_DAYS": Variable(None, "days after which ended runs are deleted from the store"),
    "AGENTFLOW_CACHE": Variable("0", "1 gives answers again that were paid for before; a path: from that file"),
    "AGENTFLOW_DISPLAY": Variable(
        "auto", "how runs are shown while they go on: auto, widget, html, log or off; see `agentflow.display`"
    ),
    "AGENTFLOW_LOG_LEVEL": Variable("INFO", "level of the loggers that setup_logger makes"),
    "AGENTFLOW_LOG_CONTENT": Variable("0", "1 writes prompts, answers and the words of your own errors into the log"),
    "AGENTFLOW_LOG_GROUP": Variable(None, "log group of CloudWatch that runs are logged to, as /aws/agentflow/app"),
    "AGENTFLOW_METRICS": Variable(
        None, "metrics of runs: `logs` writes them into the log, `cloudwatch` sends them by PutMetricData"
    ),
    "AGENTFLOW_MAX_RETRIES": Variable(
        "3", "retries of a failed model call, beyond its first attempt; waiting for a quota is none"
    ),
    "AGENTFLOW_TIMEOUT": Variable(
        "300", "seconds that a workflow may run, and that a call outside of one may wait for its quota"
    ),
    "AGENTFLOW_MAX_ACTIVE_WORKFLOWS": Variable(None, "runs of this process at the same time; the others wait"),
    "AGENTFLOW_PRICES": Variable(None, "YAML file of your own prices, in the place of Bedrock's list prices"),
    "BEDROCK_ENDPOINT_URL": Variable(None, "URL of a Bedrock endpoint, or `local` for AgentFlow's own"),
    "BEDROCK_MAX_CONNECTIONS": Variable("10", "model calls in flight at once"),
    "BEDROCK_STREAM_IDLE_SECONDS": Variable("60", "seconds without a byte after which a streamed answer has failed"),
    "AGENTFLOW_LOCAL_MODEL": Variable("smollm2", "model of the local endpoint: `smollm2`, `scripted` or a .gguf file"),
    "AGENTFLOW_LOCAL_URL": Variable(None, "URL of a local endpoint that already runs; set for child processes"),
}


class SettingError(ValueError):
    """An environment variable or a line of `.env` has a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from: ``environment``, ``.env`` or ``default``."""

    name: str
    value: str | None
    source: str

    def number(self, *, at_least: float) -> float:
        """Return the value as a number.

        Raises
        ------
        SettingError
            The value is not a number, or is below `at_least`.
        """
        try:
            number = float(self.value or "")
        except ValueError:
            number = float("nan")
        if not at_least <= number < float("inf"):
            default = VARIABLES[self.name].default
            message = (
                f"{self.name}={self.value} (from {self.source}) is not a number of at least {at_least:g}: "
                f"set it to one, or remove it{f' for the default {default}' if default else ''}."
            )
            raise SettingError(message)
        return number

    def whole_number(self, *, at_least: int) -> int:
        """Return the value as a whole number.

        Raises
        ------
        SettingError
            The value is not a whole number, or is below `at_least`.
        """
        number = self.number(at_least=at_least)
        if number != int(number):
            message = f"{self.name}={self.value} (from {self.source}) is not a whole number: set it to one."
            raise SettingError(message)
        return int(number)


def setting(name: str) -> Setting:
    """Look up one known variable: process environment, then `.env`, then its default.

    Raises
    ------
    KeyError
        The name is not in `VARIABLES`.
    """
    variable = VARIABLES[name]
    if value := _without_comment(os.environ.get(name)):
        return Setting(name, value, "environment")
    if value := _dotenv().get(name, ""):
        return Setting(name, value, ".env")
    return Setting(name, variable.default, "default")


def is_any_set(*names: str) -> bool:
    """Return whether one of some known variables is set, in the environment or in `.env`."""
    if any(_without_comment(os.environ.get(name)) for name in names):
        return True
    dotenv = _dotenv()
    return any(name in dotenv for name in names)


def environment_value(name: str) -> str | None:
    """Return a variable that the user names, as the secret of a notebook; None where it is not set."""
    return os.environ.get(name)


def in_jupyter_session() -> bool:
    """Return whether a Jupyter server has started this process as the kernel of a notebook that is open in it.

    A program that a cell has started, such as papermill, hands the server's sign down to kernels of its own.
    """
    session = os.environ.get("JPY_SESSION_NAME")
    return bool(session) and _parent_value("JPY_SESSION_NAME") != session


@lru_cache(maxsize=4)
def _parent_value(name: str) -> str | None:
    """Return a variable of the process that has started this one; None where that cannot be known."""
    import psutil

    try:
        value: str | None = psutil.Process(os.getppid()).environ().get(name)
    except (psutil.Error, OSError):
        return None
    return value


def home_folder() -> Path:
    """Return the folder of the store and of jobs, as `AGENTFLOW_HOME` says; it may not be there yet."""
    return Path(setting("AGENTFLOW_HOME").value or ".agentflow").expanduser().resolve()


def bedrock_key_is_set() -> bool:
    """Return whether there is a Bedrock API key. Only botocore reads the key itself, and only from the environment."""
    return bool(os.environ.get("AWS_BEARER_TOKEN_BEDROCK"))


def access_key_hash() -> str | None:
    """Return a hash of the AWS access key in the environment, which tells accounts apart; None where there is none."""
    key = os.environ.get("AWS_ACCESS_KEY_ID")
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else None


def export(name: str, value: str) -> None:
    """Set a known variable for this process and the ones it starts."""
    if name not in VARIABLES:
        raise KeyError(name)
    os.environ[name] = value


def withdraw(name: str) -> None:
    """Take a known variable out of the environment of this process; does nothing where it is not set."""
    if name not in VARIABLES:
        raise KeyError(name)
    os.environ.pop(name, None)


def suggest(name: str, value: str) -> None:
    """Set a variable of another library for this process, where nobody has set it."""
    os.environ.setdefault(name, value)


def aws_variable(name: str) -> str:
    """Return a variable of AWS's own, empty where it is not set; whoever asks must not show its value."""
    if not name.startswith("AWS_"):
        raise KeyError(name)
    return os.environ.get(name, "")


def _dotenv() -> Mapping[str, str]:
    """Return the known names of `.env` in the current folder; an empty mapping where there is no such file."""
    path = Path.cwd() / ".env"
    try:
        status = path.stat()
    except OSError:
        return {}
    return _read_dotenv(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read_dotenv(path: Path, _mtime_ns: int, _size: int) -> Mapping[str, str]:
    """Parse a `.env` file, again only after it changed (the two unused arguments are the cache's key)."""
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path, interpolate=False)
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    return {name: text for name, value in values.items() if name in VARIABLES and (text := _without_comment(value))}


def _without_comment(value: str | None) -> str:
    """Return a value, empty where it is only a comment.

    python-dotenv, and tools like `docker --env-file`, keep `NAME=  # comment` as the value "# comment"; none of our
    values begins with a hash.
    """
    text = (value or "").strip()
    return "" if text.startswith("#") else text
