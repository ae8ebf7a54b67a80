from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endpoint import Endpoint, running


@pytest.fixture(scope="session")
def small_model() -> Iterator[Endpoint]:
    with running("--port", "0", "--model", "smollm2") as endpoint:
        yield endpoint


@pytest.fixture(params=["scripted_process", "small_model"])
def either(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(request.param)
    if request.param == "scripted_process":
        endpoint.reset()
    return endpoint
