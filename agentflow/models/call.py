"""One logical call of a model: its attempts, its retries, and the reply with what they took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from tenacity import AsyncRetrying, RetryCallState

from agentflow.core.budget import Hold, budgets_in_force, hold
from agentflow.core.errors import (
    AgentFlowError,
    ConfigurationError,
    CredentialsError,
    EndpointError,
    ModelCallError,
    ThrottledError,
    UnknownModelError,
)
from agentflow.core.events import StepScope, current_step, report_attempt, report_reply
from agentflow.core.model import ABANDONED, Attempt, Reply, Request
from agentflow.core.time_limit import quota_wait
from agentflow.local.errors import LocalEndpointError
from agentflow.local.facts import MODEL_HEADER
from agentflow.models import converse
from agentflow.models.catalog import ResolvedModel
from agentflow.models.checks import check_request
from agentflow.models.failover import choose
from agentflow.models.faults import Place, code_of, explain, kind_of, may_be_billed
from agentflow.models.limiting.lane import Asked, Turn
from agentflow.models.retries import AttemptFailed, Patience, retry_budget
from agentflow.models.route import Destination, Route, destinations

_FALLS_BACK = {"throttle", "daily quota", "capacity"}  # another model may answer


class Answered(NamedTuple):
    """What an attempt brought: the answer, botocore's metadata of the response, the time to the first token."""

    answer: converse.Answer
    metadata: Mapping[str, Any]
    ttft_ms: float | None


Send: TypeAlias = Callable[[Any, dict[str, Any]], Answered]  # asks boto3's client, with the operation's arguments


class Call:
    """One logical call: its attempts, retries and what they took."""

    def __init__(self, route: Route, model: str | None, request: Request) -> None:
        self._targets: list[Destination] = destinations(route, model, request)
        self._fallback = route.fallback_model
        self.shown = False  # text has reached the caller: a retry would show it twice
        self.request = request
        self.scope = current_step.get()
        self.budgets = (*budgets_in_force(), *(self.scope.run.budgets if self.scope else ()))
        self.attempts: list[Attempt] = []
        self.queue_ms = 0.0
        self.target = self._targets[0]
        self.reason = ""  # why it is not the first choice
        self._failed: ModelCallError | None = None
        self._in_words: dict[str, Any] | None = None  # what is sent since the model refused to be made to call a tool
        self._deadline = None if self.scope else time.monotonic() + route.timeout_seconds  # a run has its own

    @property
    def route(self) -> Route:
        """The way that the call takes now."""
        return self.target.route

    @property
    def resolved(self) -> ResolvedModel:
        """The model that is asked now."""
        return self.target.resolved

    @property
    def most_usd(self) -> Decimal | None:
        """The dearest that an attempt can become."""
        return self.target.estimate.most_usd

    async def run(self, send: Send) -> Reply:
        """Send the request until it is answered, and return the reply.

        Parameters
        ----------
        send : asks boto3's client, on a thread, with the arguments of the operation.

        Raises
        ------
        ModelCallError
            The request cannot be answered, and was not sent; or the call failed, after its retries.
        """
        check_request(self._body, self.resolved)
        scope = self.scope
        if scope is None:
            return await self._ask(send)
        if scope.run.replays and (kept := self._recall(scope)) is not None:
            return kept  # answered before the run was stopped: it is in the run's record, and was paid
        if scope.run.reuse is None:
            return await self._ask(send)
        ask = partial(self._ask, send)
        reply = await scope.run.reuse.answer(self.key, self.route.place, self.request, ask)
        if reply.origin is not None:
            scope.run.note_reuse(scope, self.request, reply)
        return reply

    def _recall(self, scope: StepScope) -> Reply | None:
        kept = scope.run.recall(scope, self.key)
        if kept is None and self._fallback is not None:
            [first, *_] = destinations(self.route, self._fallback, self.request)
            body = converse.request_body(self.request, first.resolved.spec)
            kept = scope.run.recall(scope, converse.request_key(first.resolved.name, body))
        return kept

    async def _ask(self, send: Send) -> Reply:
        try:
            return await self._ask_model(send)
        except AttemptFailed as failed:
            self._report(failed.attempt)
            explained = failed.explained
            if self._fallback is None or self.shown or explained.kind not in _FALLS_BACK:
                raise explained from failed.__cause__
            self._fall_back(self._fallback, explained)
            return await self._ask(send)
        except ThrottledError as held_back:  # by the limiter
            if self._fallback is None:
                raise
            self._fall_back(self._fallback, held_back)
            return await self._ask(send)

    async def _ask_model(self, send: Send) -> Reply:
        try:
            return await self._attempt(send)  # without tenacity, which takes a twentieth of a call's CPU time
        except AttemptFailed as failed:
            earlier = [failed]
        patience = Patience(self.route.max_retries, self._deadline, bears_throttling=self._fallback is None)
        retrying = AsyncRetrying(
            stop=patience.stop,
            wait=patience.wait,
            retry=patience.retry,
            before_sleep=self._before_retry,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(self._attempt_after, earlier, send)

    async def _attempt_after(self, earlier: list[AttemptFailed], send: Send) -> Reply:
        """Fail as the earlier attempt did, once; then attempt it again."""
        if earlier:
            raise earlier.pop()
        return await self._attempt(send)

    def _fall_back(self, model: str, explained: ModelCallError) -> None:
        """Ask another model, which was wanted for the case that the first cannot answer."""
        asked = self.resolved.name
        self._targets = destinations(self._targets[0].route, model, self.request)
        self.target, self._fallback, self._failed = self._targets[0], None, None
        self._in_words = None
        self.reason = f"{asked} cannot answer: {explained.code or 'its quota has no room'}"
        for of_the_model in ("key", "_body"):  # the answer is kept as what it is: another model's
            self.__dict__.pop(of_the_model, None)
        try:
            check_request(self._body, self.resolved)
        except ModelCallError as refused:  # it cannot either: the caller sees why the first could not
            raise explained from refused

    def _choose(self) -> None:
        """Choose where the next attempt goes."""
        if len(self._targets) > 1 or self.target is not self._targets[0]:
            after = (self.route.name, self._failed) if self._failed else None
            position, why = choose(self._targets, after=after)
            self.target = self._targets[position]
            self.reason = why or self.reason
            self.target.breaker.begin()

    async def _attempt(self, send: Send) -> Reply:
        self._choose()
        target, link = self.target, self.route.link
        tokens, connections = target.estimate.input_tokens, self.route.connections
        gives_way = self._fallback is not None
        asked = Asked(self.scope, tokens, self.request.max_tokens, connections, self._deadline, gives_way)
        sending = _Sending(self, send)
        try:
            if not link.is_open:  # what this takes is no part of the turn
                await link.pool.run(link.client)
            async with target.lane.turn(asked) as turn:
                reply = await sending.run(turn)
        except asyncio.CancelledError:
            if sending.sent is not None:  # it may still be answered, and billed
                self._report(sending.attempt(error_code=ABANDONED, may_cost_usd=self.most_usd))
            raise
        except (AgentFlowError, LocalEndpointError):
            raise
        except Exception as error:
            raise self._failed_attempt(error, sending) from error
        self._report(reply.attempts[-1])
        report_reply(reply, self.request)
        return reply

    def _failed_attempt(self, error: Exception, sending: _Sending) -> AttemptFailed:
        metadata = _metadata(error)
        attempt = sending.attempt(
            error_code=code_of(error),
            http_status=metadata.get("HTTPStatusCode"),
            request_id=metadata.get("RequestId"),
            may_cost_usd=self.most_usd if may_be_billed(error) else Decimal(0),
        )
        explained = self._failed = self._explain(error, self.route.link.endpoint_url)
        if isinstance(explained, ConfigurationError | CredentialsError | EndpointError):
            self.route.link.reconnect()  # new credentials are found, as after `aws sso login`
        can_pass = explained.retryable
        if explained.kind == "daily quota":  # of this region
            self._targets = [target for target in self._targets if not target.lane.is_used_up] or self._targets
            can_pass = self.target not in self._targets and not self.shown
        self.reason = ""
        if (
            self._in_words is None
            and "toolChoice" in self._body.get("toolConfig", {})
            and _is_of_tool_choice(explained)
        ):
            self._in_words = converse.request_body(self.request, self.resolved.spec, in_words=True)
            self.reason, can_pass = "asked for JSON in words: the model cannot be made to call a tool", True
        return AttemptFailed(attempt, explained, can_pass=can_pass)

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
        body = self._in_words or self._body  # of which the key remains that of the request as it was first asked
        return {"modelId": self.resolved.model_id, **body, **converse.request_metadata(labels)}

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
        region, resolved, catalog, link = self.route.region, self.resolved, self.route.catalog, self.route.link
        spec = resolved.spec
        try:
            profile = catalog.resolve(resolved.name, region).model_id if spec else None
        except UnknownModelError:  # none that serves this region
            profile = None
        place = Place(
            model_id=resolved.model_id,
            region=region,
            endpoint_url=url,
            profile_hint=profile or "an inference profile of it",
            profile_kind=resolved.profile,
            bare_id=spec.id if spec else "" if resolved.model_id.startswith("arn:") else resolved.model_id,
            routed_to=catalog.routed_to(resolved.profile, region),
            successor=repr(spec.successor) if spec and spec.successor else "an active model",
            profile_option=link.profile_option,
            renewal=link.renewal,
        )
        explained = explain(error, place)
        explained.retryable = explained.retryable and not self.shown
        return explained

    def _before_retry(self, state: RetryCallState) -> None:
        """Write a failed attempt down, with the pause that follows it."""
        failed = state.outcome.exception() if state.outcome else None
        if isinstance(failed, AttemptFailed) and state.next_action is not None:
            self._report(replace(failed.attempt, wait_ms=state.next_action.sleep * 1000))

    async def _sleep(self, seconds: float) -> None:
        """Pause; where it is for a quota the time of the step stands still."""
        is_for_quota = self.scope is not None and self._failed is not None and self._failed.kind == "throttle"
        with quota_wait(self.scope) if self.scope and is_for_quota else nullcontext():
            await asyncio.sleep(seconds)

    def _report(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        report_attempt(attempt, self.resolved.model_id)


def _is_of_tool_choice(explained: ModelCallError) -> bool:
    """Return whether a request was refused since this model cannot be made to call a tool."""
    words = explained.what.lower()
    return explained.kind == "validation" and ("toolchoice" in words or "tool_choice" in words)


class _Sending:
    """One request on its way. `work` runs on a thread; whoever waits for it may give it up meanwhile."""

    def __init__(self, call: Call, send: Send) -> None:
        self.is_given_up = False
        self.sent: float | None = None
        self._call = call
        self._send = send
        self._reason = call.reason
        self._earlier = tuple(call.attempts)
        self._queued = time.perf_counter()
        self._started_at = datetime.now(UTC)

    def attempt(self, **known: Any) -> Attempt:
        """Return the attempt as it stands now, with the other fields as given."""
        elapsed_ms = (time.perf_counter() - (self.sent or self._queued)) * 1000
        region, reason = self._call.route.region, self._reason
        return Attempt(len(self._earlier) + 1, self._started_at, elapsed_ms, region=region, reason=reason, **known)

    async def run(self, turn: Turn) -> Reply:
        """Have `work` done on a thread."""
        self._turn = turn
        self._call.queue_ms += turn.queued_ms
        self._queued = time.perf_counter()
        try:
            return await self._call.route.link.pool.run(self.work)
        except asyncio.CancelledError:
            self.is_given_up = True
            raise

    def work(self) -> Reply:
        """Send the request, and return the reply once it is kept."""
        call, scope = self._call, self._call.scope
        call.queue_ms += (time.perf_counter() - self._queued) * 1000
        boto_client = call.route.link.client()
        held = hold(call.budgets, call.most_usd, call.resolved.name) if call.budgets else None
        self._started_at = datetime.now(UTC)
        if scope is not None:  # the journal has it before anything is paid
            scope.run.note_attempt(scope, len(self._earlier) + 1, self._started_at, call.most_usd)
        if self.is_given_up:
            if held:
                held.settle(Decimal(0))
            raise _GivenUp
        self._turn.sending()
        self.sent = time.perf_counter()
        try:
            answered = self._send(boto_client, call.arguments())
        except Exception as error:
            self._settle_failure(error, held)
            raise
        metadata = answered.metadata
        attempt = self.attempt(http_status=metadata["HTTPStatusCode"], request_id=metadata.get("RequestId"))
        reply = call.reply(answered, (*self._earlier, attempt), call.queue_ms)
        self._turn.answered(reply.usage, scope.run.prefix + scope.step_id if scope else None)
        call.target.breaker.ended(None)
        call.target.ask_quota()
        retry_budget.answered()
        if held:
            held.settle(reply.bedrock_usd)
        if scope is not None:  # here, and not after the wait: that may have been cancelled
            scope.run.keep_answer(scope, call.route.place, call.request, reply)
        return reply

    def _settle_failure(self, error: Exception, held: Hold | None) -> None:
        may_have_worked, kind = may_be_billed(error), kind_of(error)
        if held:
            held.settle(None if may_have_worked else Decimal(0))
        if kind == "throttle":
            self._turn.refused(str(error))
        elif kind == "daily quota":
            self._turn.used_up()
        else:
            self._turn.failed(may_have_worked=may_have_worked)
        self._call.target.breaker.ended(kind)


class _GivenUp(Exception):  # noqa: N818 - as above; nobody waits for it
    """The wait for a call was cancelled before it was sent."""


def _metadata(error: Exception) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return metadata
