"""What Bedrock's and botocore's errors mean, and what to do about each.

Source of the wordings: real error texts in public issues and the Amazon Bedrock User Guide
(troubleshooting-api-error-codes); of the codes: botocore's service models and `botocore.exceptions`. The first row that
fits wins: the most specific stand first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from agentflow.core.errors import (
    AccessDeniedError,
    ConfigurationError,
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
from agentflow.models.policy import ACTIONS, account_of, denied_action, invoke_statements, one_statement, with_region_of
from agentflow.models.prices import ON_DEMAND
from agentflow.utils.redaction import redacted


class Place(NamedTuple):
    """What was called, for the error's sentence.

    Attributes
    ----------
    endpoint_url : None is Amazon's own.
    profile_hint : the id to call from the region.
    profile_kind, bare_id, routed_to : of the model, for the policy that it needs; an empty id where it is not known.
    successor : the model to use instead of one that ends.
    profile_option : `` --profile NAME`` for the AWS command line, empty without a profile.
    renewal : how the credentials in use are renewed.
    """

    model_id: str
    region: str
    endpoint_url: str | None
    profile_hint: str
    profile_kind: str = ON_DEMAND
    bare_id: str = ""
    routed_to: Sequence[str] = ()
    successor: str = "an active model"
    profile_option: str = ""
    renewal: str = "Renew them, and check with: aws sts get-caller-identity"


class _Fault(NamedTuple):
    codes: str  # lower case, separated by spaces; the names of botocore's exceptions count as codes
    wording: str  # a part of the message, in lower case
    error: type[ModelCallError]
    what: str
    fix: str
    retryable: bool = False
    never_sent: bool = False  # no request has left this machine, so that nothing can be billed
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
           "From {region} call {profile_hint}; else check its spelling and that its prefix fits the region: "
           "aws bedrock list-inference-profiles --region {region}{profile_option}", kind="validation"),
    _Fault("validationexception", "doesn't support the model", ModelNotFoundError,
           "{model_id} in {region} is no model to talk to", "Choose a text or chat model.", kind="validation"),
    _Fault("validationexception", "alternate between user and assistant", InvalidRequestError,
           "Two messages to {model_id} in {region} have the same role in a row", "Make one message of them.",
           kind="validation"),
    _Fault("validationexception", "unknown operation", EndpointError,
           "{endpoint} is no endpoint of bedrock-runtime to call {model_id} in {region}",
           "Check BEDROCK_ENDPOINT_URL.", kind="validation"),
    _Fault("unknownoperationexception 404 405", "", EndpointError,
           "{endpoint} is no endpoint of bedrock-runtime to call {model_id} in {region}: {message}",
           "Check BEDROCK_ENDPOINT_URL.", kind="validation"),
    _Fault("400", "plain http request", EndpointError,
           "{endpoint} takes https only, and was called by http for {model_id} in {region}",
           "Begin BEDROCK_ENDPOINT_URL with https://.", kind="network"),
    _Fault("301 302 303 307 308", "", EndpointError,
           "{endpoint} sends the call of {model_id} in {region} on to another address, and so is no endpoint of "
           "bedrock-runtime", "Check BEDROCK_ENDPOINT_URL (https or http?) and the proxy.", kind="network"),
    _Fault("validationexception serializationexception illegalargumentexception invalidpaginationtokenexception "
           "conflictexception 400", "", InvalidRequestError,
           "Bedrock refused the request to {model_id} in {region}: {message}", "Correct what the message names.",
           kind="validation"),
    _Fault("413 requestentitytoolargeexception", "", InvalidRequestError,
           "The request to {model_id} in {region} is larger than Bedrock takes: {message}",
           "Send fewer or smaller images and documents.", kind="validation"),
    _Fault("paramvalidationerror validationerror rangeerror unknownparametererror missingparameterserror "
           "unknownkeyerror", "", InvalidRequestError,
           "The request to {model_id} in {region} is written wrongly, and was not sent: {message}",
           "Correct what the message names.", never_sent=True, kind="validation"),
    _Fault("resourcenotfoundexception", "legacy", ModelNotFoundError,
           "{model_id} is being retired in {region}: {message}", "Move to {successor}.", kind="validation"),
    _Fault("resourcenotfoundexception", "use case details", AccessDeniedError,
           "Anthropic's use case form for {model_id} was not filled in for this account in {region}",
           "Fill it in in the Bedrock console (Model catalog), and try again 15 minutes later.", kind="auth"),
    _Fault("resourcenotfoundexception nosuchresourceexception", "", ModelNotFoundError,
           "There is no model {model_id} in {region}: {message}",
           "Check its spelling and region: aws bedrock list-foundation-models --region {region}{profile_option}",
           kind="validation"),
    _Fault("accessdeniedexception", "marketplace", AccessDeniedError,
           "The account has no subscription to {model_id} in {region}",
           "Have an administrator with aws-marketplace:Subscribe call it once there, then wait some minutes.",
           kind="auth"),
    _Fault("accessdeniedexception", "service control policy", AccessDeniedError,
           "Your organization forbids {model_id} in {region}: {message}",
           "Ask for the regions that its profile routes to (of a `global.` profile: `aws:RequestedRegion` = "
           "`unspecified`), or use a profile of a narrower geography; IAM cannot fix it.", kind="auth"),
    _Fault("accessdeniedexception", "vpc endpoint policy", AccessDeniedError,
           "The policy of the VPC endpoint on the way does not let {model_id} be called in {region}: {message}",
           "Have it allow bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream in the VPC console (Endpoints, "
           "bedrock-runtime, Policy); the caller's IAM policy cannot fix it.", kind="auth"),
    _Fault("accessdeniedexception", "permissions boundary", AccessDeniedError,
           "The permissions boundary of the caller does not allow {model_id} in {region}: {message}",
           "Have an administrator allow it in the policy that is the boundary; the caller's own IAM policy cannot fix "
           "it.", kind="auth"),
    _Fault("accessdeniedexception", "session policy", AccessDeniedError,
           "The session policy that the role was assumed with does not allow {model_id} in {region}: {message}",
           "Allow it in the session policy (of AssumeRole, or of the permission set of single sign-on), or assume the "
           "role without one.", kind="auth"),
    _Fault("accessdeniedexception", "resource control policy", AccessDeniedError,
           "Your organization's resource control policy forbids {model_id} in {region}: {message}",
           "Have its administrator allow it; the caller's IAM policy cannot fix it.", kind="auth"),
    _Fault("accessdeniedexception", "explicit deny", AccessDeniedError,
           "A policy of your account denies {model_id} in {region}: {message}",
           "Take it out of the Deny statement, which often is a condition on the region; an Allow cannot win over it.",
           kind="auth"),
    _Fault("accessdeniedexception", "not authorized to perform", AccessDeniedError,
           "The IAM policy does not allow calling {model_id} in {region}: {message}",
           "Add these statements to the caller's policy: {policy}", kind="auth"),
    _Fault("403", "<html", EndpointError,
           "Something on the way to {endpoint}, such as a firewall, refused the call of {model_id} in {region}",
           "Check the proxy (HTTPS_PROXY, NO_PROXY), the firewall and BEDROCK_ENDPOINT_URL.", kind="network"),
    _Fault("accessdeniedexception 403", "", AccessDeniedError,
           "You have no access to {model_id} in {region}: {message}",
           "Enable the model for the account in the Bedrock console of {region} (Model access), or choose another "
           "region.", kind="auth"),
    _Fault("throttlingexception", "per day", ThrottledError,
           "The daily token quota of {model_id} in {region} is used up; AWS does not say at what hour it is renewed",
           "Trying again at once is no use: wait until tomorrow, use another model, or raise the quota in Service "
           "Quotas (a new account's may be 0).", kind="daily quota"),
    _Fault("throttlingexception toomanyrequestsexception throttling throttledexception requestlimitexceeded 429", "",
           ThrottledError, "{model_id} throttled the call in {region}: {message}",
           "Lower BEDROCK_MAX_CONNECTIONS or max_tokens, or raise the quota in Service Quotas.",
           retryable=True, kind="throttle"),
    _Fault("servicequotaexceededexception quotaexceededexception", "", ThrottledError,
           "A quota of {model_id} in {region} is used up: {message}", "Raise the quota in Service Quotas.",
           kind="throttle"),
    _Fault("modeltimeoutexception 408", "", ModelTimeoutError,
           "{model_id} did not answer in time in {region}", "Lower max_tokens or shorten the prompt.",
           retryable=True, kind="timeout"),
    _Fault("modelstreamerrorexception", "timed out", ModelTimeoutError,
           "{model_id} did not answer in time in {region}: {message}", "Lower max_tokens or shorten the prompt.",
           retryable=True, kind="timeout"),
    _Fault("readtimeouterror", "", ModelTimeoutError,
           "{model_id} in {region} sent nothing for too long: {message}",
           "Lower max_tokens or shorten the prompt; a sent request may still be billed.", kind="timeout"),
    _Fault("invalidsignatureexception signaturedoesnotmatch", "signature expired", CredentialsError,
           "This machine's clock is slow, so AWS refuses what it signs to call {model_id} in {region}: {message}",
           "Set the clock: turn on time synchronization (NTP).", kind="auth"),
    _Fault("invalidsignatureexception signaturedoesnotmatch", "not yet current", CredentialsError,
           "This machine's clock is fast, so AWS refuses what it signs to call {model_id} in {region}: {message}",
           "Set the clock: turn on time synchronization (NTP).", kind="auth"),
    _Fault("unauthorizedssotokenerror ssotokenloaderror tokenretrievalerror ssoerror", "", CredentialsError,
           "The single sign-on session to call {model_id} in {region} has expired, or was never begun",
           "Log in: aws sso login{profile_option}", never_sent=True, kind="auth"),
    _Fault("loginrefreshrequired loginerror logintokenloaderror loginauthorizationcodeerror "
           "logininsufficientpermissions", "", CredentialsError,
           "The login to call {model_id} in {region} has expired: {message}", "Log in: aws login{profile_option}",
           never_sent=True, kind="auth"),
    _Fault("expiredtokenexception expiredtoken", "", CredentialsError,
           "The AWS credentials to call {model_id} in {region} have expired", "{renewal}", kind="auth"),
    _Fault("unrecognizedclientexception invalidsignatureexception incompletesignature incompletesignatureexception "
           "invalidclienttokenid signaturedoesnotmatch missingauthenticationtoken missingauthenticationtokenexception "
           "401", "", CredentialsError,
           "AWS does not accept the credentials to call {model_id} in {region}: {message}",
           "{renewal} Who AWS takes you for: aws sts get-caller-identity{profile_option}", kind="auth"),
    _Fault("credentialretrievalerror", "custom-process", CredentialsError,
           "The credential_process{of_profile} gave no credentials to call {model_id} in {region}: {message}",
           "Run the credential_process of the profile by hand; it must print keys that are not expired.",
           never_sent=True, kind="auth"),
    _Fault("filenotfounderror permissionerror isadirectoryerror", "", ConfigurationError,
           "A file that the AWS configuration names cannot be read to call {model_id} in {region}: {message}",
           "Correct its path, such as AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CA_BUNDLE or one in the profile.",
           never_sent=True, kind="validation"),
    _Fault("credentialretrievalerror metadataretrievalerror", "", CredentialsError,
           "The AWS credentials to call {model_id} in {region} could not be fetched: {message}", "{renewal}",
           never_sent=True, kind="auth"),
    _Fault("partialcredentialserror", "", CredentialsError,
           "The AWS credentials to call {model_id} in {region} are not complete: {message}",
           "Set what is missing, beside what is set.", never_sent=True, kind="auth"),
    _Fault("nocredentialserror noauthtokenerror", "", CredentialsError,
           "There are no AWS credentials to call {model_id} in {region}",
           "Run `aws configure`, set AWS_PROFILE, or work offline with BEDROCK_ENDPOINT_URL=local.",
           never_sent=True, kind="auth"),
    _Fault("invalidendpointconfigurationerror", "", CredentialsError,
           "A Bedrock API key is sent over https only, and {endpoint} for {model_id} in {region} is not: {message}",
           "Give an https URL, or unset AWS_BEARER_TOKEN_BEDROCK.", never_sent=True, kind="auth"),
    _Fault("profilenotfound", "", CredentialsError,
           "There is no such AWS profile to call {model_id} in {region} with: {message}",
           "Set AWS_PROFILE or profile_name to one of: aws configure list-profiles", never_sent=True, kind="auth"),
    _Fault("invalidregionerror noregionerror unknownregionerror", "", ConfigurationError,
           "'{region}' is no AWS region to call {model_id} in: {message}",
           "Set AWS_REGION or region_name to one, such as us-east-1.", never_sent=True, kind="validation"),
    _Fault("configparseerror confignotfound invalidconfigerror infiniteloopconfigerror unknowncredentialerror "
           "refreshwithmfaunsupportederror invalidproxiesconfigerror invalidmaxretryattemptserror "
           "invalidretryconfigurationerror invalidretrymodeerror invaliddefaultsmode invalidimdsendpointerror "
           "invalidimdsendpointmodeerror invalidstsregionalendpointsconfigerror invalidchecksumconfigerror "
           "unknowntokenprovidererror missingdependencyexception unknownsignatureversionerror "
           "unsupportedsignatureversionerror endpointvarianterror unknownfipsendpointerror endpointprovidererror "
           "endpointresolutionerror unknownendpointerror baseendpointresolvererror unknownserviceerror "
           "datanotfounderror aliasconflictparametererror unsupportedserviceprotocolserror servicenotinregionerror "
           "unknownendpointresolutionbuiltinname invalidhostlabelerror invaliddnsnameerror", "", ConfigurationError,
           "The AWS configuration{of_profile} cannot be used to call {model_id} in {region}: {message}",
           "Correct it in ~/.aws/config, or in the AWS variables of the environment.",
           never_sent=True, kind="validation"),
    _Fault("endpointconnectionerror", "resolve", EndpointError,
           "The name of {endpoint} cannot be resolved to call {model_id} in {region}: {message}",
           "Check that {region} is a region that has Bedrock, BEDROCK_ENDPOINT_URL, and the network's DNS.",
           retryable=True, never_sent=True, kind="network"),
    _Fault("proxyconnectionerror", "", EndpointError,
           "The proxy on the way to {endpoint} cannot be reached to call {model_id} in {region}: {message}",
           "Check HTTPS_PROXY, or name the host in NO_PROXY.", retryable=True, never_sent=True, kind="network"),
    _Fault("sslerror", "certificate", EndpointError,
           "The certificate of {endpoint} is not trusted, so {model_id} in {region} was not called: {message}",
           "Behind a company's proxy set AWS_CA_BUNDLE to the file of its root certificate.",
           never_sent=True, kind="network"),
    _Fault("sslerror", "", EndpointError,
           "No secure connection to {endpoint} could be made to call {model_id} in {region}: {message}",
           "Check BEDROCK_ENDPOINT_URL (https or http?) and the proxy.",
           retryable=True, never_sent=True, kind="network"),
    _Fault("connecttimeouterror", "", EndpointError,
           "{endpoint} did not take the connection in time to call {model_id} in {region}: {message}",
           "Check the network, its firewall, and in a private one the VPC endpoint of bedrock-runtime.",
           retryable=True, never_sent=True, kind="network"),
    _Fault("endpointconnectionerror", "", EndpointError,
           "{endpoint} cannot be reached to call {model_id} in {region}: {message}",
           "Check the network, the region and BEDROCK_ENDPOINT_URL.", retryable=True, never_sent=True, kind="network"),
    _Fault("responseparsererror", "<html", EndpointError,
           "{endpoint} answered the call of {model_id} in {region} with a web page, and so is no endpoint of "
           "bedrock-runtime", "Check BEDROCK_ENDPOINT_URL, and log in to the proxy or network on the way.",
           kind="network"),
    _Fault("connectionclosederror connectionerror httpclienterror protocolerror incompleteread incompletereaderror "
           "responsestreamingerror incompleteanswer incompletestream checksummismatch duplicateheader "
           "invalidheaderslength invalidpayloadlength noinitialresponseerror responseparsererror checksumerror "
           "flexiblechecksumerror", "",
           ServiceError, "The connection to {endpoint} broke before {model_id} in {region} had answered: {message}",
           "Try again; it may have been billed.", retryable=True, kind="network"),
    _Fault("internalserverexception serviceunavailableexception modelnotreadyexception modelerrorexception "
           "modelstreamerrorexception internalfailure serviceexception eventstreamerror 424 500 502 503 504", "",
           ServiceError,
           "Bedrock could not answer for {model_id} in {region}: {message}",
           "Try again later, or another region; see https://health.aws.amazon.com/health/status.",
           retryable=True, kind="capacity"),
    _Fault("", "", ModelCallError, "Calling {model_id} in {region} failed: {code}: {message}", ""),
)  # fmt: skip

# Source: the rows above. In lower case, as a log or a metric compares them.
THROTTLE_CODES = frozenset(code for fault in _FAULTS if fault.kind == "throttle" for code in fault.codes.split())


def explain(error: Exception, place: Place) -> ModelCallError:
    """Return the error that a person should see for one of botocore's, urllib3's or Bedrock's own."""
    fault, code, message = _row(error)
    profile = place.profile_option.removeprefix(" --profile ")
    facts = {
        **place._asdict(),
        "endpoint": place.endpoint_url or "Amazon Bedrock",
        "of_profile": f" of the profile {profile!r}" if profile else "",
        "code": code,
        "message": message.rstrip("."),
        "policy": _policy(message, place) if "{policy}" in fault.fix else "",
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
    return _row(error)[0].kind


def may_be_billed(error: Exception) -> bool:
    """Return whether the work may have been done although there is no answer: the request was sent, and then broke off.

    A refusal, which has an HTTP status, costs nothing, and neither does a request that found no connection.
    """
    response = getattr(error, "response", None)
    if isinstance(response, dict) and response.get("ResponseMetadata", {}).get("HTTPStatusCode"):
        return False
    return not _row(error)[0].never_sent


def code_of(error: Exception) -> str:
    """Return AWS's error code, or the name of the exception where AWS gave none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    return type(error).__name__


def _row(error: Exception) -> tuple[_Fault, str, str]:
    """Return the table's row for an error, its code and its message."""
    code, message = code_of(error), redacted(_message_of(error))
    folded, wording = code.lower(), message.lower()
    fault = next(row for row in _FAULTS if (not row.codes or folded in row.codes.split()) and row.wording in wording)
    return fault, code, message


def _message_of(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Message", "")) or "it did not say why"
    reason = getattr(error, "kwargs", {}).get(
        "error"
    )  # why botocore found no connection, which its own text leaves out
    text = str(error)
    return text if reason is None or str(reason) in text else f"{text} ({reason})"


def _policy(message: str, place: Place) -> str:
    """Return the statements to add, as JSON."""
    action, resource = denied_action(message)
    if action and action not in ACTIONS:
        return json.dumps(one_statement(action, resource))
    return json.dumps(
        invoke_statements(
            place.model_id,
            place.profile_kind,
            region=place.region,
            bare_id=place.bare_id,
            routed_to=with_region_of(message, place.routed_to or (place.region,)),
            account=account_of(message),
        )
    )
