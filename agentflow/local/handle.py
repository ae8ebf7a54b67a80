"""A running endpoint, as a program steers it: what it answers, what goes wrong, and what it has counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

_TIMEOUT_SECONDS = 30.0


class LocalBedrock:
    """The endpoint at a URL.

    Every method that sets something replaces what was set before; what is wrong with it is a ValueError that names
    the rule and the field.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def script(self, **script: Any) -> None:
        """Set what the scripted model answers (`agentflow.local.script`): with no argument it echoes."""
        self._set(script=script)

    def faults(self, *rules: Mapping[str, Any], seed: int = 0) -> None:
        """Set what goes wrong (`agentflow.local.fault_script`): with no rule nothing does."""
        self._set(faults=rules, seed=seed)

    def quotas(self, quotas: Mapping[str, Mapping[str, int]]) -> None:
        """Set the quotas, by the id or profile that is called (`agentflow.local.fault_script`); {} is none."""
        self._set(quotas=quotas)

    @cached_property
    def clock(self) -> LocalClock:
        """The clock by which caches end and quotas refill."""
        return LocalClock(self)

    def stats(self) -> Any:
        """Return what was counted since the last reset, as a dictionary (`agentflow.local.stats`)."""
        return self.get("/_stats")

    def reset(self) -> None:
        """Begin anew: an echo, no faults, no quotas, nothing counted, an empty prompt cache, the clock at 0."""
        self._set(faults=(), quotas={}, seed=0)
        if self.get("/_reset", {})["model"] == "scripted":
            self.script()

    @cached_property
    def client(self) -> Any:
        """A boto3 client of bedrock-runtime."""
        return self.new_client()

    def new_client(
        self,
        service: str = "bedrock-runtime",
        *,
        region: str = "us-east-1",
        connections: int = 10,
        read_timeout_seconds: float = 60.0,
    ) -> Any:
        """Return a boto3 client of this endpoint, with keys that are no secret and no retries of its own."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - the endpoint looks at no key
            config=Config(
                retries={"total_max_attempts": 1},
                max_pool_connections=connections,
                read_timeout=read_timeout_seconds,
            ),
        )

    def get(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON at a path of the endpoint's own; with a body it is posted.

        Raises
        ------
        ValueError
            The endpoint refuses it.
        OSError
            The endpoint does not answer.
        """
        import urllib.error
        import urllib.request

        # Past any proxy of the environment: it could not reach this machine's own address.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = None if body is None else json.dumps(body).encode()
        try:
            with opener.open(self.url + path, data=data, timeout=_TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["message"]) from error

    def _set(self, **settings: Any) -> None:
        self.get("/_config", settings)


class LocalClock:
    """The clock of an endpoint: real time since its last reset, until it is stopped or moved."""

    def __init__(self, endpoint: LocalBedrock) -> None:
        self._endpoint = endpoint

    def now(self) -> float:
        """Return the seconds since the last reset."""
        seconds: float = self._endpoint.stats()["clock_seconds"]
        return seconds

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._change(advance_seconds=seconds)

    def stop(self) -> None:
        """Let the clock stand, so that it moves only by `advance`."""
        self._change(stopped=True)

    def start(self) -> None:
        """Let the clock go on."""
        self._change(stopped=False)

    def _change(self, **change: Any) -> None:
        self._endpoint.get("/_config", {"clock": change})
