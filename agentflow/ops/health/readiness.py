"""Whether requests can be answered now: by the last result of real traffic, else by one probe a minute."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agentflow.core.errors import AgentFlowError
from agentflow.models.faults import kind_of
from agentflow.ops.health.aws import catalog_name
from agentflow.ops.health.checkup import Checkup
from agentflow.store.checkup import PastRequest, newest_requests
from agentflow.utils.env import home_folder

FRESH_SECONDS = 60.0  # how long a result says how things are

# What one request met, and so would any other. A throttled or an invalid request was answered by Bedrock all the same.
_CONCERNS_ALL = {"auth", "network", "capacity", "timeout"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether requests can be answered, `by` what that was told, and when (UTC)."""

    ready: bool
    by: str
    said: str
    at: datetime

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "ready": self.ready,
            "by": self.by,
            "said": self.said,
            "at": self.at.isoformat(timespec="seconds"),
            "age_seconds": round((datetime.now(UTC) - self.at).total_seconds(), 1),
        }


class Readiness:
    """What is known now. Any thread may ask; those who ask at the same time share one probe.

    Parameters
    ----------
    call : whether a probe asks a model for 10 tokens; else it only reaches the endpoint.
    """

    def __init__(self, *, call: bool) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._probed: Verdict | None = None
        self._probed_at = 0.0

    def now(self) -> Verdict:
        """Return the verdict: the newest of the last minute, else that of a new probe. Blocks."""
        with self._lock:
            is_fresh = self._probed is not None and time.monotonic() - self._probed_at < FRESH_SECONDS
            known = [verdict for verdict in (_of_traffic(), self._probed if is_fresh else None) if verdict]
            if known:
                return max(known, key=lambda verdict: verdict.at)
            self._probed = asyncio.run(self._probe())
            self._probed_at = time.monotonic()
            return self._probed

    async def _probe(self) -> Verdict:
        names = ("bedrock_connectivity", "model_access") if self._call else ("bedrock_connectivity",)
        health = await Checkup(call=self._call).run(names)
        told = [f"{name}: {health[name].figure}" for name in health.failed or names]
        return Verdict(health.ok, "probe", "; ".join(told), datetime.now(UTC))


def _of_traffic() -> Verdict | None:
    """Return what the newest request of the store's runs says; None where there was none in the last minute."""
    try:
        requests = newest_requests(home_folder(), datetime.now(UTC) - timedelta(seconds=FRESH_SECONDS))
    except AgentFlowError:  # a store that cannot be read says nothing of Bedrock
        return None
    return _verdict(requests[0]) if requests else None


def _verdict(request: PastRequest) -> Verdict:
    code = request.error_code
    model = catalog_name(request.model_id)
    said = f"{model} answered" if code is None else f"{model}: {code}"
    return Verdict(not _concerns_all(code), "traffic", f"{said} (run {request.run_id})", request.ended_at)


def _concerns_all(code: str | None) -> bool:
    from botocore.exceptions import ClientError

    return code is not None and kind_of(ClientError({"Error": {"Code": code}}, "Converse")) in _CONCERNS_ALL
