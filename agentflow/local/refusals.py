"""Bedrock's errors by name, with their wordings, for a fault script to order."""

from __future__ import annotations

from collections.abc import Mapping

DAMAGE = "The system encountered an unexpected error during processing. Try your request again."
_NOT_ALLOWED = "User: arn:aws:iam::123456789012:user/local is not authorized to perform: {action} on resource: "
_MODEL_ARN = "arn:aws:bedrock:{region}::foundation-model/{model}"
_PROFILE_ARN = "arn:aws:bedrock:{region}:123456789012:inference-profile/{called_as}"
_NO_POLICY = " because no identity-based policy allows the {action} action"

#: Errors by name: code and message. Wordings from public reports of real ones, but for those of ModelNotReadyException
#: and ModelErrorException, which are botocore's documentation of them.
REFUSALS: Mapping[str, tuple[str, str]] = {
    "throttled_tokens": ("ThrottlingException", "Too many tokens, please wait before trying again."),
    "throttled_requests": ("ThrottlingException", "Too many requests, please wait before trying again."),
    "throttled_per_day": ("ThrottlingException", "Too many tokens per day, please wait before trying again."),
    "too_many_connections": (
        "ServiceUnavailableException",
        "Too many connections, please wait before trying again.",
    ),
    "unavailable": ("ServiceUnavailableException", "Bedrock is unable to process your request."),
    "internal_error": ("InternalServerException", DAMAGE),
    "model_error": ("ModelErrorException", "The request failed due to an error while processing the model."),
    "model_timeout": (
        "ModelTimeoutException",
        "Model has timed out in processing the request. Try your request again.",
    ),
    "model_not_ready": (
        "ModelNotReadyException",
        "The model specified in the request is not ready to serve inference requests.",
    ),
    "model_access_denied": ("AccessDeniedException", "You don't have access to the model with the specified model ID."),
    "iam_denied": ("AccessDeniedException", _NOT_ALLOWED + _MODEL_ARN + _NO_POLICY),
    "iam_profile_denied": ("AccessDeniedException", _NOT_ALLOWED + _PROFILE_ARN + _NO_POLICY),
    "identity_policy_denied": (
        "AccessDeniedException",
        _NOT_ALLOWED + _MODEL_ARN + " with an explicit deny in an identity-based policy",
    ),
    "scp_denied": (
        "AccessDeniedException",
        _NOT_ALLOWED + _MODEL_ARN + " with an explicit deny in a service control policy: "
        "arn:aws:organizations::123456789012:policy/o-local/service_control_policy/p-local",
    ),
    "marketplace_denied": (
        "AccessDeniedException",
        (
            "Model access is denied due to IAM user or service role is not authorized to perform the required "
            "AWS Marketplace actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable "
            "access to this model. Refer to the Amazon Bedrock documentation for further details. Your AWS "
            "Marketplace subscription for this model cannot be completed at this time. If you recently fixed "
            "this issue, try again after 5 minutes."
        ),
    ),
    # Bedrock writes this apostrophe as U+2019, and clients match the sentence.
    "wrong_profile": (
        "ValidationException",
        (
            "Invocation of model ID {model} with on-demand throughput isn\u2019t supported. Retry your request with "
            "the ID or ARN of an inference profile that contains this model."
        ),
    ),
    "unknown_model": ("ValidationException", "The provided model identifier is invalid."),
    "retired_model": (
        "ResourceNotFoundException",
        (
            "Access denied. This Model is marked by provider as Legacy and you have not been actively using the"
            " model in the last 15 days. Please upgrade to an active model on Amazon Bedrock"
        ),
    ),
    "use_case_missing": (
        "ResourceNotFoundException",
        (
            "Model use case details have not been submitted for this account. Fill out the Anthropic use case "
            "details form before using the model. If you have already filled out the form, try again in 15 "
            "minutes."
        ),
    ),
    "expired_token": ("ExpiredTokenException", "The security token included in the request is expired"),
    "invalid_token": ("UnrecognizedClientException", "The security token included in the request is invalid."),
    "clock_skew": (
        "InvalidSignatureException",
        "Signature expired: {signed} is now earlier than {earliest} ({now} - 5 min.)",
    ),
}
