"""One logical call of a model: its attempts, its retries, and the reply with what they took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from agentflow.core.budget import budgets_in_force, hold
from agentflow.core.errors import AgentFlowError, EndpointError, ModelCallError, UnknownModelError
from agentflow.core.events import current_step, report_attempt, report_reply
from agentflow.core.model import ABANDONED, Attempt, Reply, Request
from agentflow.local.errors import LocalEndpointError
from agentflow.local.facts import MODEL_HEADER
from agentflow.models import converse
from agentflow.models.catalog import Catalog, ResolvedModel
from agentflow.models.faults import Place, code_of, explain, may_be_billed
from agentflow.models.tokens import estimate
from agentflow.models.transport import Transport

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0


class Route(NamedTuple):
    """The way that calls take; `place` is what tells the answers there from those of Amazon Bedrock."""

    region: str
    link: Transport
    on_this_machine: bool
    max_retries: int
    place: str
    catalog: Catalog


class Answered(NamedTuple):
    """What an attempt brought: the answer, botocore's metadata of the response, the time to the first token."""

    answer: converse.Answer
    metadata: Mapping[str, Any]
    ttft_ms: float | None


Send: TypeAlias = Callable[[Any, dict[str, Any]], Answered]  # asks boto3's client, with the operation's arguments


class Call:
    """One logical call: its attempts, retries and what they took."""

    def __init__(self, route: Route, model: str | None, request: Request) -> None:
        self.resolved: ResolvedModel = route.catalog.resolve(model, route.region)
        self.shown = False  # text has reached the caller: a retry would show it twice
        self.request = request
        self.scope = current_step.get()
        self.budgets = (*budgets_in_force(), *(self.scope.run.budgets if self.scope else ()))
        self.attempts: list[Attempt] = []
        self.queue_ms = 0.0
        self.route = route

    async def run(self, send: Send) -> Reply:
        """Send the request until it is answered, and return the reply.

        Parameters
        ----------
        send : asks boto3's client, on a thread, with the arguments of the operation.
        """
        scope = self.scope
        if scope is None:
            return await self._ask(send)
        if scope.run.replays and (kept := scope.run.recall(scope, self.key)) is not None:
            return kept  # answered before the run was stopped: it is in the run's record, and was paid
        if scope.run.reuse is None:
            return await self._ask(send)
        ask = partial(self._ask, send)
        reply = await scope.run.reuse.answer(self.key, self.route.place, self.request, ask)
        if reply.origin is not None:
            scope.run.note_reuse(scope, self.request, reply)
        return reply

    async def _ask(self, send: Send) -> Reply:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.route.max_retries + 1),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception(lambda error: isinstance(error, _AttemptFailed) and error.explained.retryable),
            before_sleep=self._before_retry,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, send)
        except _AttemptFailed as failed:
            self._report(failed.attempt)
            raise failed.explained from failed.__cause__

    async def _attempt(self, send: Send) -> Reply:
        link = self.route.link
        sending = _Sending(self, send)
        try:
            reply = await link.pool.run(sending.work)
        except asyncio.CancelledError:
            sending.is_given_up = True
            if sending.sent is not None:  # it may still be answered, and billed
                self._report(sending.attempt(error_code=ABANDONED, may_cost_usd=self.most_usd))
            raise
        except (AgentFlowError, LocalEndpointError):
            raise
        except Exception as error:
            metadata = _metadata(error)
            attempt = sending.attempt(
                error_code=code_of(error),
                http_status=metadata.get("HTTPStatusCode"),
                request_id=metadata.get("RequestId"),
                may_cost_usd=self.most_usd if may_be_billed(error) else Decimal(0),
            )
            explained = self._explain(error, link.endpoint_url)
            if isinstance(explained, EndpointError):
                link.reconnect()
            raise _AttemptFailed(attempt, explained) from error
        self.queue_ms = reply.queue_ms
        self._report(reply.attempts[-1])
        report_reply(reply)
        return reply

    @cached_property
    def most_usd(self) -> Decimal | None:
        """The dearest that an attempt can become."""
        return estimate(self.resolved, self.request).most_usd

    @cached_property
    def key(self) -> str:
        """What tells this request from every other one, whichever region it is sent to."""
        return converse.request_key(self.resolved.name, self._body)

    @cached_property
    def _body(self) -> dict[str, Any]:
        return converse.request_body(self.request, self.resolved.spec)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of boto3's operation."""
        labels = self.scope.run.labels(self.scope) if self.scope else {}
        return {"modelId": self.resolved.model_id, **self._body, **converse.request_metadata(labels)}

    def reply(self, answered: Answered, attempts: tuple[Attempt, ...], queue_ms: float) -> Reply:
        """Return what the caller gets."""
        answer, metadata, ttft_ms = answered
        resolved = self.resolved
        # Only an endpoint on this machine is believed when it says that a local model answered, free of charge.
        local_model = metadata.get("HTTPHeaders", {}).get(MODEL_HEADER) if self.route.on_this_machine else None
        bedrock_usd = resolved.cost(answer.usage)
        return Reply(
            text=answer.text,
            model=f"local · {unquote(local_model)}" if local_model else resolved.name,
            model_id=resolved.model_id,
            region=self.route.region,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            latency_ms=attempts[-1].latency_ms,
            ttft_ms=ttft_ms,
            queue_ms=queue_ms,
            retry_wait_ms=sum(attempt.wait_ms for attempt in attempts),
            attempts=attempts,
            cost_usd=Decimal(0) if local_model else bedrock_usd,
            bedrock_usd=bedrock_usd,
            price_date=resolved.prices.dated.isoformat(),
            request_id=metadata.get("RequestId"),
            key=self.key,
            content=answer.content,
            tool_uses=answer.tool_uses,
            response_fields=answer.response_fields,
            trace=answer.trace,
        )

    def _explain(self, error: Exception, url: str | None) -> ModelCallError:
        region = self.route.region
        try:
            profile = self.route.catalog.resolve(self.resolved.name, region).model_id if self.resolved.spec else None
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
        self.attempts.append(attempt)
        report_attempt(attempt, self.resolved.model_id)


class _Sending:
    """One request on its way. `work` runs on a thread; whoever waits for it may give it up meanwhile."""

    def __init__(self, call: Call, send: Send) -> None:
        self.is_given_up = False
        self.sent: float | None = None
        self._call = call
        self._send = send
        self._earlier = tuple(call.attempts)
        self._queued = time.perf_counter()
        self._started_at = datetime.now(UTC)

    def attempt(self, **known: Any) -> Attempt:
        """Return the attempt as it stands now, with the other fields as given."""
        elapsed_ms = (time.perf_counter() - (self.sent or self._queued)) * 1000
        return Attempt(len(self._earlier) + 1, self._started_at, elapsed_ms, **known)

    def work(self) -> Reply:
        """Send the request, and return the reply once it is kept."""
        call, scope = self._call, self._call.scope
        queue_ms = call.queue_ms + (time.perf_counter() - self._queued) * 1000
        boto_client = call.route.link.client()
        held = hold(call.budgets, call.most_usd, call.resolved.name) if call.budgets else None
        self._started_at = datetime.now(UTC)
        if scope is not None:  # the journal has it before anything is paid
            scope.run.note_attempt(scope, len(self._earlier) + 1, self._started_at, call.most_usd)
        if self.is_given_up:
            if held:
                held.settle(Decimal(0))
            raise _GivenUp
        self.sent = time.perf_counter()
        try:
            answered = self._send(boto_client, call.arguments())
        except Exception as error:
            if held:
                held.settle(None if may_be_billed(error) else Decimal(0))
            raise
        metadata = answered.metadata
        attempt = self.attempt(http_status=metadata["HTTPStatusCode"], request_id=metadata.get("RequestId"))
        reply = call.reply(answered, (*self._earlier, attempt), queue_ms)
        if held:
            held.settle(reply.bedrock_usd)
        if scope is not None:  # here, and not after the wait: that may have been cancelled
            scope.run.keep_answer(scope, call.route.place, call.request, reply)
        return reply


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
