"""The policy allows what the configured workflows call, and nothing else."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from agentflow.core.errors import DefinitionError
from agentflow.ops.deployment.config import DeploymentConfig, Permissions
from agentflow.ops.deployment.policy import MOST_CHARACTERS, calls_of, policy_documents

ACCOUNT = "123456789012"
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
APPLICATION = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc"


def statements(folder: Path, *workflows: str, **settings: Any) -> list[dict[str, Any]]:
    paths = [folder / f"{number}.yaml" for number in range(len(workflows))]
    for path, text in zip(paths, workflows, strict=True):
        path.write_text(text)
    config = DeploymentConfig(workflows=tuple(paths), **settings)
    documents = policy_documents(config, calls_of(config), ACCOUNT)
    return [statement for document in documents for statement in document["Statement"]]


def step(model: str, more: str = "", client: str = "") -> str:
    agent = f"{{name: a, model_type: '{model}'{more}}}"
    return f"name: w\nsteps:\n  s:\n    agent: {agent}\n    prompt_template: Hi\n" + (
        f"    client: {client}\n" if client else ""
    )


def models(found: list[dict[str, Any]]) -> set[str]:
    """Return what may be invoked: ARNs of profiles and models, without what all of them begin with."""
    arns = {
        arn
        for statement in found
        if "bedrock:InvokeModel" in statement["Action"]
        for arn in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
    }
    return {arn.removeprefix("arn:aws:bedrock:") for arn in arns}


def actions(found: list[dict[str, Any]]) -> set[str]:
    return {action for statement in found for action in statement["Action"]}


def test_a_profile_and_the_models_that_it_leads_to(tmp_path: Path) -> None:
    found = statements(tmp_path, step("haiku"), region="ap-northeast-1")
    profile = f"ap-northeast-1:{ACCOUNT}:inference-profile/jp.{HAIKU}"
    assert models(found) == {
        profile,
        f"ap-northeast-1::foundation-model/{HAIKU}",
        f"ap-northeast-3::foundation-model/{HAIKU}",
    }
    assert found[1]["Condition"] == {"StringLike": {"bedrock:InferenceProfileArn": [f"arn:aws:bedrock:{profile}"]}}
    assert actions(found[:2]) == {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}


def test_the_global_profile_needs_the_model_of_no_region(tmp_path: Path) -> None:
    assert models(statements(tmp_path, step("global.haiku"))) == {
        f"us-east-1:{ACCOUNT}:inference-profile/global.{HAIKU}",
        f"us-east-1::foundation-model/{HAIKU}",
        f"::foundation-model/{HAIKU}",
    }


def test_a_client_with_regions_and_a_fallback(tmp_path: Path) -> None:
    client = "{regions: [ap-southeast-2, global], fallback_model: nova-lite}"
    found = models(statements(tmp_path, step("haiku", client=client)))
    assert {arn for arn in found if "profile" in arn} == {
        f"ap-southeast-2:{ACCOUNT}:inference-profile/au.{HAIKU}",
        f"ap-southeast-2:{ACCOUNT}:inference-profile/global.{HAIKU}",
    }
    assert "ap-southeast-2::foundation-model/amazon.nova-lite-v1:0" in found  # on demand there
    assert not any(arn.startswith("us-") for arn in found)


def test_a_model_of_the_users_own_functions_and_one_that_is_not_in_the_catalog(tmp_path: Path) -> None:
    found = models(statements(tmp_path, step("us.deepseek.r1-v1:0"), models=("mistral.mistral-large-2407-v1:0",)))
    assert f"us-east-1:{ACCOUNT}:inference-profile/us.deepseek.r1-v1:0" in found
    assert {"us-west-2::foundation-model/deepseek.r1-v1:0", "us-east-1::foundation-model/deepseek.r1-v1:0"} <= found
    assert "us-east-1::foundation-model/mistral.mistral-large-2407-v1:0" in found


def test_where_a_profile_leads_to_is_not_known_any_region_is_allowed_through_it(tmp_path: Path) -> None:
    found = statements(tmp_path, step("apac.sonnet-4-6"), region="ap-south-1")
    assert "*::foundation-model/anthropic.claude-sonnet-4-6" in models(found)
    assert found[1]["Condition"]["StringLike"]["bedrock:InferenceProfileArn"][0].endswith(
        "/apac.anthropic.claude-sonnet-4-6"
    )


def test_application_profiles_and_provisioned_throughput(tmp_path: Path) -> None:
    provisioned = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:provisioned-model/xyz"
    client = f"{{base_models: {{'{APPLICATION}': haiku}}}}"
    found = statements(tmp_path, step(APPLICATION, client=client), step(provisioned))
    assert {APPLICATION, provisioned} <= {f"arn:aws:bedrock:{arn}" for arn in models(found)}
    assert f"us-west-2::foundation-model/{HAIKU}" in models(found)
    unknown = statements(tmp_path, step(APPLICATION))
    assert models(unknown) == {APPLICATION.removeprefix("arn:aws:bedrock:"), "*::foundation-model/*"}
    assert unknown[1]["Condition"]["StringLike"]["bedrock:InferenceProfileArn"] == [APPLICATION]


def test_workflows_that_are_steps_count_and_an_endpoint_of_its_own_does_not(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(step("opus"))
    outer = "name: o\nsteps:\n  i:\n    workflow: inner.yaml\n"
    found = models(statements(tmp_path, outer, step("haiku", client="{endpoint_url: local}")))
    assert any("claude-opus-5" in arn for arn in found)
    assert not any("haiku" in arn for arn in found)


def test_a_guardrail_is_allowed_where_a_workflow_has_one(tmp_path: Path) -> None:
    guarded = step("haiku", ", guardrail: {identifier: gr1, version: DRAFT}")
    [statement] = [entry for entry in statements(tmp_path, guarded) if "bedrock:ApplyGuardrail" in entry["Action"]]
    assert statement["Resource"] == [f"arn:aws:bedrock:us-east-1:{ACCOUNT}:guardrail/gr1"]
    assert "bedrock:ApplyGuardrail" not in actions(statements(tmp_path, step("haiku")))


BASE = {"bedrock:InvokeModel"} | {
    f"logs:{name}" for name in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
}


@pytest.mark.parametrize(
    ("feature", "adds"),
    [
        (None, set()),
        ("streaming", {"bedrock:InvokeModelWithResponseStream"}),
        ("count_tokens", {"bedrock:CountTokens"}),
        ("metrics", {"cloudwatch:PutMetricData"}),
        ("quotas", {"servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"}),
        ("api_key", {"bedrock:CallWithBearerToken"}),
    ],
)
def test_a_feature_adds_its_actions_and_no_others(feature: str | None, adds: set[str], tmp_path: Path) -> None:
    allowed = Permissions(**{name: name == feature for name in Permissions.model_fields})
    assert actions(statements(tmp_path, step("haiku"), permissions=allowed)) == BASE | adds


def test_only_the_own_logs_and_metrics_are_written(tmp_path: Path) -> None:
    found = statements(tmp_path, step("haiku"))
    for statement in found:
        if statement["Resource"] == "*" and "cloudwatch:PutMetricData" in statement["Action"]:
            assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "AgentFlow"}}
        elif statement["Resource"] == "*":
            assert all(action.startswith("servicequotas:Get") for action in statement["Action"])
    [logs] = [statement for statement in found if "logs:PutLogEvents" in statement["Action"]]
    stream = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{{}}:log-stream:s"
    assert any(fnmatchcase(stream.format("/aws/agentflow/production"), arn) for arn in logs["Resource"])
    assert not any(fnmatchcase(stream.format("/aws/lambda/other"), arn) for arn in logs["Resource"])


def test_many_models_are_spread_over_policies_that_iam_takes(tmp_path: Path) -> None:
    names = ("haiku", "sonnet", "opus", "fable", "opus-4-8", "opus-4-7", "sonnet-4-6", "sonnet-4-5", "opus-4-5")
    paths = [tmp_path / f"{name}.yaml" for name in names]
    for name, path in zip(names, paths, strict=True):
        path.write_text(step(name))
    config = DeploymentConfig(workflows=tuple(paths))
    documents = policy_documents(config, calls_of(config), ACCOUNT)
    assert len(documents) == 2
    assert all(len(json.dumps(document, separators=(",", ":"))) <= MOST_CHARACTERS for document in documents)
    sids = [statement["Sid"] for document in documents for statement in document["Statement"]]
    assert len({*sids}) == len(sids)
    assert all(sid.isalnum() for sid in sids)


def test_a_workflow_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"0\.yaml cannot be read: .*did you mean 'steps'"):
        statements(tmp_path, "name: w\nstps: {}")
    with pytest.raises(DefinitionError, match="did you mean 'haiku'"):
        statements(tmp_path, step("haikku"))
