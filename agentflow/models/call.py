"""One logical call of a model: its attempts, its retries, and the reply with what they took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import unquote

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from agentflow.core.errors import AgentFlowError, EndpointError, ModelCallError, UnknownModelError
from agentflow.core.events import current_step, report_attempt, report_reply
from agentflow.core.model import ABANDONED, Attempt, Reply, Request
from agentflow.local.errors import LocalEndpointError
from agentflow.local.facts import MODEL_HEADER
from agentflow.models import converse
from agentflow.models.catalog import Catalog, ResolvedModel
from agentflow.models.faults import Place, code_of, explain
from agentflow.models.transport import Transport

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0


class Route(NamedTuple):
    """The way that calls take."""

    region: str
    link: Transport
    on_this_machine: bool
    max_retries: int
    catalog: Catalog


class Answered(NamedTuple):
    """What an attempt brought: the answer, botocore's metadata of the response, the time to the first token."""

    answer: converse.Answer
    metadata: Mapping[str, Any]
    ttft_ms: float | None


class Call:
    """One logical call: its attempts, retries and what they took."""

    def __init__(self, route: Route, model: str | None, request: Request) -> None:
        self.resolved: ResolvedModel = route.catalog.resolve(model, route.region)
        self.shown = False  # text has reached the caller: a retry would show it twice
        self._route = route
        self._request = request
        self._scope = current_step.get()
        self._attempts: list[Attempt] = []
        self._queue_ms = 0.0

    async def run(self, send: Callable[[Any, dict[str, Any]], Answered]) -> Reply:
        """Send the request until it is answered, and return the reply.

        Parameters
        ----------
        send : asks boto3's client, on a thread, with the arguments of the operation.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._route.max_retries + 1),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception(lambda error: isinstance(error, _AttemptFailed) and error.explained.retryable),
            before_sleep=self._before_retry,
            reraise=True,
        )
        scope = self._scope
        if scope is not None and scope.run.replays and (kept := scope.run.recall(scope, self.key)) is not None:
            return kept  # answered before the run was stopped: it is in the run's record, and was paid
        try:
            return await retrying(self._attempt, send)
        except _AttemptFailed as failed:
            self._report(failed.attempt)
            raise failed.explained from failed.__cause__

    async def _attempt(self, send: Callable[[Any, dict[str, Any]], Answered]) -> Reply:
        link = self._route.link
        earlier = tuple(self._attempts)
        number = len(earlier) + 1
        queued = time.perf_counter()
        sent: float | None = None
        started_at = datetime.now(UTC)
        given_up = False

        def elapsed_ms() -> float:
            return (time.perf_counter() - (sent or queued)) * 1000

        def work() -> Reply:
            nonlocal sent, started_at
            queue_ms = self._queue_ms + elapsed_ms()
            boto_client = link.client()
            if self._scope is not None and not earlier:
                self._scope.run.wait_until_durable()  # the journal has the run before anything is paid for it
            if given_up:
                raise _GivenUp
            sent, started_at = time.perf_counter(), datetime.now(UTC)
            answered = send(boto_client, self._arguments())
            latency_ms, metadata = elapsed_ms(), answered.metadata
            attempt = Attempt(
                number,
                started_at,
                latency_ms,
                http_status=metadata["HTTPStatusCode"],
                request_id=metadata.get("RequestId"),
            )
            reply = self._reply(answered, (*earlier, attempt), latency_ms, queue_ms)
            if self._scope is not None:  # here, and not after the wait: that may have been cancelled
                self._scope.run.keep_answer(self._scope, self.key, self._request, reply)
            return reply

        try:
            reply = await link.pool.run(work)
        except asyncio.CancelledError:
            given_up = True
            if sent is not None:  # it may still be answered, and billed
                self._report(Attempt(number, started_at, elapsed_ms(), error_code=ABANDONED))
            raise
        except (AgentFlowError, LocalEndpointError):
            raise
        except Exception as error:
            attempt = Attempt(
                number,
                started_at,
                elapsed_ms(),
                error_code=code_of(error),
                http_status=_metadata(error).get("HTTPStatusCode"),
                request_id=_metadata(error).get("RequestId"),
            )
            explained = self._explain(error, link.endpoint_url)
            if isinstance(explained, EndpointError):
                link.reconnect()
            raise _AttemptFailed(attempt, explained) from error
        self._queue_ms = reply.queue_ms
        self._report(reply.attempts[-1])
        report_reply(reply)
        return reply

    @cached_property
    def key(self) -> str:
        """What tells this request from every other one, whichever region it is sent to."""
        return converse.request_key(self.resolved.name, self._body())

    def _body(self) -> dict[str, Any]:
        spec = self.resolved.spec
        return converse.request_body(self._request, json_schema=bool(spec and spec.json_schema))

    def _arguments(self) -> dict[str, Any]:
        return {"modelId": self.resolved.model_id, **self._body()}

    def _reply(self, answered: Answered, attempts: tuple[Attempt, ...], latency_ms: float, queue_ms: float) -> Reply:
        answer, metadata, ttft_ms = answered
        resolved = self.resolved
        # Only an endpoint on this machine is believed when it says that a local model answered, free of charge.
        local_model = metadata.get("HTTPHeaders", {}).get(MODEL_HEADER) if self._route.on_this_machine else None
        bedrock_usd = resolved.cost(answer.usage)
        return Reply(
            text=answer.text,
            model=f"local · {unquote(local_model)}" if local_model else resolved.name,
            model_id=resolved.model_id,
            region=self._route.region,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            latency_ms=latency_ms,
            ttft_ms=ttft_ms,
            queue_ms=queue_ms,
            retry_wait_ms=sum(attempt.wait_ms for attempt in attempts),
            attempts=attempts,
            cost_usd=Decimal(0) if local_model else bedrock_usd,
            bedrock_usd=bedrock_usd,
            price_date=resolved.prices.dated.isoformat(),
            request_id=metadata.get("RequestId"),
        )

    def _explain(self, error: Exception, url: str | None) -> ModelCallError:
        region = self._route.region
        try:
            profile = self._route.catalog.resolve(self.resolved.name, region).model_id if self.resolved.spec else None
        except UnknownModelError:  # none that serves this region
            profile = None
        explained = explain(error, Place(self.resolved.model_id, region, url, profile or "its inference profile"))
        explained.retryable = explained.retryable and not self.shown
        return explained

    def _before_retry(self, state: RetryCallState) -> None:
        """Write a failed attempt down, with the pause that follows it."""
        failed = state.outcome.exception() if state.outcome else None
        if isinstance(failed, _AttemptFailed) and state.next_action is not None:
            self._report(replace(failed.attempt, wait_ms=state.next_action.sleep * 1000))

    def _report(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        report_attempt(attempt, self.resolved.model_id)


class _AttemptFailed(Exception):  # noqa: N818 - carries an attempt to the retry, and is never seen outside
    """An attempt failed; `explained` is what the caller will see if it is not tried again."""

    def __init__(self, attempt: Attempt, explained: ModelCallError) -> None:
        super().__init__(str(explained))
        self.attempt = attempt
        self.explained = explained


class _GivenUp(Exception):  # noqa: N818 - as above; nobody waits for it
    """The wait for a call was cancelled before it was sent."""


def _metadata(error: Exception) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return metadata
