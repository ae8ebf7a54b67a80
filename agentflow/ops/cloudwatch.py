"""CloudWatch: its clients, and a handler that sends log records to a log group without ever holding anybody up."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import queue
import re
import threading
import time
from typing import Any

from agentflow.core.errors import InputError
from agentflow.models.transport import existing_profile, profile_region
from agentflow.utils.env import setting
from agentflow.utils.logging import JsonFormatter

MOST_WAITING = 100_000  # records; more are dropped
SEND_EVERY_SECONDS = 5  # a batch, or when it is full
EXIT_SECONDS = 3  # how long the end of the process waits for what is on its way, twice at most

_log = logging.getLogger(__name__)
_GROUP_NAME = re.compile(r"[\w.\-/#]{1,512}", re.ASCII)


def aws_client(service: str) -> Any:
    """Return boto3's client of a service, with the region and profile of the settings; it gives up soon. Blocks."""
    import boto3
    from botocore.config import Config

    profile = existing_profile(setting("AWS_PROFILE").value)
    region = setting("AWS_REGION").value or setting("AWS_DEFAULT_REGION").value or profile_region(profile)
    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})
    return boto3.Session(profile_name=profile).client(service, region_name=region or "us-east-1", config=config)


class CloudWatchLogs(logging.Handler):
    """Sends records to a log group of CloudWatch as JSON lines, in batches, by watchtower.

    All that may take time, such as finding credentials, is done on a thread. Where records cannot be sent, they are
    dropped, and that is said once.

    Parameters
    ----------
    group : name of the log group, which is made where it does not exist. The log stream is named by host and process.

    Raises
    ------
    InputError
        The name is none, or watchtower is not installed.
    """

    def __init__(self, group: str) -> None:
        super().__init__()
        if not _GROUP_NAME.fullmatch(group):
            raise InputError(
                f"AGENTFLOW_LOG_GROUP={group!r} is no name of a log group.",
                fix="Take letters, digits and _ - / # . only, as in /aws/agentflow/app.",
            )
        if importlib.util.find_spec("watchtower") is None:
            raise InputError(
                f"Logging to {group} (AGENTFLOW_LOG_GROUP) needs the package watchtower.",
                fix="Run: pip install 'agentflow-bedrock[ops]'.",
            )
        self.group = group
        self.dropped = 0
        self._waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._is_lost = False  # nothing can be sent
        self._sender: Any = None
        threading.Thread(target=self._serve, name="agentflow-cloudwatch-logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in; never blocks and never raises."""
        if self._is_lost or self._waiting.qsize() >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.put(record)

    def _serve(self) -> None:
        try:
            self._sender = self._make_sender()
        except Exception as error:  # noqa: BLE001 - no credentials, no rights, no network: the runs go on
            self._is_lost = True
            _log.warning("nothing is logged to %s of CloudWatch: %s", self.group, error)
            return
        while True:
            record = self._waiting.get()
            if self._is_full():
                self.dropped += 1
            else:
                self._sender.handle(record)

    def _make_sender(self) -> Any:
        import watchtower

        sender = watchtower.CloudWatchLogHandler(
            log_group_name=self.group,
            log_stream_name=f"{platform.node() or 'host'}/{os.getpid()}",
            send_interval=SEND_EVERY_SECONDS,
            boto3_client=aws_client("logs"),
        )
        sender.FLUSH_TIMEOUT = EXIT_SECONDS
        sender.setFormatter(JsonFormatter())
        return sender

    def _is_full(self) -> bool:
        """Return whether what was handed on cannot be sent as fast as it comes."""
        behind: int = sum(waiting.qsize() for waiting in self._sender.queues.values())
        return behind >= MOST_WAITING

    def flush(self) -> None:
        """Send what has been taken in, for some seconds at most."""
        until = time.monotonic() + EXIT_SECONDS
        while not self._is_lost and time.monotonic() < until and (self._sender is None or not self._waiting.empty()):
            time.sleep(0.01)
        if self._sender is not None:
            self._sender.flush()
