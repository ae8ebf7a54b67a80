"""The health check: all that runs depend on, looked at concurrently, with at most one call of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from agentflow.core.errors import AgentFlowError, described
from agentflow.core.model import Reply
from agentflow.local.errors import LocalEndpointError
from agentflow.ops.health import bedrock, cloudwatch, identity, machine, models
from agentflow.ops.health.aws import Aws, TookTooLong, is_aws_error, on_thread
from agentflow.ops.health.bedrock import Contact
from agentflow.ops.health.models import UsedModels
from agentflow.ops.health.report import Check, Health
from agentflow.utils.env import SettingError
from agentflow.utils.redaction import redacted

START_SECONDS = 60.0  # for the local endpoint to load its model
CALL_SECONDS = 8.0  # for a model to answer with 10 tokens
LIMIT_SECONDS = 10.0  # for a check, with all that it waits for

_FIRST = "bedrock_connectivity"

T = TypeVar("T")


async def health_check(*, call: bool = True, config: Path | str | None = None) -> Health:
    """Check what runs depend on, and return the operation runbook's dictionary, with a figure and a fix for each check.

    Parameters
    ----------
    call : whether the catalog's fast model is asked for 10 tokens, once; without it nobody knows whether that may be.
    config : the deployment's configuration, whose workflows say which models are used; default
        `config/deployment_config.yaml`, where it is there.

    Returns
    -------
    Health
        A dictionary: `bedrock_connectivity`, `model_access`, `cloudwatch_logs`, `metrics`, `credentials`, `clock_skew`,
        `region`, `inference_profiles`, `quota_headroom`, `store`, `disk`, `versions`, `retired_models`. Each value is
        true or false as a truth value, and has `state`, `figure` and `fix`; what is not configured is false, and no
        failure. `health.ok` says whether nothing failed; `health.to_frame()` is a table.

    Examples
    --------
    >>> health = await agentflow.health_check()   # doctest: +SKIP
    >>> health["model_access"], health["model_access"].figure   # doctest: +SKIP
    """
    return await Checkup(call=call, config=None if config is None else Path(config)).run()


class Checkup:
    """The checks of one moment. What several of them need is asked for once."""

    def __init__(self, *, call: bool, config: Path | None = None) -> None:
        self._call = call
        self._config = config
        self._broken: Exception | None = None  # why there is no client of Bedrock at all
        self._shared: dict[str, asyncio.Task[Any]] = {}
        self._checks: Mapping[str, Callable[[], Awaitable[Check]]] = {
            _FIRST: self._bedrock_connectivity,
            "model_access": self._model_access,
            "cloudwatch_logs": self._cloudwatch_logs,
            "metrics": self._metrics,
            "credentials": self._credentials,
            "clock_skew": self._clock_skew,
            "region": self._region,
            "inference_profiles": lambda: self._of_models(models.inference_profiles),
            "quota_headroom": lambda: self._of_models(models.quota_headroom),
            "store": lambda: on_thread(machine.store),
            "disk": lambda: on_thread(machine.disk),
            "versions": lambda: on_thread(machine.versions),
            "retired_models": self._retired_models,
        }

    @cached_property
    def aws(self) -> Aws:
        """AWS as the settings say.

        Raises
        ------
        DefinitionError, SettingError
            A setting cannot be used.
        """
        return Aws()

    async def run(self, names: Collection[str] | None = None) -> Health:
        """Return what the checks find, or some of them; none of them hides or holds up another."""
        beginning = await _outcome(on_thread(lambda: self.aws.bedrock_url), START_SECONDS)
        self._broken = beginning if isinstance(beginning, Exception) else None
        wanted = [name for name in self._checks if names is None or name in names]
        try:
            found = await asyncio.gather(*map(self._named, wanted))
            return Health(zip(wanted, found, strict=True), await self._place())
        finally:
            for task in self._shared.values():
                task.cancel()

    async def _named(self, name: str) -> Check:
        check = await _checked(self._checks[name]())
        if self._broken is None or name == _FIRST or check.figure != failure(self._broken).figure:
            return check
        return Check("not checked", "it needs a client of Bedrock, and none can be made", f"See {_FIRST}.")

    async def _once(
        self, name: str, work: Callable[[], Coroutine[Any, Any, T]], seconds: float | None = None
    ) -> T | Exception:
        """Return what some work brings, or its error; it is done once for all who ask."""
        if name not in self._shared:
            self._shared[name] = asyncio.create_task(_outcome(work(), seconds or LIMIT_SECONDS))
        found: T | Exception = await asyncio.shield(self._shared[name])
        return found

    async def _contact(self) -> Contact | Exception:
        return await self._once("contact", lambda: on_thread(lambda: bedrock.contact(self.aws)))

    async def _answer(self) -> Reply | Exception | None:
        return await self._once("answer", self._ask, CALL_SECONDS) if self._call else None

    async def _ask(self) -> Reply:
        await on_thread(lambda: self.aws.bedrock_url)
        return await self.aws.bedrock.check_access()

    async def _used(self) -> UsedModels:
        used = await self._once("used", lambda: on_thread(lambda: models.used_models(self.aws, self._config)))
        if isinstance(used, Exception):
            raise used
        return used

    async def _place(self) -> str:
        try:
            client = self.aws.bedrock
        except (AgentFlowError, ValueError):  # the settings cannot be used, as the checks say
            return "an unknown place"
        met = await self._contact()
        who = f"local · {met.label} at {met.host}" if isinstance(met, Contact) and met.label else client.endpoint_url
        return f"{client.region} · {who or 'Amazon Bedrock'}"

    async def _bedrock_connectivity(self) -> Check:
        met = await self._contact()
        return bedrock.bedrock_connectivity(met, None if isinstance(met, Contact) else await self._answer())

    async def _model_access(self) -> Check:
        answered = await self._answer()
        if answered is None:
            return await on_thread(lambda: bedrock.access_without_call(self.aws))
        return bedrock.model_access(answered)

    async def _cloudwatch_logs(self) -> Check:
        found = await self._once("logs", lambda: on_thread(lambda: cloudwatch.cloudwatch_logs(self.aws)))
        if isinstance(found, Exception):
            raise found
        return found

    async def _metrics(self) -> Check:
        logs = await _checked(self._cloudwatch_logs())
        return await on_thread(lambda: cloudwatch.metrics(self.aws, logs))

    async def _credentials(self) -> Check:
        found = await on_thread(lambda: identity.credentials(self.aws))
        return found if found.state == "failed" else identity.refused(found, await self._answer())

    async def _clock_skew(self) -> Check:
        return bedrock.clock_skew(await self._contact(), await self._answer())

    async def _region(self) -> Check:
        met = await self._contact()
        return await on_thread(lambda: bedrock.region(self.aws, met))

    async def _of_models(self, check: Callable[[Aws, UsedModels], Check]) -> Check:
        used = await self._used()
        return await on_thread(partial(check, self.aws, used))

    async def _retired_models(self) -> Check:
        return models.retired_models(await self._used())


async def _outcome(work: Awaitable[T], seconds: float) -> T | Exception:
    """Return what some work brings, or its error, within a time."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return TookTooLong(f"there was no answer within {seconds:g} s")
    except Exception as error:  # noqa: BLE001 - whatever it is, other checks go on
        return error


async def _checked(work: Awaitable[Check]) -> Check:
    """Return a check; one that raises has failed."""
    found = await _outcome(work, LIMIT_SECONDS)
    return found if isinstance(found, Check) else failure(found)


def failure(error: Exception) -> Check:
    """Return the check that has failed by an error."""
    if isinstance(error, TookTooLong):
        return Check("failed", str(error), "Check the network, its firewall, and in a private one the VPC endpoints.")
    if isinstance(error, AgentFlowError):
        return Check("failed", error.what, error.fix)
    if isinstance(error, SettingError | LocalEndpointError):  # they say what to do themselves
        return Check("failed", str(error))
    if is_aws_error(error):  # such as a profile that is not there, with which no service was asked
        explained = Aws().explained(error, "AWS")
        return Check("failed", explained.what, explained.fix)
    return Check("failed", redacted(described(error)))
