"""A fault script: what goes wrong at the endpoint, as data, and the same at every run.

It is a YAML file for ``agentflow local serve --faults FILE``, or the same object as JSON for ``POST /_config`` or as
keyword arguments of the `bedrock` fixture's ``faults``. A complete example::

    seed: 7                          # of everything that is drawn; the default is 0
    quotas:                          # by the id or profile that is called; * and ? match; the first that fits counts
      "us.anthropic.claude-haiku-*": {tokens_per_minute: 200000, requests_per_minute: 100, tokens_per_day: 5000000}
    faults:                          # all that match a request happen, in this order; an error ends it
      - {fault: throttled_requests, every: 10}
      - {fault: unavailable, probability: 0.05, operation: ConverseStream}
      - {fault: iam_profile_denied, model: "eu.*", first: 3}
      - {fault: error, code: ModelErrorException, message: "No.", status: 424, prompt: "(?i)refund"}
      - {fault: latency, delay_ms: {lognormal: [300, 0.5]}}
      - {fault: slow_first_token, delay_ms: {uniform: [500, 2000]}, every: 4}
      - {fault: stalled_stream, after_pieces: 3, delay_ms: 60000, first: 1}
      - {fault: cut_stream, after_pieces: 5, probability: 0.01}
      - {fault: short_stream, after_pieces: 5, probability: 0.01}
      - {fault: stream_error, code: ThrottlingException, after_pieces: 2, every: 25}
      - {fault: bad_checksum, after_pieces: 1, every: 50}
      - {fault: reset, after_work: false, every: 40}
      - {fault: reset, after_work: true, every: 41}
      - {fault: region_down, region: us-east-1, from_seconds: 60, until_seconds: 120}

Which requests: ``model`` (a pattern for the id or profile that is called), ``operation`` (``Converse``,
``ConverseStream``, ``InvokeModel``, ``InvokeModelWithResponseStream``), ``prompt`` (a regular expression found in the
text of a message or the system prompt), ``region``, and a window of the region's clock, ``from_seconds`` and
``until_seconds``. Of these: ``every`` k-th, with a ``probability``, and only the ``first`` n that remain.

What happens: the errors of `agentflow.local.refusals` by name, or any other as ``error``, before any work; ``latency``
before the answer, ``slow_first_token`` and ``stalled_stream`` within a stream; ``cut_stream`` (the connection breaks),
``short_stream`` (it ends as if all were well), ``stream_error`` (an exception event) and ``bad_checksum``, in streams
after some pieces of text, or at the end of a shorter one; ``reset`` of the connection before the work or after it;
``region_down``: every connection is reset. A delay is a number of milliseconds, ``{uniform: [low, high]}`` or
``{lognormal: [median, sigma]}``. What a request had used until its answer broke off is billed; one that ends in an
error is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentflow.local.errors import STATUS_BY_CODE, LocalEndpointError
from agentflow.local.quotas import Quota
from agentflow.local.refusals import DAMAGE

Operation: TypeAlias = Literal["Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class Uniform(_Part):
    """Milliseconds drawn evenly between two."""

    uniform: tuple[Milliseconds, Milliseconds]


class Lognormal(_Part):
    """Milliseconds with a median and a long tail: the logarithm has the standard deviation `sigma`."""

    lognormal: tuple[Annotated[float, Field(gt=0, le=3_600_000)], Annotated[float, Field(ge=0, le=5)]]


Delay: TypeAlias = Milliseconds | Uniform | Lognormal


def seconds(delay: Delay, random: Random) -> float:
    """Return a delay in seconds, drawn where it is a distribution; an hour at most."""
    match delay:
        case Uniform(uniform=(low, high)):
            drawn = random.uniform(low, high)
        case Lognormal(lognormal=(median, sigma)):
            drawn = median * random.lognormvariate(0, sigma)
        case float():
            drawn = delay
    return min(drawn / 1000, 3600.0)


class Window(_Part):
    """Where and when a fault happens, by the region's clock; a field that is not set lets all pass."""

    region: str | None = None
    from_seconds: Annotated[float, Field(ge=0)] = 0.0
    until_seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.until_seconds is not None and self.until_seconds <= self.from_seconds:
            raise ValueError("until_seconds must be later than from_seconds")
        return self

    def is_open(self, now: float) -> bool:
        """Return whether it happens at a time."""
        return self.from_seconds <= now and (self.until_seconds is None or now < self.until_seconds)


class Rule(Window):
    """Which requests a fault happens to; a field that is not set lets all pass."""

    model: str | None = None
    operation: Operation | None = None
    prompt: Annotated[str, AfterValidator(_compiles)] | None = None
    every: Annotated[int, Field(ge=1)] = 1
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    first: Annotated[int, Field(ge=0)] | None = None


class NamedError(Rule):
    """An error of `agentflow.local.refusals.REFUSALS`."""

    fault: Literal[
        "throttled_tokens", "throttled_requests", "throttled_per_day", "too_many_connections", "unavailable",
        "internal_error", "model_error", "model_timeout", "model_not_ready", "model_access_denied", "iam_denied",
        "iam_profile_denied", "identity_policy_denied", "scp_denied", "marketplace_denied", "wrong_profile",
        "unknown_model", "retired_model", "use_case_missing", "expired_token", "invalid_token", "clock_skew",
    ]  # fmt: skip


class OtherError(Rule):
    """Any other error."""

    fault: Literal["error"]
    code: Annotated[str, Field(pattern=r"^[A-Za-z]{1,100}$")]
    message: str
    status: Annotated[int, Field(ge=400, le=599)] | None = None  # None: the code's own

    @model_validator(mode="after")
    def _status_is_known(self) -> Self:
        if self.status is None and self.code not in STATUS_BY_CODE:
            raise ValueError(f"status is needed: {self.code} has none that is known")
        return self


class Latency(Rule):
    """A wait before the answer."""

    fault: Literal["latency"]
    delay_ms: Delay


class StreamRule(Rule):
    """Something that happens in a stream, once some pieces of text have left."""

    after_pieces: Annotated[int, Field(ge=0)] = 0


class SlowFirstToken(Rule):
    """A wait between the beginning of a stream and its first text."""

    fault: Literal["slow_first_token"]
    delay_ms: Delay


class StalledStream(StreamRule):
    """A wait within a stream, which then goes on."""

    fault: Literal["stalled_stream"]
    delay_ms: Delay


class BrokenStream(StreamRule):
    """A stream that breaks off, ends early, or has an event with a wrong checksum."""

    fault: Literal["cut_stream", "short_stream", "bad_checksum"]


class StreamError(StreamRule):
    """An exception event, which ends a stream. ModelTimeoutException is InvokeModelWithResponseStream's only."""

    fault: Literal["stream_error"]
    code: Literal[
        "InternalServerException", "ModelStreamErrorException", "ValidationException", "ThrottlingException",
        "ServiceUnavailableException", "ModelTimeoutException",
    ]  # fmt: skip
    message: str = DAMAGE


class Reset(Rule):
    """A connection that is reset: before any work, or after it, when it is billed."""

    fault: Literal["reset"]
    after_work: bool = False


class RegionDown(Window):
    """A region none of whose operations can be reached for a while."""

    fault: Literal["region_down"]


Fault = Annotated[
    NamedError
    | OtherError
    | Latency
    | SlowFirstToken
    | StalledStream
    | BrokenStream
    | StreamError
    | Reset
    | RegionDown,
    Field(discriminator="fault"),
]


class FaultScript(_Part):
    """All of a fault script."""

    seed: int = 0
    quotas: dict[str, Quota] = {}
    faults: tuple[Fault, ...] = ()


def read_fault_script(path: Path) -> FaultScript:
    """Read a YAML file.

    Raises
    ------
    LocalEndpointError
        It cannot be read, is no YAML, or has a wrong rule or field, which the message names.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return FaultScript.model_validate({} if content is None else content)
    except ValidationError as error:
        raise LocalEndpointError(f"The fault script {path} cannot be used: {wrong_field(error, content)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LocalEndpointError(f"The fault script {path} cannot be read: {error}") from error


def wrong_field(error: ValidationError, content: Any) -> str:
    """Return the first thing that is wrong with a script, in one sentence that names the rule and the field."""
    first = error.errors(include_url=False, include_context=False)[0]
    where, message = list(first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        where.append("fault")
    if where[:1] == ["faults"] and len(where) > 1 and isinstance(where[1], int):
        rule = content["faults"][where[1]]
        kind = rule.get("fault") if isinstance(rule, Mapping) else None
        # What follows are the kind, then the field, then which alternative of its type was tried.
        fields = [part for part in where[2:] if part != kind]
        name = f"rule {where[1] + 1}" + (f" ({kind})" if kind else "")
        return f"{name}, field {fields[0]}: {message}" if fields else f"{name}: {message}"
    return f"field {'.'.join(str(part) for part in where)}: {message}" if where else message
