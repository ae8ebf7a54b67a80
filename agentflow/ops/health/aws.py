"""AWS as this process's settings reach it: clients that give up soon, and what their errors mean."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, TypeVar

from agentflow.core.errors import ModelCallError
from agentflow.local.errors import LocalEndpointError
from agentflow.models.bedrock_client import BedrockClient
from agentflow.models.catalog import load_catalog
from agentflow.models.faults import Place, code_of, explain
from agentflow.models.transport import LOCAL, existing_profile
from agentflow.ops.cloudwatch import aws_region
from agentflow.ops.health.report import Check, State
from agentflow.utils.env import setting
from agentflow.utils.redaction import redacted
from agentflow.utils.threads import DaemonPool

CONNECT_SECONDS = 2
READ_SECONDS = 4

_AT_BEDROCK = ("bedrock-runtime", "bedrock", "service-quotas")  # what the local endpoint stands for
_DENIED = {"accessdenied", "accessdeniedexception", "unauthorizedoperation", "authorizationerror", "403"}
_UNREACHED = {"network", "timeout"}
_CONNECTION = re.compile(r"^\w*Connection\([^)]*\): ")  # urllib3's, in front of its words

T = TypeVar("T")


@cache
def pool() -> DaemonPool:
    """Return the threads of health checks: those of the runs may all be busy when somebody asks what is wrong."""
    return DaemonPool(24, "agentflow-health")


class TookTooLong(Exception):  # noqa: N818 - not `TimeoutError`, which others raise for reasons of their own
    """A check, or what it waited for, did not end in its time."""


class Aws:
    """One session of boto3's, and clients of it.

    Raises
    ------
    DefinitionError, SettingError
        A setting cannot be used.
    """

    def __init__(self) -> None:
        self.bedrock = BedrockClient()
        self.profile = setting("AWS_PROFILE").value
        self._lock = threading.Lock()

    @property
    def region(self) -> str:
        """The region that is called."""
        return self.bedrock.region

    @property
    def profile_option(self) -> str:
        """The option of the AWS command line that names the profile; empty without one."""
        return f" --profile {self.profile}" if self.profile and existing_profile(self.profile) else ""

    @property
    def bedrock_url(self) -> str | None:
        """The URL of the Bedrock endpoint, None for Amazon's; the local one is started for it. Blocks.

        Raises
        ------
        LocalEndpointError
            The local endpoint does not start.
        """
        if self.bedrock.endpoint_url != LOCAL:
            return self.bedrock.endpoint_url
        if isinstance(self._local_url, LocalEndpointError):
            raise self._local_url
        return self._local_url

    @cached_property
    def _local_url(self) -> str | LocalEndpointError:
        """The local endpoint, or why it does not start: it is tried once."""
        from agentflow.local.launch import local_endpoint_url

        try:
            return local_endpoint_url()
        except LocalEndpointError as error:
            return error

    def session(self) -> Any:
        """Return boto3's session. Blocks.

        Raises
        ------
        ProfileNotFound
            There is no such profile.
        """
        with self._lock:
            return self._session

    @cached_property
    def _session(self) -> Any:
        import boto3

        return boto3.Session(profile_name=existing_profile(self.profile))

    def client(self, service: str, *, signed: bool = True) -> Any:
        """Return a client of a service, which sends one request and gives up after some seconds. Blocks."""
        import botocore
        from botocore.config import Config

        here = self.bedrock.on_this_machine and service in _AT_BEDROCK
        url = self.bedrock_url if here or service == "bedrock-runtime" else None
        # Neither needs real keys, and to look for some takes seconds on a machine that has none.
        keys = {} if signed and not here else {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            **({"signature_version": "v4", "proxies": {}} if here else {}),  # as models/transport.py has it
        )
        if not signed:
            config.signature_version = botocore.UNSIGNED
        with self._lock:  # a session makes one client at a time, and looks for credentials once for all of them
            region = self.region if service in _AT_BEDROCK else aws_region()
            return self._session.client(service, region_name=region, endpoint_url=url, config=config, **keys)

    def explained(self, error: Exception, what: str, renewal: str = "") -> ModelCallError:
        """Return what one of botocore's errors means when `what` was called."""
        place = Place(what, self.region, None, "its inference profile", profile_option=self.profile_option)
        return explain(error, place._replace(renewal=renewal) if renewal else place)

    def failed(self, error: Exception, what: str, action: str, *, state: State = "failed") -> Check:
        """Return what an error of a service means for a check.

        Parameters
        ----------
        what : the service, as in a sentence.
        action : of IAM, which the caller's policy must allow.
        state : of a check that was refused or found nobody.
        """
        if code_of(error).lower() in _DENIED:
            said = redacted(str(response_of(error).get("Error", {}).get("Message", "")))
            return Check(state, f"{what} refused: {said or code_of(error)}", f"Add {action} to the caller's policy.")
        if not is_aws_error(error):
            raise error
        explained = self.explained(error, what)
        if explained.kind in _UNREACHED:
            fix = f"Check the network, the region, and in a private network the VPC endpoint of {what}."
            return Check(state, f"{what} cannot be reached: {reason_of(error)}", fix)
        return Check(state, explained.what, "See credentials." if explained.kind == "auth" else explained.fix)


def response_of(error: Exception) -> Mapping[str, Any]:
    """Return the response that an error of botocore's has; an empty one where there was none."""
    return getattr(error, "response", None) or {}


def reason_of(error: Exception) -> str:
    """Return why botocore found no connection, without the names of its classes and the whole URL."""
    reason = getattr(error, "kwargs", {}).get("error") or error
    if reason.args and isinstance(reason.args[-1], Exception):  # urllib3's, around the system's own
        reason = reason.args[-1]
    return redacted(_CONNECTION.sub("", str(reason)))


def is_aws_error(error: Exception) -> bool:
    """Return whether an error is one of botocore's."""
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, BotoCoreError | ClientError)


async def on_thread(call: Callable[[], T]) -> T:
    """Run a blocking call on a thread of the health checks, and wait for it; a cancelled wait abandons it."""
    return await pool().run(call)


def catalog_name(model_id: str) -> str:
    """Return the catalog's name of a model, or its id where the catalog does not know it."""
    return load_catalog().name_of(model_id) or model_id
