"""BedrockClient: asks a model on Amazon Bedrock, or on the local endpoint, and knows what every call took and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack
from urllib.parse import urlsplit

from agentflow.core.content import Block
from agentflow.core.errors import DefinitionError
from agentflow.core.events import current_step
from agentflow.core.model import Estimate, Reply, Request, RequestOptions, TokenCount
from agentflow.models import converse
from agentflow.models.call import Answered, Call
from agentflow.models.catalog import GLOBAL, ModelType, load_catalog
from agentflow.models.counting import count_tokens
from agentflow.models.faults import code_of
from agentflow.models.limiting.quotas import Quota
from agentflow.models.limiting.report import QuotaReport, quota_report
from agentflow.models.options import request_of
from agentflow.models.route import Route, account_of, lane_of
from agentflow.models.stream import ReplyStream, streaming
from agentflow.models.tokens import estimate
from agentflow.models.transport import LOCAL, Target, is_loopback, profile_region, transport
from agentflow.utils.env import access_key_hash, setting
from agentflow.utils.redaction import redact_dependencies

__all__ = ["BedrockClient", "ModelType", "Quota", "ReplyStream"]

DEFAULT_REGION = "us-east-1"
CHECK_TOKENS = 10  # of the answer to a check: as many as the operation runbook's health check asks for

_COUNTS = frozenset({"inputTokens", "outputTokens"})  # of every `usage`, likewise
_PARTS = frozenset({"output", "stopReason", "usage"})  # of every answer of Converse, by botocore's service model

redact_dependencies()  # a person who switches debug logging on must not find keys and prompts in it


class BedrockClient:
    """A client for the models of one region. Cheap to make: connections are shared, and opened at the first call.

    Parameters
    ----------
    region_name : default `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's region, else us-east-1.
    endpoint_url : a URL; `local` for AgentFlow's own endpoint on this machine; default `BEDROCK_ENDPOINT_URL`, else
        Amazon's endpoint of the region.
    profile_name : an AWS profile; default `AWS_PROFILE`.
    max_connections : calls in flight at once in a region; default `BEDROCK_MAX_CONNECTIONS`, else 10.
    base_models : the catalog's model behind each application inference profile, by its ARN, such as
        ``{"arn:aws:bedrock:...:application-inference-profile/abc": "haiku"}``: its price and limits are those of the
        model. A `global.haiku` says that it was made from the global profile, which has another price.
    regions : in the place of `region_name`, several: a call goes to the first that is in service and whose quota has
        room, and is tried again in another one. The attempts say where, and why. A `global` behind the first region is
        its global inference profile, for models that have one: it may send a request to any region of the world.
    quotas : what the account may ask of a model in a minute, where Service Quotas does not say: by the names of models.
    fallback_model : asked where a model is throttled, out of service or out of its daily quota, after the retries, and
        at once where its quota has no room. `reply.model` and the attempts show it. None: no other model is ever asked.

    Attributes
    ----------
    given : the arguments that were given, without those that are None.

    Raises
    ------
    DefinitionError
        An argument, or the file of prices that `AGENTFLOW_PRICES` names, cannot be used.
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
        base_models: Mapping[str, str] | None = None,
        regions: Sequence[str] | None = None,
        quotas: Mapping[str, Quota] | None = None,
        fallback_model: str | None = None,
    ) -> None:
        import botocore.session  # noqa: F401 - now, and not as a part of the first call: it takes a quarter of a second

        _check_texts(
            region_name=region_name, endpoint_url=endpoint_url, profile_name=profile_name, fallback_model=fallback_model
        )
        if max_connections is not None and (type(max_connections) is not int or max_connections < 1):
            raise DefinitionError(f"max_connections={max_connections!r} is no number of calls.", fix="Give 1 or more.")
        self.endpoint_url = _checked_url(endpoint_url or setting("BEDROCK_ENDPOINT_URL").value)
        self.max_connections = max_connections or setting("BEDROCK_MAX_CONNECTIONS").whole_number(at_least=1)
        self.max_retries = setting("AGENTFLOW_MAX_RETRIES").whole_number(at_least=0)
        self.stream_idle_seconds = setting("BEDROCK_STREAM_IDLE_SECONDS").number(at_least=0.1)
        arguments = {
            "region_name": region_name,
            "endpoint_url": endpoint_url,
            "profile_name": profile_name,
            "max_connections": max_connections,
            "base_models": _checked_bases(base_models) if base_models else None,
            "regions": list(regions) if isinstance(regions, list | tuple) else None,
            "fallback_model": fallback_model,
        }
        self.given: Mapping[str, Any] = {name: value for name, value in arguments.items() if value is not None}
        self._profile = profile_name or setting("AWS_PROFILE").value
        self._region_name, self._other_regions = _checked_regions(region_name, regions)
        self._catalog = load_catalog()
        if base_models:
            self._catalog = self._catalog.model_copy(update={"base_models": self.given["base_models"]})
        self._timeout_seconds = setting("AGENTFLOW_TIMEOUT").number(at_least=0)
        self._quotas = {
            self._catalog.resolve(model, self.region).name: quota
            for model, quota in _checked_quotas(quotas or {}).items()
        }
        self._fallback_model = fallback_model
        if fallback_model is not None:
            self.check(fallback_model)

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
    def _route(self) -> Route:
        others = tuple(
            self._route_to(self.region)._replace(profile=GLOBAL) if other == GLOBAL else self._route_to(other)
            for other in self._other_regions
        )
        return self._route_to(self.region)._replace(elsewhere=others, fallback_model=self._fallback_model)

    def _route_to(self, region: str) -> Route:
        profile = None if self.on_this_machine else self._profile
        return Route(
            region=region,
            link=transport(Target(region, self.endpoint_url, profile, self.max_connections)),
            on_this_machine=self.on_this_machine,
            max_retries=self.max_retries,
            place=self._place,
            catalog=self._catalog,
            connections=self.max_connections,
            timeout_seconds=self._timeout_seconds,
            account=account_of(profile, access_key_hash(), on_this_machine=self.on_this_machine),
            quotas=self._quotas,
        )

    @property
    def _place(self) -> str:
        if self.endpoint_url == LOCAL:
            return f"{LOCAL} {setting('AGENTFLOW_LOCAL_MODEL').value}"
        return self.endpoint_url or "Amazon Bedrock"

    @property
    def on_this_machine(self) -> bool:
        """Whether calls stay on this machine: the local endpoint, or a URL of the loopback interface."""
        return self.endpoint_url == LOCAL or is_loopback(self.endpoint_url)

    def check(self, model: str | None) -> None:
        """Raise `UnknownModelError` where the name is no model of the catalog and no Bedrock id. Sends nothing."""
        self._catalog.resolve(model, self.region)

    async def check_access(self, model: str | None = None) -> Reply:
        """Ask a model for a few tokens, and return the reply: the caller may use it, and it answers in this region.

        It is one request: it is not tried again, waits for no quota, and takes no answer that is kept. Costs what some
        ten tokens do; nothing cheaper goes through the same permissions.

        Raises
        ------
        UnknownModelError
            The name is no model; nothing was sent.
        ModelCallError
            The model cannot be used; the message says what is missing.
        """
        route = self._route._replace(max_retries=0, timeout_seconds=0, elsewhere=(), fallback_model=None)
        outside = current_step.set(None)  # a check in a step is none of its calls, and finds no kept answer
        try:
            call = Call(route, model, Request("test", max_tokens=CHECK_TOKENS))
            return await call.run(_send)
        finally:
            current_step.reset(outside)

    def estimate(self, model: str | None, request: Request) -> Estimate:
        """Return what a request will take, in tokens and at Bedrock's list price. Sends nothing.

        Raises
        ------
        UnknownModelError
            The name is no model.
        """
        return estimate(self._catalog.resolve(model, self.region), request)

    def quota(self) -> QuotaReport:
        """Return what the models that this client has asked may be asked, and how far that is used. Sends nothing."""
        return quota_report(self._route)

    def known_quota(self, model: str | None) -> Quota:
        """Return what a model may be asked in a minute, as far as it was given or Service Quotas said. Sends nothing.

        Raises
        ------
        UnknownModelError
            The name is no model.
        """
        return lane_of(self._route, self._catalog.resolve(model, self.region)).known_quota

    async def invoke(
        self, model: str | None, prompt: str | Sequence[Block], **options: Unpack[RequestOptions]
    ) -> Reply:
        """Ask a model and return its whole answer.

        Parameters
        ----------
        model : a `ModelType`, an alias (`haiku`), either through a profile of another kind than the region's
            (`global.haiku`), a Bedrock id, profile or ARN; None is the catalog's fast model.
        prompt : the user's message: text, or a list of texts and attachments, such as
            ``["What is this?", Attachment.of(path)]``, with a `CachePoint` where a prefix to keep ends.
        max_tokens : the most tokens of the answer; default 1,024.
        system : the system prompt.
        temperature, top_p : 0 to 1.
        stop_sequences : texts that end the answer.
        output_schema : a JSON schema for the answer, whose text is then JSON.
        turns : the conversation so far, user and assistant in turn.
        tools : what the model may ask for; `reply.tool_uses` has what it did. `AgentConfig(tools=...)` calls them too.
        cache_tools, cache_system : `5m` or `1h`: keep the prompt up to behind the tools, behind the system prompt.
        guardrail : a `Guardrail` that prompt and answer have to pass.
        service_tier, latency, effort : as in `Request`.
        extra_fields, response_fields : what Converse has no name for, sent and asked for.

        Raises
        ------
        InputError
            The prompt is nothing that Bedrock takes; nothing was sent.
        UnknownModelError
            The name is no model; nothing was sent.
        ModelCallError
            The call failed, after its retries; the subclass says how, and the message what to do. It is an
            `InvalidRequestError` where an option cannot be sent, and then nothing was.
        """
        return await self.answer(model, request_of(prompt, options))

    def identify(self, model: str | None, request: Request) -> tuple[str, str]:
        """Return what tells a request from every other one, and the place that it would be sent to. Sends nothing."""
        return Call(self._route, model, request).key, self._place

    async def answer(self, model: str | None, request: Request) -> Reply:
        """Answer one request; what `invoke` does, for a `Request`. It is streamed where the run's readers want that."""
        call = Call(self._route, model, request)
        if not (call.scope and call.scope.run.wants_deltas):
            return await call.run(_send)
        stream = streaming(call, self.stream_idle_seconds)

        def send_watched(client: Any, arguments: dict[str, Any]) -> Answered:
            try:
                return stream(client, arguments)
            except Exception as error:
                if code_of(error) != "AccessDeniedException":
                    raise
                return _send(client, arguments)  # who may ask but not stream is watched without the text that comes

        return await call.run(send_watched)

    def stream(
        self, model: str | None, prompt: str | Sequence[Block], **options: Unpack[RequestOptions]
    ) -> ReplyStream:
        """Ask a model and return its answer as a stream of text; parameters and errors as for `invoke`.

        Examples
        --------
        >>> stream = client.stream("haiku", "Tell me a story.")   # doctest: +SKIP
        >>> async for text in stream:   # doctest: +SKIP
        ...     print(text, end="")
        >>> stream.reply.usage   # doctest: +SKIP
        """
        return ReplyStream(Call(self._route, model, request_of(prompt, options)), self.stream_idle_seconds)

    async def count_tokens(
        self, model: str | None, prompt: str | Sequence[Block], **options: Unpack[RequestOptions]
    ) -> TokenCount:
        """Return how many input tokens a request takes: as Bedrock counts them, free of charge, else as estimated.

        Parameters as for `invoke`.

        Raises
        ------
        InputError, UnknownModelError
            As for `invoke`.
        """
        request = request_of(prompt, options)
        resolved = self._catalog.resolve(model, self.region)
        return await count_tokens(self._route, resolved, request)

    def __repr__(self) -> str:
        return f"BedrockClient({self.region!r}, endpoint={self.endpoint_url or 'Amazon Bedrock'})"


class IncompleteAnswer(Exception):  # noqa: N818 - named like botocore's own, whose table of meanings it joins
    """An answer came without what every answer has."""


def _send(client: Any, arguments: dict[str, Any]) -> Answered:
    response = client.converse(**arguments)
    # botocore reads a body that was cut off as an empty one, and fills in nothing that is not there
    if missing := [*_PARTS.difference(response), *_COUNTS.difference(response.get("usage") or ())]:
        raise IncompleteAnswer(f"the answer has no {', no '.join(sorted(missing))}")
    return Answered(converse.parse_response(response), response["ResponseMetadata"], None)


def _check_texts(**arguments: object) -> None:
    for name, value in arguments.items():
        if not (value is None or isinstance(value, str)):
            raise DefinitionError(f"{name}={value!r} is no text.", fix="Give a text, or leave it out.")


def _checked_bases(base_models: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(base_models, Mapping):
        raise DefinitionError(f"base_models={base_models!r} is no dict.", fix="Give the name of a model for each ARN.")
    bases = {str(name): str(base) for name, base in base_models.items()}
    if wrong := next((name for name in bases if not name.startswith("arn:")), None):
        raise DefinitionError(
            f"base_models: {wrong!r} is no ARN.", fix="Give the ARN of an application inference profile."
        )
    return bases


def _checked_quotas(quotas: Mapping[str, Quota]) -> Mapping[str, Quota]:
    if not isinstance(quotas, Mapping) or not all(isinstance(quota, Quota) for quota in quotas.values()):
        raise DefinitionError(
            f"quotas={quotas!r} is no dict of quotas.",
            fix="Give one for each model, such as {'haiku': Quota(tokens_per_minute=100_000)}.",
        )
    return quotas


def _checked_regions(region_name: str | None, regions: Sequence[str] | None) -> tuple[str | None, Sequence[str]]:
    """Return the region of the first choice, None for the default one, and the others."""
    if regions is None:
        return region_name, ()
    is_list = isinstance(regions, list | tuple) and all(isinstance(region, str) for region in regions)
    if not is_list or not regions or len(set(regions)) < len(regions):
        raise DefinitionError(f"regions={regions!r} is no list of different regions.", fix="Give one or more names.")
    if regions[0] == GLOBAL:
        raise DefinitionError(
            f"regions={list(regions)!r}: 'global' is a profile of the region before it.",
            fix="Name a region first; for the global profile alone, ask for the model 'global.haiku'.",
        )
    if region_name not in (None, regions[0]):
        raise DefinitionError(
            f"region_name={region_name!r} is not the first of regions={list(regions)!r}.", fix="Give `regions` alone."
        )
    return regions[0], tuple(regions[1:])


def _checked_url(url: str | None) -> str | None:
    """Return an endpoint's URL without a trailing slash, None for Amazon's own."""
    if url is None or url == LOCAL:
        return url
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half a bracket, or a port beyond 65535
        is_url = False
    if not is_url or any(character.isspace() for character in url):
        raise DefinitionError(
            f"BEDROCK_ENDPOINT_URL={url!r} is no URL.",
            fix="Give http(s)://HOST[:PORT], `local`, or nothing for Amazon's.",
        )
    return url.rstrip("/")
