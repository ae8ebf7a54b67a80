"""The connection to one Bedrock endpoint: boto3's client, and the threads that its blocking calls run on.

boto3 has no asyncio, so every call runs on a thread. The threads are as many as the connections: more would open
connections that are thrown away again, fewer would leave connections idle.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from agentflow.core.errors import CredentialsError
from agentflow.models.credentials import BEARER, is_amazon, renewal, warn_of_endpoint
from agentflow.utils.env import bedrock_key_is_set
from agentflow.utils.threads import DaemonPool

if TYPE_CHECKING:
    import botocore.session

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 300  # Converse sends no byte until the answer is complete
LOCAL = "local"


# What a forked child must neither use nor free: to free a client takes 20 ms, at each fork, and copies its memory.
_of_parent: list[Any] = []


class Target(NamedTuple):
    """Where calls go. `endpoint_url` is None for Amazon's own, or `local`, or a URL."""

    region: str
    endpoint_url: str | None
    profile: str | None
    max_connections: int


class Transport:
    """boto3's client for a target, and its threads. Made at the first call, shared by all clients of the process."""

    def __init__(self, target: Target) -> None:
        self.pool = DaemonPool(target.max_connections, "agentflow-bedrock")
        self.target = target
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # a child must not write into its parent's connections
        self.endpoint_url: str | None = None if target.endpoint_url == LOCAL else target.endpoint_url

    @property
    def profile_option(self) -> str:
        """The option of the AWS command line that names the profile; empty without one."""
        return f" --profile {self.target.profile}" if self.target.profile else ""

    @property
    def renewal(self) -> str:
        """What to do when the credentials in use have expired."""
        return renewal(self._method, self.profile_option)

    def _reset(self) -> None:
        if client := getattr(self, "_client", None):
            _of_parent.append(client)
        self._lock = threading.Lock()
        self._client: Any = None
        self._method: str | None = None

    def client(self) -> Any:
        """Return boto3's client; starts the local endpoint where that is the target. Blocks: call it on a thread.

        Raises
        ------
        CredentialsError
            The profile does not exist, or the only credentials are a Bedrock API key and the endpoint is not Amazon's.
        LocalEndpointError
            The local endpoint does not start.
        """
        with self._lock:
            if self._client is None:
                if self.target.endpoint_url == LOCAL:
                    from agentflow.local.launch import local_endpoint_url

                    self.endpoint_url = local_endpoint_url()
                self._client = self._new_client(self.endpoint_url)
            return self._client

    @property
    def is_open(self) -> bool:
        """Whether `client` has one, and does not block."""
        return self._client is not None

    def reconnect(self) -> None:
        """Look for the endpoint anew at the next call: a local one that has died is started again."""
        with self._lock:
            self._client = None

    def quotas_client(self) -> Any:
        """Return a new client of Service Quotas, with the same credentials and region. Blocks: call it on a thread."""
        return _session(existing_profile(self.target.profile)).create_client(
            "service-quotas", region_name=self.target.region
        )

    def _new_client(self, url: str | None) -> Any:
        import botocore.session
        from botocore.config import Config

        from agentflow import __version__

        on_this_machine = is_loopback(url)
        session = _session(existing_profile(self.target.profile))
        config = Config(
            # One request an attempt: the retries are ours, and each is seen as an attempt in the tables.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=self.target.max_connections,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            tcp_keepalive=True,
            # A text of our own: botocore would make one anew, twice, for each request (a tenth of its time).
            user_agent=f"{session.user_agent()} agentflow/{__version__}",
            # An endpoint on this machine gets neither real keys (nor a bearer key, which needs https) nor a proxy.
            **({"signature_version": "v4", "proxies": {}} if on_this_machine else {}),
        )
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if on_this_machine else {}
        try:
            new_client = partial(
                session.create_client, "bedrock-runtime", region_name=self.target.region, endpoint_url=url, **keys
            )
            client = new_client(config=config)
        except botocore.exceptions.ProfileNotFound as error:
            known = ", ".join(botocore.session.Session().available_profiles) or "none"
            raise CredentialsError(
                f"There is no AWS profile {self.target.profile!r}.",
                fix=f"Profiles: {known}. Set AWS_PROFILE or profile_name to one, or run `aws configure`.",
                kind="auth",
            ) from error
        if on_this_machine:
            return client
        self._method = BEARER if bedrock_key_is_set() else getattr(session.get_credentials(), "method", None)
        host = client.meta.endpoint_url  # also where AWS_ENDPOINT_URL or the profile names another than Amazon's
        if is_amazon(host) or is_loopback(host):
            return client
        warn_of_endpoint(host)
        if not bedrock_key_is_set():
            return client
        # A bearer key goes to Amazon's hosts only: whoever gets it can use it.
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsError(
                f"The Bedrock API key of AWS_BEARER_TOKEN_BEDROCK is sent to Amazon's hosts only, and {host} is none.",
                fix="Unset BEDROCK_ENDPOINT_URL, or give this endpoint AWS access keys of its own.",
                kind="auth",
            )
        self._method = credentials.method
        return new_client(config=config.merge(Config(signature_version="v4")))


@cache
def transport(target: Target) -> Transport:
    """Return the one transport of the process for a target."""
    return Transport(target)


def _session(profile: str | None) -> botocore.session.Session:
    """Return a session with that profile. The profile was already chosen: botocore is not to read AWS_PROFILE again."""
    import botocore.session

    return botocore.session.Session(session_vars={"profile": (None, None, profile, None)})


def existing_profile(profile: str | None) -> str | None:
    """Return a profile's name, or None for a `default` that does not exist, as on a machine with a role."""
    if profile == "default" and profile not in _session(None).available_profiles:
        return None
    return profile


def profile_region(profile: str | None) -> str | None:
    """Return the region that the AWS configuration names for a profile, if any."""
    import botocore.exceptions

    try:
        region: str | None = _session(existing_profile(profile)).get_scoped_config().get("region")
    except botocore.exceptions.BotoCoreError:  # no such profile, or a file that cannot be read
        return None  # the first call says so, with the fix
    return region


def is_loopback(url: str | None) -> bool:
    """Return whether a URL leads to this machine."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
