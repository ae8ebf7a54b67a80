"""The IAM statements that let a caller use a model: what an error about a missing permission prints.

Source: Amazon Bedrock User Guide, inference-profiles-prereq. There is no `bedrock:Converse` action: Converse is allowed
by `bedrock:InvokeModel`, ConverseStream by `bedrock:InvokeModelWithResponseStream`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from agentflow.models.prices import ON_DEMAND

ACTIONS = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
UNKNOWN_ACCOUNT = "ACCOUNT"

_CALLER = re.compile(r"arn:aws[\w-]*:(?:iam|sts)::(\d{12}):")
_DENIED = re.compile(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?")
_MODEL_REGION = re.compile(r"arn:aws[\w-]*:bedrock:([a-z0-9-]+)::foundation-model/")


def invoke_statements(
    model_id: str, kind: str, *, region: str, bare_id: str, routed_to: Sequence[str], account: str
) -> list[dict[str, Any]]:
    """Return the statements that allow calling a model, and nothing more.

    Parameters
    ----------
    model_id : what is called: a bare id, a profile or an ARN.
    kind : the kind of the profile, such as `us`; `on-demand` where there is none.
    region : of the client.
    bare_id : the model's id without the prefix of a profile; empty where it is not known, as behind some ARNs.
    routed_to : regions that the profile sends requests to, as far as they are known.
    account : the caller's account, or `UNKNOWN_ACCOUNT`.
    """
    partition = "aws-us-gov" if region.startswith("us-gov-") else "aws"
    bare_id = bare_id or "MODEL_ID"
    models = [f"arn:{partition}:bedrock:{name}::foundation-model/{bare_id}" for name in routed_to]
    is_profile_arn = model_id.startswith("arn:") and "inference-profile/" in model_id
    if kind == ON_DEMAND and not is_profile_arn:
        return [_allow(list(ACTIONS), models)]
    if kind == "global":
        models.append(f"arn:{partition}:bedrock:::foundation-model/{bare_id}")  # as the guide has it
    profile = model_id if is_profile_arn else f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{model_id}"
    condition = {"StringLike": {"bedrock:InferenceProfileArn": profile}}
    return [_allow(list(ACTIONS), profile), {**_allow(list(ACTIONS), models), "Condition": condition}]


def denied_action(message: str) -> tuple[str, str | None]:
    """Return the action and the resource that a refusal names; an empty action where it names none."""
    found = _DENIED.search(message)
    return (found[1], found[2].rstrip(".,") if found[2] else None) if found else ("", None)


def account_of(message: str) -> str:
    """Return the account of the caller that a refusal names, else `UNKNOWN_ACCOUNT`."""
    found = _CALLER.search(message)
    return found[1] if found else UNKNOWN_ACCOUNT


def with_region_of(message: str, regions: Collection[str]) -> list[str]:
    """Return regions, and the one of the model that a refusal names."""
    found = _MODEL_REGION.search(message)
    return sorted({*regions, found[1]} if found else regions)


def one_statement(action: str, resource: str | None) -> list[dict[str, Any]]:
    """Return the statement that allows one action."""
    return [_allow([action], resource or "*")]


def _allow(actions: list[str], resources: str | list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}
