"""CloudWatch: its clients, and a handler that sends log records to a log group without ever holding anybody up."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - boto3 needs it, and it cannot be imported while the process ends
import importlib.util
import logging
import os
import platform
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from agentflow.core.errors import InputError
from agentflow.models.bedrock_client import DEFAULT_REGION
from agentflow.models.transport import existing_profile, profile_region
from agentflow.utils.env import setting
from agentflow.utils.logging import JsonFormatter
from agentflow.utils.redaction import redact_dependencies

MOST_WAITING = 100_000  # records; more are dropped
SEND_EVERY_SECONDS = 5  # a batch, or when it is full
EXIT_SECONDS = 5  # how long the end of the process waits for what is on its way

# Of PutLogEvents (Amazon CloudWatch Logs API Reference); each event counts its UTF-8 bytes and 26 more.
MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
MOST_BYTES_OF_EVENT = 1_000_000
EXTRA_BYTES = 26

_log = logging.getLogger(__name__)
_GROUP_NAME = re.compile(r"[\w.\-/#]{1,512}", re.ASCII)


def aws_client(service: str) -> Any:
    """Return boto3's client of a service, with the region and profile of the settings; it gives up soon. Blocks."""
    import boto3
    from botocore.config import Config

    redact_dependencies()
    profile = existing_profile(setting("AWS_PROFILE").value)
    config = Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"total_max_attempts": 2, "mode": "standard"},
        parameter_validation=False,  # it takes longer than all else of a log record, and requests are made here alone
    )
    return boto3.Session(profile_name=profile).client(service, region_name=aws_region(), config=config)


def aws_region() -> str:
    """Return the region of the settings, in which logs and metrics are kept."""
    region = setting("AWS_REGION").value or setting("AWS_DEFAULT_REGION").value
    return region or profile_region(setting("AWS_PROFILE").value) or DEFAULT_REGION


def check_log_group(group: str) -> None:
    """Refuse a log group that cannot be logged to, whatever AWS may say of it.

    Raises
    ------
    InputError
        The name is none, or watchtower is not installed.
    """
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
        check_log_group(group)
        self.group = group
        self.dropped = 0
        self._formatter = JsonFormatter()
        self._stream = f"{platform.node() or 'host'}/{os.getpid()}"
        self._waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._is_sending = True  # until all that was there has been sent
        self._is_closed = self._is_lost = False
        threading.Thread(target=self._serve, name="agentflow-cloudwatch-logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in; never blocks and never raises."""
        waiting = self._waiting.qsize()
        if self._is_lost or waiting >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.put(record)
        if waiting >= MOST_EVENTS:
            self._wake.set()

    def _serve(self) -> None:
        try:
            sender = self._sender()
        except Exception as error:  # noqa: BLE001 - no credentials, no rights, no network: the runs go on
            self._is_lost = True
            _log.warning("nothing is logged to %s of CloudWatch: %s", self.group, error)
            return
        while not (self._is_closed and self._waiting.empty()):
            self._wake.wait(SEND_EVERY_SECONDS)
            self._wake.clear()
            self._is_sending = True
            for events in self._batches():
                sender.send(events)
            self._is_sending = False

    def _sender(self) -> Any:
        """Return what sends batches: watchtower, which makes the stream and tries again."""
        import watchtower
        from botocore.exceptions import ClientError

        stream = self._stream

        class Sender(watchtower.CloudWatchLogHandler):
            """Without watchtower's own queue, which takes more of each record's time than all else together."""

            def send(self, events: list[dict[str, Any]]) -> None:
                self.sequence_tokens.setdefault(stream, None)
                self._submit_batch(events, stream)  # type: ignore[no-untyped-call]

        client = aws_client("logs")
        with suppress(ClientError):  # there is one, or this caller may not make groups: PutLogEvents will tell
            client.create_log_group(logGroupName=self.group)
        return Sender(self.group, stream, use_queues=False, boto3_client=client, create_log_group=False)

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """Return what waits, as batches that PutLogEvents takes."""
        events: list[dict[str, Any]] = []
        size = 0
        while not self._waiting.empty():
            record = self._waiting.get()
            line = self._formatter.format(record)
            bytes_ = len(line.encode("utf-8", "replace")) + EXTRA_BYTES
            if bytes_ > MOST_BYTES_OF_EVENT:
                self.dropped += 1
                continue
            if size + bytes_ > MOST_BYTES or len(events) >= MOST_EVENTS:
                yield events
                events, size = [], 0
            events.append({"timestamp": int(record.created * 1000), "message": line})
            size += bytes_
        if events:
            yield events

    def flush(self) -> None:
        """Send what has been taken in, for some seconds at most."""
        until = time.monotonic() + EXIT_SECONDS
        while not self._is_lost and time.monotonic() < until and (self._is_sending or not self._waiting.empty()):
            self._wake.set()
            time.sleep(0.01)

    def close(self) -> None:
        """Take in nothing more; what was taken in is still sent."""
        self._is_closed = True
        self._wake.set()
        super().close()
