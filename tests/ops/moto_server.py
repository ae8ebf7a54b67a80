"""A moto server that stands for AWS, and clients of it."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

Client = Callable[[str], Any]

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's


@contextmanager
def running_moto() -> Iterator[str]:
    """Run a server until the end of the block, and give its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def reset(url: str) -> None:
    """Empty the account, which all servers of a process have in common."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()


@pytest.fixture(scope="module")
def aws() -> Iterator[Client]:
    """Give what makes a client of a service."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    with running_moto() as url:
        reset(url)
        yield lambda service: boto3.client(service, region_name=REGION, endpoint_url=url, **keys)
        reset(url)
