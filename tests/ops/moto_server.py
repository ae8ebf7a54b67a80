"""A moto server that stands for AWS, and clients of it."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

Client = Callable[[str], Any]

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's


@pytest.fixture(scope="module")
def aws() -> Iterator[Client]:
    """Give what makes a client of a service."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()  # all servers of a process have the same account
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}

    def client(service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=f"http://{host}:{port}", **keys)

    yield client
    urllib.request.urlopen(reset).close()
    server.stop()
