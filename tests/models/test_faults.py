"""Every error that AWS or botocore can raise has a row of its own, a sentence and a fix."""

from __future__ import annotations

import inspect
import json
import string
from collections.abc import Iterator
from typing import Any

import botocore.eventstream
import botocore.exceptions
import botocore.session
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from agentflow.core import errors
from agentflow.core.errors import ModelCallError
from agentflow.models.catalog import load_catalog
from agentflow.models.faults import Place, explain, may_be_billed

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PLACE = Place(
    HAIKU,
    "us-east-1",
    None,
    HAIKU,
    profile_kind="us",
    bare_id=HAIKU.removeprefix("us."),
    routed_to=load_catalog().routed_to("us", "us-east-1"),
    profile_option=" --profile nightly",
)

NOT_ALLOWED = (
    "User: arn:aws:iam::111122223333:user/ada is not authorized to perform: bedrock:InvokeModel on resource: x"
)

# Operations of ours; an error that any of them can answer with has to be known.
OPERATIONS = {
    "bedrock-runtime": None,  # all
    "bedrock": ("ListFoundationModels", "GetFoundationModel", "ListInferenceProfiles", "GetInferenceProfile",
                "GetFoundationModelAvailability"),
    "service-quotas": ("ListServiceQuotas", "GetServiceQuota", "ListAWSDefaultServiceQuotas",
                       "GetAWSDefaultServiceQuota"),
}  # fmt: skip

# What calls of Bedrock cannot raise: bases, warnings, stubs of tests, paginators, waiters and S3.
NOT_OF_BEDROCK = {
    "BotoCoreError", "ClientError", "EventStreamError", "ImminentRemovalWarning", "UnsupportedTLSVersionWarning",
    "StubAssertionError", "StubResponseError", "UnStubbedResponseError", "PaginationError", "OperationNotPageableError",
    "WaiterConfigError", "WaiterError", "InvalidExpressionError", "InvalidS3AddressingStyleError",
    "InvalidS3UsEast1RegionalEndpointConfigError", "UnsupportedOutpostResourceError",
    "UnsupportedS3AccesspointConfigurationError", "UnsupportedS3ArnError", "UnsupportedS3ConfigurationError",
    "UnsupportedS3ControlArnError", "UnsupportedS3ControlConfigurationError", "AwsChunkedWrapperError",
    "MD5UnavailableError", "UnseekableStreamError", "InvalidEndpointDiscoveryConfigurationError",
    "CapacityNotAvailableError", "ApiVersionNotFoundError", "MissingServiceIdError", "UndefinedModelAttributeError",
    "UnknownClientMethodError", "UnknownServiceStyle",
}  # fmt: skip


def refused(code: str, message: str = "Because.", status: int | None = 400) -> ClientError:
    metadata = {} if status is None else {"ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError({"Error": {"Code": code, "Message": message}, **metadata}, "Converse")


def raised(kind: type[BaseException]) -> Exception:
    """Return an error of botocore with something in each field of its text."""
    fields = {name for _, name, _, _ in string.Formatter().parse(getattr(kind, "fmt", "")) if name}
    error = kind(**dict.fromkeys(fields, "it"))
    assert isinstance(error, Exception)
    return error


def modelled_codes() -> Iterator[str]:
    session = botocore.session.Session()
    for service, names in OPERATIONS.items():
        model = session.get_service_model(service)
        for name in names or model.operation_names:
            operation = model.operation_model(name)
            yield from (shape.name for shape in operation.error_shapes)
            if (stream := operation.get_event_stream_output()) is not None:
                yield from (name for name, shape in stream.members.items() if shape.metadata.get("exception"))


@pytest.mark.parametrize("code", sorted(set(modelled_codes())))
def test_every_modelled_error_has_a_class_and_a_fix(code: str) -> None:
    error = explain(refused(code), PLACE)
    assert type(error) is not ModelCallError
    assert error.fix
    assert HAIKU in str(error)
    assert "us-east-1" in str(error)


def test_the_errors_within_a_stream_are_among_the_modelled_ones() -> None:
    assert {"throttlingException", "modelStreamErrorException", "internalServerException"} <= set(modelled_codes())


def test_every_error_of_botocore_is_known() -> None:
    of_botocore = {
        kind
        for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == "botocore.exceptions"
    }
    of_streams = {
        kind
        for _, kind in inspect.getmembers(botocore.eventstream, inspect.isclass)
        if issubclass(kind, botocore.eventstream.ParserError) and kind is not botocore.eventstream.ParserError
    }
    assert of_streams
    assert {kind.__name__ for kind in of_botocore} >= NOT_OF_BEDROCK
    raised_ones = [raised(kind) for kind in of_botocore if kind.__name__ not in NOT_OF_BEDROCK]
    raised_ones += [_named(kind.__name__) for kind in of_streams]
    unknown = [type(error).__name__ for error in raised_ones if type(explain(error, PLACE)) is ModelCallError]
    assert unknown == []


def _named(name: str) -> Exception:
    error: Exception = type(name, (Exception,), {})("it")
    return error


@pytest.mark.parametrize(
    "code", ["400", "401", "403", "404", "405", "408", "413", "424", "429", "500", "502", "503", "504"]
)
def test_a_bare_http_status_has_a_class(code: str) -> None:
    assert type(explain(refused(code, "", int(code)), PLACE)) is not ModelCallError


@pytest.mark.parametrize("code", ["ThrottlingException", "throttlingException", "THROTTLINGEXCEPTION"])
def test_codes_compare_without_case(code: str) -> None:
    error = explain(refused(code), PLACE)
    assert type(error) is errors.ThrottledError
    assert error.retryable
    assert error.code == code


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (botocore.exceptions.NoCredentialsError(), errors.CredentialsError, "aws configure"),
        (botocore.exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
         errors.CredentialsError, "AWS_SECRET_ACCESS_KEY"),
        (botocore.exceptions.UnauthorizedSSOTokenError(), errors.CredentialsError, "aws sso login --profile nightly"),
        (botocore.exceptions.LoginRefreshRequired(), errors.CredentialsError, "aws login --profile nightly"),
        (botocore.exceptions.InvalidRegionError(region_name="us east"), errors.ConfigurationError, "AWS_REGION"),
        (botocore.exceptions.EndpointConnectionError(
            endpoint_url="https://bedrock-runtime.us-east-9.amazonaws.com",
            error="Failed to resolve 'bedrock-runtime.us-east-9.amazonaws.com'"),
         errors.EndpointError, "is a region that has Bedrock"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error="Connection refused"),
         errors.EndpointError, "Connection refused"),
        (botocore.exceptions.SSLError(endpoint_url="https://x", error="certificate verify failed"),
         errors.EndpointError, "AWS_CA_BUNDLE"),
        (botocore.exceptions.ProxyConnectionError(proxy_url="http://proxy:1"), errors.EndpointError, "HTTPS_PROXY"),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="https://x"), errors.EndpointError, "VPC endpoint"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="https://x"), errors.ModelTimeoutError, "still be billed"),
        (urllib3.exceptions.ProtocolError("Response ended prematurely"), errors.ServiceError, "may have been billed"),
        (botocore.exceptions.ParamValidationError(report="messages[0].role is wrong"), errors.InvalidRequestError,
         "messages[0].role"),
        (refused("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than "
                 "20260101T001000Z (20260101T001500Z - 5 min.)"), errors.CredentialsError, "clock is slow"),
        (refused("InvalidSignatureException", "Signature not yet current: 20260101T010000Z is still later than "
                 "20260101T000500Z (20260101T000000Z + 5 min.)"), errors.CredentialsError, "clock is fast"),
        (refused("modelStreamErrorException", "Model has timed out in processing the request."),
         errors.ModelTimeoutError, "Lower max_tokens"),
        (refused("ResourceNotFoundException", "Access denied. This Model is marked by provider as Legacy"),
         errors.ModelNotFoundError, "Move to an active model"),
        (refused("307", "moved.", 307), errors.EndpointError, "another address"),
        (refused("400", "The plain HTTP request was sent to HTTPS port", 400), errors.EndpointError, "https://"),
        (refused("403", "<html>Blocked</html>", 403), errors.EndpointError, "firewall"),
        (ResponseParserError("Unable to parse response, invalid response received:\nb'<!DOCTYPE html><html>'"),
         errors.EndpointError, "web page"),
        (refused("ThrottlingException", "Too many tokens per day, please wait before trying again."),
         errors.ThrottledError, "does not say at what hour"),
    ],
)  # fmt: skip
def test_a_failure_says_what_to_do(error: Exception, kind: type[ModelCallError], says: str) -> None:
    explained = explain(error, PLACE)
    assert type(explained) is kind
    assert says in str(explained)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("You don't have access to the model with the specified model ID.", "Model access"),
        ("... not authorized to perform the required AWS Marketplace actions (...)", "aws-marketplace:Subscribe"),
        (f"{NOT_ALLOWED} with an explicit deny in a service control policy: y", "IAM cannot fix it"),
        (f"{NOT_ALLOWED} with an explicit deny in an identity-based policy", "Deny statement"),
        (f"{NOT_ALLOWED} because no VPC endpoint policy allows the bedrock:InvokeModel action", "VPC console"),
        (f"{NOT_ALLOWED} with an explicit deny in a VPC endpoint policy", "VPC console"),
        (f"{NOT_ALLOWED} because no permissions boundary allows the bedrock:InvokeModel action", "is the boundary"),
        (f"{NOT_ALLOWED} because no session policy allows the bedrock:InvokeModel action", "without one"),
        (f"{NOT_ALLOWED} with an explicit deny in a resource control policy", "administrator"),
    ],
)  # fmt: skip
def test_the_ways_of_being_denied_are_told_apart(message: str, says: str) -> None:
    explained = explain(refused("AccessDeniedException", message, 403), PLACE)
    assert type(explained) is errors.AccessDeniedError
    assert says in explained.fix


def test_a_policy_that_lacks_the_model_gets_the_statements_to_add() -> None:
    arn = "arn:aws:bedrock:us-west-2::foundation-model/" + HAIKU.removeprefix("us.")
    message = (
        "User: arn:aws:sts::111122223333:assumed-role/R/s is not authorized to perform: bedrock:InvokeModel "
        f"on resource: {arn} because no identity-based policy allows the bedrock:InvokeModel action"
    )
    profile, models = statements(message, PLACE)
    assert profile["Resource"] == f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/{HAIKU}"
    assert arn in models["Resource"]
    assert models["Condition"] == {"StringLike": {"bedrock:InferenceProfileArn": profile["Resource"]}}
    assert profile["Action"] == ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]


def test_the_policy_of_a_global_profile_has_the_arn_without_a_region() -> None:
    place = PLACE._replace(model_id="global.anthropic.claude-sonnet-5", profile_kind="global",
                           bare_id="anthropic.claude-sonnet-5", routed_to=("us-east-1",))  # fmt: skip
    profile, models = statements("User: x is not authorized to perform: bedrock:InvokeModel", place)
    assert profile["Resource"].startswith("arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/global.")
    assert models["Resource"] == [
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-5",
        "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-5",
    ]


def test_the_policy_of_an_application_profile_names_its_own_arn() -> None:
    arn = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc"
    place = PLACE._replace(model_id=arn, profile_kind="on-demand", bare_id="", routed_to=())
    profile, models = statements("User: x is not authorized to perform: bedrock:InvokeModel", place)
    assert profile["Resource"] == arn
    assert models["Resource"] == ["arn:aws:bedrock:us-east-1::foundation-model/MODEL_ID"]


def test_another_action_that_is_not_allowed_is_the_one_to_add() -> None:
    (statement,) = statements("User: x is not authorized to perform: bedrock:CallWithBearerToken", PLACE)
    assert statement == {"Effect": "Allow", "Action": ["bedrock:CallWithBearerToken"], "Resource": "*"}


def statements(message: str, place: Place) -> Any:
    fix = explain(refused("AccessDeniedException", message, 403), place).fix
    return json.loads(fix.partition(": ")[2])


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (refused("ThrottlingException", status=429), False),
        (refused("throttlingException", status=None), True),  # within a stream: the work had begun
        (botocore.exceptions.ReadTimeoutError(endpoint_url="https://x"), True),
        (urllib3.exceptions.ReadTimeoutError(None, "x", "y"), True),  # type: ignore[arg-type]
        (botocore.exceptions.ConnectionClosedError(endpoint_url="https://x"), True),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error="x"), False),
        (botocore.exceptions.NoCredentialsError(), False),
        (botocore.exceptions.InvalidRegionError(region_name="x"), False),
        (RuntimeError("who knows"), True),
    ],
)
def test_only_what_was_sent_may_be_billed(error: Exception, billed: bool) -> None:
    assert may_be_billed(error) is billed


def test_a_key_in_an_error_is_not_shown() -> None:
    error = ValueError("Invalid header value b'Bearer planted-bedrock-api-key\\n'")
    assert "planted" not in str(explain(error, PLACE))
