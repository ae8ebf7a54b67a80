"""BedrockClient: asks a model on Amazon Bedrock, or on the local endpoint, and knows what every call took and cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from agentflow.core.errors import AgentFlowError, DefinitionError, EndpointError, ModelCallError
from agentflow.core.events import report_attempt, report_reply
from agentflow.core.model import DEFAULT_MAX_TOKENS, Attempt, Reply, Request
from agentflow.local.errors import LocalEndpointError
from agentflow.local.facts import MODEL_HEADER
from agentflow.models import converse
from agentflow.models.catalog import ModelType, ResolvedModel, load_catalog
from agentflow.models.faults import Place, code_of, explain
from agentflow.models.transport import LOCAL, Target, Transport, is_loopback, profile_region, transport
from agentflow.utils.env import setting

__all__ = ["BedrockClient", "ModelType", "ReplyStream"]

DEFAULT_REGION = "us-east-1"
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0


class BedrockClient:
    """A client for the models of one region. Cheap to make: connections are shared, and opened at the first call.

    Parameters
    ----------
    region_name : default `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's region, else us-east-1.
    endpoint_url : a URL; `local` for AgentFlow's own endpoint on this machine; default `BEDROCK_ENDPOINT_URL`, else
        Amazon's endpoint of the region.
    profile_name : an AWS profile; default `AWS_PROFILE`.
    max_connections : calls in flight at once; default `BEDROCK_MAX_CONNECTIONS`, else 10.

    Raises
    ------
    DefinitionError
        An argument cannot be used.
    SettingError
        A setting of the environment or of `.env` cannot be used.

    Examples
    --------
    >>> client = BedrockClient(endpoint_url="local")
    >>> reply = await client.invoke("haiku", "Say hello.", max_tokens=20)   # doctest: +SKIP
    """

    def __init__(
        self,
        region_name: str | None = None,
        *,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        max_connections: int | None = None,
    ) -> None:
        if max_connections is not None and max_connections < 1:
            raise DefinitionError(f"max_connections={max_connections} is less than 1.", fix="Give 1 or more.")
        self.endpoint_url = _checked_url(endpoint_url or setting("BEDROCK_ENDPOINT_URL").value)
        self.max_connections = max_connections or setting("BEDROCK_MAX_CONNECTIONS").whole_number(at_least=1)
        self.max_retries = setting("AGENTFLOW_MAX_RETRIES").whole_number(at_least=0)
        self._profile = profile_name or setting("AWS_PROFILE").value
        self._region_name = region_name

    @cached_property
    def region(self) -> str:
        """The region that is called."""
        return (
            self._region_name
            or setting("AWS_REGION").value
            or setting("AWS_DEFAULT_REGION").value
            or (None if self.on_this_machine else profile_region(self._profile))
            or DEFAULT_REGION
        )

    @cached_property
    def link(self) -> Transport:
        """The connection, which all clients of the process with the same settings share."""
        profile = None if self.on_this_machine else self._profile
        return transport(Target(self.region, self.endpoint_url, profile, self.max_connections))

    @property
    def on_this_machine(self) -> bool:
        """Whether calls stay on this machine: the local endpoint, or a URL of the loopback interface."""
        return self.endpoint_url == LOCAL or is_loopback(self.endpoint_url)

    def check(self, model: str | None) -> None:
        """Raise `UnknownModelError` where the name is no model of the catalog and no Bedrock id. Sends nothing."""
        load_catalog().resolve(model, self.region)

    async def invoke(
        self,
        model: str | None,
        prompt: str,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        system: str | None = None,
        temperature: float | None = None,
        stop_sequences: Sequence[str] = (),
        output_schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Reply:
        """Ask a model and return its whole answer.

        Parameters
        ----------
        model : a `ModelType`, an alias (`haiku`), a Bedrock id, profile or ARN; None is the catalog's fast model.
        prompt : the user's message.
        max_tokens : the most tokens of the answer.
        system : the system prompt.
        temperature : 0 to 1.
        stop_sequences : texts that end the answer.
        output_schema : a JSON schema for the answer, whose text is then JSON.
        seed : makes the local endpoint's sampling repeatable; not sent to Bedrock, whose models take none.

        Raises
        ------
        UnknownModelError
            The name is no model; nothing was sent.
        ModelCallError
            The call failed, after its retries; the subclass says how, and the message what to do.
        """
        request = Request(prompt, max_tokens, system, temperature, tuple(stop_sequences), output_schema, seed)
        return await self.answer(model, request)

    async def answer(self, model: str | None, request: Request) -> Reply:
        """Answer one request; what `invoke` does, for a `Request`."""
        call = _Call(self, model, request)

        def send(client: Any, arguments: dict[str, Any]) -> _Answered:
            response = client.converse(**arguments)
            answer = converse.parse_response(response)
            return _Answered(answer, response["ResponseMetadata"], None)

        return await call.run(send)

    def stream(
        self,
        model: str | None,
        prompt: str,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        system: str | None = None,
        temperature: float | None = None,
        stop_sequences: Sequence[str] = (),
        output_schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> ReplyStream:
        """Ask a model and return its answer as a stream of text; parameters and errors as for `invoke`.

        Examples
        --------
        >>> stream = client.stream("haiku", "Tell me a story.")   # doctest: +SKIP
        >>> async for text in stream:   # doctest: +SKIP
        ...     print(text, end="")
        >>> stream.reply.usage   # doctest: +SKIP
        """
        request = Request(prompt, max_tokens, system, temperature, tuple(stop_sequences), output_schema, seed)
        return ReplyStream(_Call(self, model, request))

    def __repr__(self) -> str:
        return f"BedrockClient({self.region!r}, endpoint={self.endpoint_url or 'Amazon Bedrock'})"


class ReplyStream:
    """An answer that arrives bit by bit: iterate it for the text; `reply` has the whole, once it is complete."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self.reply: Reply | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        call = self._call
        abandoned = False

        def send(client: Any, arguments: dict[str, Any]) -> _Answered:
            sent = time.perf_counter()
            first_ms = None
            response = client.converse_stream(**arguments)
            reader = converse.StreamReader()
            with closing(response["stream"]) as events:
                for event in events:
                    if abandoned:
                        break
                    if text := reader.take(event):
                        if first_ms is None:
                            first_ms = (time.perf_counter() - sent) * 1000
                            call.shown = True
                        loop.call_soon_threadsafe(texts.put_nowait, text)
            if reader.complete is None:
                raise IncompleteStream("the stream ended before the answer was complete")
            return _Answered(reader.complete, response["ResponseMetadata"], first_ms)

        async def fill() -> Reply:
            try:
                return await call.run(send)
            finally:
                texts.put_nowait(None)

        filling = asyncio.create_task(fill())
        try:
            while (text := await texts.get()) is not None:
                yield text
            self.reply = await filling
        finally:
            abandoned = True
            filling.cancel()


class IncompleteStream(Exception):  # noqa: N818 - named like botocore's own, whose table of meanings it joins
    """A stream ended without its stop reason or its usage."""


class _Answered(NamedTuple):
    """What an attempt brought: the answer, botocore's metadata of the response, the time to the first token."""

    answer: converse.Answer
    metadata: Mapping[str, Any]
    ttft_ms: float | None


class _Call:
    """One logical call: its attempts, retries and what they took."""

    def __init__(self, client: BedrockClient, model: str | None, request: Request) -> None:
        self.resolved: ResolvedModel = load_catalog().resolve(model, client.region)
        self.shown = False  # text has reached the caller: a retry would show it twice
        self._client = client
        self._request = request
        self._attempts: list[Attempt] = []
        self._queue_ms = 0.0
        self._retry_ms = 0.0

    async def run(self, send: Callable[[Any, dict[str, Any]], _Answered]) -> Reply:
        """Send the request until it is answered, and return the reply.

        Parameters
        ----------
        send : asks boto3's client, on a thread, with the arguments of the operation.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._client.max_retries + 1),
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

    async def _attempt(self, send: Callable[[Any, dict[str, Any]], _Answered]) -> Reply:
        client = self._client
        link = client.link
        queued = picked_up = sent = time.perf_counter()
        started_at = datetime.now(UTC)

        def work() -> _Answered:
            nonlocal picked_up, sent, started_at
            picked_up = time.perf_counter()
            boto_client = link.client()
            sent, started_at = time.perf_counter(), datetime.now(UTC)
            return send(boto_client, self._arguments())

        number = len(self._attempts) + 1
        try:
            answered = await asyncio.wrap_future(link.pool.submit(work))
        except (AgentFlowError, LocalEndpointError):
            raise
        except Exception as error:
            attempt = Attempt(
                number,
                started_at,
                (time.perf_counter() - sent) * 1000,
                error_code=code_of(error),
                http_status=_metadata(error).get("HTTPStatusCode"),
                request_id=_metadata(error).get("RequestId"),
            )
            explained = self._explain(error, link.endpoint_url)
            if isinstance(explained, EndpointError):
                link.reconnect()
            raise _AttemptFailed(attempt, explained) from error
        latency_ms = (time.perf_counter() - sent) * 1000
        self._queue_ms += (picked_up - queued) * 1000
        metadata = answered.metadata
        attempt = Attempt(
            number, started_at, latency_ms, http_status=metadata["HTTPStatusCode"], request_id=metadata.get("RequestId")
        )
        self._report(attempt)
        reply = self._reply(answered, latency_ms)
        report_reply(reply)
        return reply

    def _arguments(self) -> dict[str, Any]:
        spec = self.resolved.spec
        body = converse.request_body(
            self._request,
            json_schema=bool(spec and spec.json_schema),
            seed=self._request.seed if self._client.on_this_machine else None,
        )
        return {"modelId": self.resolved.model_id, **body}

    def _reply(self, answered: _Answered, latency_ms: float) -> Reply:
        answer, metadata, ttft_ms = answered
        resolved = self.resolved
        # Only an endpoint on this machine is believed when it says that a local model answered, free of charge.
        local_model = metadata.get("HTTPHeaders", {}).get(MODEL_HEADER) if self._client.on_this_machine else None
        bedrock_usd = resolved.cost(answer.usage)
        return Reply(
            text=answer.text,
            model=f"local · {unquote(local_model)}" if local_model else resolved.name,
            model_id=resolved.model_id,
            region=self._client.region,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            latency_ms=latency_ms,
            ttft_ms=ttft_ms,
            queue_ms=self._queue_ms,
            retry_wait_ms=self._retry_ms,
            attempts=tuple(self._attempts),
            cost_usd=Decimal(0) if local_model else bedrock_usd,
            bedrock_usd=bedrock_usd,
            price_date=load_catalog().prices_dated.isoformat(),
            request_id=metadata.get("RequestId"),
        )

    def _explain(self, error: Exception, url: str | None) -> ModelCallError:
        region = self._client.region
        spec = self.resolved.spec
        hint = load_catalog().resolve(self.resolved.name, region).model_id if spec else "its inference profile"
        explained = explain(error, Place(self.resolved.model_id, region, url, hint))
        explained.retryable = explained.retryable and not self.shown
        return explained

    def _before_retry(self, state: RetryCallState) -> None:
        """Write a failed attempt down, with the pause that follows it."""
        failed = state.outcome.exception() if state.outcome else None
        if isinstance(failed, _AttemptFailed) and state.next_action is not None:
            wait_ms = state.next_action.sleep * 1000
            self._retry_ms += failed.attempt.latency_ms + wait_ms
            self._report(failed.attempt.followed_by_wait(wait_ms))

    def _report(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        report_attempt(attempt, self.resolved.model_id)


class _AttemptFailed(Exception):  # noqa: N818 - carries an attempt to the retry, and is never seen outside
    """An attempt failed; `explained` is what the caller will see if it is not tried again."""

    def __init__(self, attempt: Attempt, explained: ModelCallError) -> None:
        super().__init__(str(explained))
        self.attempt = attempt
        self.explained = explained


def _metadata(error: Exception) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return metadata


def _checked_url(url: str | None) -> str | None:
    """Return an endpoint's URL without a trailing slash, None for Amazon's own."""
    if url is None or url == LOCAL:
        return url
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise DefinitionError(
            f"BEDROCK_ENDPOINT_URL={url!r} is no URL.",
            fix="Give http(s)://HOST[:PORT], `local`, or nothing for Amazon's.",
        )
    return url.rstrip("/")
