"""What Bedrock's and botocore's errors mean, and what to do about each.

Source of the wordings: real error texts in public issues and the Amazon Bedrock User Guide
(troubleshooting-api-error-codes). The first row that fits wins: the most specific stand first.
"""

from __future__ import annotations

from typing import NamedTuple

from agentflow.core.errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointError,
    FaultKind,
    InvalidRequestError,
    ModelCallError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProfileNeededError,
    PromptTooLongError,
    ServiceError,
    ThrottledError,
)


class Place(NamedTuple):
    """What was called, for the error's sentence; an `endpoint_url` of None is Amazon's own."""

    model_id: str
    region: str
    endpoint_url: str | None
    profile_hint: str


class _Fault(NamedTuple):
    codes: str  # lower case, separated by spaces; the names of botocore's exceptions count as codes
    wording: str  # a part of the message, in lower case
    error: type[ModelCallError]
    what: str
    fix: str
    retryable: bool = False
    kind: FaultKind = "other"


_FAULTS = (
    _Fault("validationexception", "on-demand throughput", ProfileNeededError,
           "{model_id} can be called through an inference profile only, in {region}",
           "Call {profile_hint} instead, or name the model by its alias.", kind="validation"),
    _Fault("validationexception modelstreamerrorexception", "too long", PromptTooLongError,
           "The prompt is longer than {model_id} in {region} takes: {message}",
           "Shorten the prompt or its inputs, or use a model with a larger context.", kind="validation"),
    _Fault("validationexception", "maximum tokens you requested", InvalidRequestError,
           "max_tokens is more than {model_id} in {region} can give: {message}", "Lower max_tokens.",
           kind="validation"),
    _Fault("validationexception", "model identifier is invalid", ModelNotFoundError,
           "There is no model {model_id} in {region}",
           "Check its spelling and that its prefix fits the region: aws bedrock list-inference-profiles "
           "--region {region}", kind="validation"),
    _Fault("validationexception", "unknown operation", EndpointError,
           "{endpoint} is no endpoint of bedrock-runtime to call {model_id} in {region}",
           "Check BEDROCK_ENDPOINT_URL.", kind="validation"),
    _Fault("validationexception paramvalidationerror", "", InvalidRequestError,
           "Bedrock refused the request to {model_id} in {region}: {message}", "Correct what the message names.",
           kind="validation"),
    _Fault("resourcenotfoundexception", "legacy", ModelNotFoundError,
           "{model_id} is being retired in {region}: {message}", "Move to its successor.", kind="validation"),
    _Fault("resourcenotfoundexception", "use case details", AccessDeniedError,
           "Anthropic's use case form for {model_id} was not filled in for this account in {region}",
           "Fill it in in the Bedrock console (Model catalog), and try again 15 minutes later.", kind="auth"),
    _Fault("resourcenotfoundexception", "", ModelNotFoundError,
           "There is no model {model_id} in {region}: {message}",
           "Check its spelling and region: aws bedrock list-foundation-models --region {region}", kind="validation"),
    _Fault("accessdeniedexception", "marketplace", AccessDeniedError,
           "The account has no subscription to {model_id} in {region}",
           "Have an administrator with aws-marketplace:Subscribe call it once there, then wait some minutes.",
           kind="auth"),
    _Fault("accessdeniedexception", "service control policy", AccessDeniedError,
           "Your organization forbids {model_id} in {region}: {message}",
           "Ask for the regions that its profile routes to; IAM cannot fix it.", kind="auth"),
    _Fault("accessdeniedexception", "not authorized to perform", AccessDeniedError,
           "The IAM policy does not allow calling {model_id} in {region}: {message}",
           "Allow bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream on that ARN; a profile needs the "
           "profile's ARN and the model's ARN in every region it routes to.", kind="auth"),
    _Fault("accessdeniedexception", "", AccessDeniedError,
           "You have no access to {model_id} in {region}: {message}",
           "Enable the model for the account in the Bedrock console of {region} (Model access), or choose another "
           "region.", kind="auth"),
    _Fault("throttlingexception", "per day", ThrottledError,
           "The daily token quota of {model_id} in {region} is used up",
           "Wait for tomorrow, use another model, or raise the quota in Service Quotas.", kind="daily quota"),
    _Fault("throttlingexception toomanyrequestsexception", "", ThrottledError,
           "{model_id} throttled the call in {region}: {message}",
           "Lower BEDROCK_MAX_CONNECTIONS or max_tokens, or raise the quota in Service Quotas.",
           retryable=True, kind="throttle"),
    _Fault("servicequotaexceededexception", "", ThrottledError,
           "A quota of {model_id} in {region} is used up: {message}", "Raise the quota in Service Quotas.",
           kind="throttle"),
    _Fault("modeltimeoutexception", "", ModelTimeoutError,
           "{model_id} did not answer in time in {region}", "Lower max_tokens or shorten the prompt.",
           retryable=True, kind="timeout"),
    _Fault("readtimeouterror", "", ModelTimeoutError,
           "{model_id} in {region} sent nothing for too long: {message}",
           "Lower max_tokens or shorten the prompt; a sent request may still be billed.", kind="timeout"),
    _Fault("expiredtokenexception expiredtoken unauthorizedssotokenerror ssotokenloaderror tokenretrievalerror", "",
           CredentialsError, "The AWS credentials to call {model_id} in {region} have expired",
           "Log in again: aws sso login (with --profile NAME, if you use one), or renew the role's keys.", kind="auth"),
    _Fault("unrecognizedclientexception invalidsignatureexception incompletesignature invalidclienttokenid "
           "credentialretrievalerror", "", CredentialsError,
           "AWS does not accept the credentials to call {model_id} in {region}: {message}",
           "Check the profile and the keys: aws sts get-caller-identity", kind="auth"),
    _Fault("nocredentialserror partialcredentialserror", "", CredentialsError,
           "There are no AWS credentials to call {model_id} in {region}",
           "Run `aws configure`, set AWS_PROFILE, or work offline with BEDROCK_ENDPOINT_URL=local.", kind="auth"),
    _Fault("endpointconnectionerror connecttimeouterror proxyconnectionerror sslerror", "", EndpointError,
           "{endpoint} cannot be reached to call {model_id} in {region}: {message}",
           "Check the network, the region and BEDROCK_ENDPOINT_URL.", retryable=True, kind="network"),
    _Fault("connectionclosederror protocolerror responsestreamingerror incompletestream checksummismatch", "",
           ServiceError, "The connection to {endpoint} broke before {model_id} in {region} had answered: {message}",
           "Try again; it may have been billed.", retryable=True, kind="network"),
    _Fault("internalserverexception serviceunavailableexception modelnotreadyexception modelerrorexception "
           "modelstreamerrorexception internalfailure 500 502 503 504", "", ServiceError,
           "Bedrock could not answer for {model_id} in {region}: {message}",
           "Try again later, or another region; see https://health.aws.amazon.com/health/status.",
           retryable=True, kind="capacity"),
    _Fault("", "", ModelCallError, "Calling {model_id} in {region} failed: {code}: {message}", ""),
)  # fmt: skip


_NEVER_SENT = {
    "endpointconnectionerror", "connecttimeouterror", "proxyconnectionerror", "sslerror", "nocredentialserror",
    "partialcredentialserror", "credentialretrievalerror", "paramvalidationerror", "unauthorizedssotokenerror",
    "ssotokenloaderror", "tokenretrievalerror",
}  # fmt: skip


def explain(error: Exception, place: Place) -> ModelCallError:
    """Return the error that a person should see for one of botocore's, urllib3's or Bedrock's own."""
    code, message = code_of(error), _message_of(error)
    fault = _fault_of(error)
    facts = {
        **place._asdict(),
        "endpoint": place.endpoint_url or "Amazon Bedrock",
        "code": code,
        "message": message.rstrip("."),
    }
    return fault.error(
        f"{fault.what.format(**facts)}.",
        fix=fault.fix.format(**facts),
        code=code,
        retryable=fault.retryable,
        kind=fault.kind,
    )


def kind_of(error: Exception) -> FaultKind:
    """Return what kind of failure an error is."""
    return _fault_of(error).kind


def _fault_of(error: Exception) -> _Fault:
    folded, wording = code_of(error).lower(), _message_of(error).lower()
    return next(row for row in _FAULTS if (not row.codes or folded in row.codes.split()) and row.wording in wording)


def may_be_billed(error: Exception) -> bool:
    """Return whether the work may have been done although there is no answer: the request was sent, and then broke off.

    A refusal, which has an HTTP status, costs nothing, and neither does a request that found no connection.
    """
    response = getattr(error, "response", None)
    if isinstance(response, dict) and response.get("ResponseMetadata", {}).get("HTTPStatusCode"):
        return False
    return code_of(error).lower() not in _NEVER_SENT


def code_of(error: Exception) -> str:
    """Return AWS's error code, or the name of the exception where AWS gave none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    return type(error).__name__


def _message_of(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Message", ""))
    return str(error)
