"""Whether Bedrock can be reached and lets this caller ask a model; by whose clock, and in which region."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from agentflow.core.errors import EndpointError, ModelCallError, nearest
from agentflow.core.model import Reply
from agentflow.local.facts import MODEL_HEADER
from agentflow.models.catalog import load_catalog
from agentflow.models.transport import profile_region
from agentflow.ops.health.aws import Aws, TookTooLong, catalog_name, is_aws_error, reason_of, response_of
from agentflow.ops.health.report import Check
from agentflow.utils.env import setting

#: AWS refuses what was signed longer ago, or later, than this (its error says `5 min`).
MOST_SKEW_SECONDS = 300
MUCH_SKEW_SECONDS = 60  # worth a warning: a clock that drifts goes on to drift

_SET_THE_CLOCK = "Set this machine's clock: turn on time synchronization (NTP)."
# "Signature expired: SIGNED is now earlier than EARLIEST (NOW - 5 min.)", or "... not yet current: ... (NOW + 5 min.)"
_REFUSED_CLOCK = re.compile(r"Signature (?:expired|not yet current): (\w+).*?\((\w+) [-+]")


@dataclass(frozen=True, slots=True)
class Contact:
    """What the endpoint of bedrock-runtime answered to a request that nobody has to be allowed.

    Attributes
    ----------
    label : of the model, where it is the local endpoint; else empty.
    skew_seconds : how much this machine's clock is ahead; None where the answer has no time.
    """

    host: str
    took_ms: float
    label: str
    skew_seconds: float | None

    @property
    def who(self) -> str:
        """Who answered: a host, or the local endpoint."""
        return f"local · {self.label}" if self.label else self.host


def contact(aws: Aws) -> Contact:
    """Ask the endpoint for nothing that it would give: without a signature it refuses, and so it is there. Blocks.

    Raises
    ------
    EndpointError
        It cannot be reached, or what answers is out of order.
    LocalEndpointError
        The local endpoint does not start.
    """
    client = aws.client("bedrock-runtime", signed=False)
    url = urlsplit(client.meta.endpoint_url)
    host = (url.hostname or "") if url.port is None else f"{url.hostname}:{url.port}"
    began, started = datetime.now(UTC), time.perf_counter()
    try:
        metadata = client.list_async_invokes(maxResults=1)["ResponseMetadata"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        metadata = response_of(error).get("ResponseMetadata", {})
        status = metadata.get("HTTPStatusCode")
        if status is None or status >= 500 or status == 407:  # of a proxy
            what = f"{host} cannot be reached: {reason_of(error)}" if status is None else f"{host} answers {status}"
            raise EndpointError(f"{what}.", fix=aws.explained(error, "Bedrock").fix) from error
    took = time.perf_counter() - started
    headers = metadata.get("HTTPHeaders", {})
    label = unquote(headers.get(MODEL_HEADER, "")) if aws.bedrock.on_this_machine else ""
    return Contact(host, took * 1000, label, _skew(headers.get("date"), began.timestamp() + took / 2))


def _skew(date: str | None, now: float) -> float | None:
    """Return how much later `now` is than the time of a header, which has whole seconds."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp() + 0.5
    except ValueError:
        return None
    skew = now - theirs
    return 0.0 if abs(skew) <= 1 else skew


def bedrock_connectivity(met: Contact | Exception, answered: Reply | Exception | None) -> Check:
    """Return whether the endpoint can be reached: it answered, whatever it said."""
    if isinstance(met, Contact):
        return Check("ok", f"{met.who} answered in {met.took_ms:,.0f} ms")
    if isinstance(answered, Reply):  # such as through a gateway that knows nothing but models
        return Check("ok", f"a call was answered in {answered.latency_ms:,.0f} ms")
    raise met


def model_access(answered: Reply | Exception) -> Check:
    """Return whether a call of the fast model was answered."""
    if isinstance(answered, TookTooLong):
        fix = "Bedrock may be busy: see https://health.aws.amazon.com/health/status, or try another region."
        return Check("failed", f"a call of the fast model: {answered}", fix)
    if isinstance(answered, Exception):
        raise answered
    dollars = "" if answered.cost_usd is None else f", ${answered.cost_usd:.5f}" if answered.cost_usd else ", $0"
    tokens = answered.usage.input_tokens + answered.usage.output_tokens
    name = answered.model if answered.model.startswith("local") else catalog_name(answered.model_id)
    return Check("ok", f"{name} answered in {answered.latency_ms:,.0f} ms ({tokens} tokens{dollars})")


def access_without_call(aws: Aws) -> Check:
    """Return what the control plane says of the fast model: no more than that the account has it. Blocks."""
    resolved = load_catalog().resolve(None, aws.region)
    why = "no model was called, so whether this caller may is not known"
    fix = "Leave out --no-call (call=False) to ask for 10 tokens."
    if resolved.spec is None:
        return Check("not checked", why, fix)
    try:
        found = aws.client("bedrock").get_foundation_model_availability(modelId=resolved.spec.id)
    except Exception as error:  # noqa: BLE001 - what is none of AWS's is raised again there
        action = "bedrock:GetFoundationModelAvailability"
        return aws.failed(error, "Bedrock's control plane", action, state="not checked")
    if lacking := _lacking(found):
        return Check(
            "failed",
            f"{resolved.name} is not to be had in {aws.region}: {lacking}",
            f"Enable the model for the account in the Bedrock console of {aws.region} (Model access).",
        )
    return Check("not checked", f"the account has {resolved.name}; {why}", fix)


def _lacking(found: Any) -> str:
    agreement = found.get("agreementAvailability", {}).get("status")
    said = {
        "agreement": (agreement, "AVAILABLE"),
        "authorization": (found.get("authorizationStatus"), "AUTHORIZED"),
        "entitlement": (found.get("entitlementAvailability"), "AVAILABLE"),
        "region": (found.get("regionAvailability"), "AVAILABLE"),
    }
    return ", ".join(f"{name} {given}" for name, (given, wanted) in said.items() if given not in (None, wanted))


def clock_skew(met: Contact | Exception, answered: Reply | Exception | None) -> Check:
    """Return whether this machine's clock is right enough for AWS."""
    refused = _REFUSED_CLOCK.search(str(answered)) if isinstance(answered, ModelCallError) else None
    if refused is not None and (seconds := _between(*refused.groups())) is not None:
        return Check("failed", f"{_ahead(seconds)}, and AWS refuses what it signs", _SET_THE_CLOCK)
    if isinstance(met, Exception) or met.skew_seconds is None:
        return Check("not checked", "no answer told the time", "See bedrock_connectivity.")
    skew = met.skew_seconds
    if abs(skew) >= MOST_SKEW_SECONDS:
        return Check("failed", f"{_ahead(skew)}; AWS refuses more than {MOST_SKEW_SECONDS // 60} min", _SET_THE_CLOCK)
    if abs(skew) >= MUCH_SKEW_SECONDS:
        return Check("warning", f"{_ahead(skew)}; AWS refuses 5 min", _SET_THE_CLOCK)
    return Check(
        "ok", f"{_ahead(skew)}, by the clock of {met.host}" if skew else f"within 1 s of the clock of {met.host}"
    )


def _between(signed: str, now: str) -> float | None:
    try:
        moments = [datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for text in (signed, now)]
    except ValueError:
        return None
    return (moments[0] - moments[1]).total_seconds()


def _ahead(seconds: float) -> str:
    return f"the clock is {abs(seconds):,.0f} s {'fast' if seconds > 0 else 'slow'}"


def region(aws: Aws, met: Contact | Exception) -> Check:
    """Return whether the region is one, and where its setting came from. Blocks."""
    figure = f"{aws.region} ({_source(aws)})"
    known = {name for regions in load_catalog().geographies.values() for name in regions}
    for partition in ("aws", "aws-us-gov"):
        known.update(aws.session().get_available_regions("bedrock", partition_name=partition))
    if aws.region in known or (isinstance(met, Contact) and not aws.bedrock.on_this_machine):
        return Check("ok", figure)
    close = nearest(aws.region, known)
    fix = "Set AWS_REGION to a region that has Bedrock, such as us-east-1."
    if isinstance(met, Contact):
        return Check("warning", f"{figure} is no region of AWS's{close}; the endpoint on this machine takes any", fix)
    return Check("failed", f"{figure} is no region that has Bedrock{close}", fix)


def _source(aws: Aws) -> str:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if (found := setting(name)).value:
            return f"{name}, {found.source}"
    if not aws.bedrock.on_this_machine and profile_region(aws.profile):
        return f"AWS profile {aws.profile or 'default'}"
    return "the default; AWS_REGION is not set"
