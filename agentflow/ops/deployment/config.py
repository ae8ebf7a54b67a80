"""What `config/deployment_config.yaml` says: the settings of what `agentflow deploy` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from agentflow.core.definition.yaml_text import load_source
from agentflow.core.errors import DefinitionError, nearest

# What CloudWatch Logs takes (API PutRetentionPolicy).
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
Percent = Annotated[float, Field(gt=0, lt=100)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Permissions(_Part):
    """What the workflows do besides calling models without streaming: each adds its actions to the policy.

    Attributes
    ----------
    streaming : answers are shown while they come.
    count_tokens : the program calls `client.count_tokens`.
    quotas : the limiter reads what the account may ask of a model in a minute.
    metrics : metrics are sent by PutMetricData, and not through the logs alone.
    health : `agentflow health` runs with the same rights.
    diagnosis : `agentflow diagnose --source cloudwatch` runs with the same rights.
    api_key : the program has a Bedrock API key in the place of AWS credentials.
    """

    streaming: bool = True
    count_tokens: bool = False
    quotas: bool = True
    metrics: bool = True
    health: bool = False
    diagnosis: bool = False
    api_key: bool = False


class Thresholds(_Part):
    """When an alarm goes off; the defaults are the operation runbook's. None leaves an alarm out where it is allowed.

    Attributes
    ----------
    minimum_count : a rate of fewer runs, agents or calls than this in a period says nothing.
    period_seconds, evaluation_periods : how long a period is, and how many in a row have to be over the threshold.
    high_latency_ms : of a workflow, by the runbook's alarm; `workflow_duration_minutes` is that of its table.
    nothing_ran_hours : without a single finished run.
    cost_usd_per_hour : the runbook has no figure.
    """

    minimum_count: int = Field(default=5, ge=1)
    period_seconds: Literal[60, 300, 900, 3600] = 300
    evaluation_periods: int = Field(default=2, ge=1, le=24)
    workflow_success_percent: Percent = 95
    workflow_failure_percent: Percent = 5
    workflow_duration_minutes: Positive = 5
    high_latency_ms: Positive = 30_000
    active_workflows: int = Field(default=100, ge=1)
    agent_execution_seconds: Positive = 30
    agent_retry_percent: Percent = 10
    agent_error_percent: Percent = 5
    bedrock_latency_seconds: Positive = 10
    throttling_percent: Percent = 1
    model_error_percent: Percent = 2
    nothing_ran_hours: int | None = Field(default=24, ge=1, le=168)  # CloudWatch looks back seven days at most
    cost_usd_per_hour: Positive | None = None


class DeploymentConfig(_Part):
    """What is deployed for a set of workflows, in one account and region.

    Attributes
    ----------
    account : twelve digits; only what is printed for the AWS CLI needs it, a stack knows its own.
    workflows : YAML files; relative ones lie beside the configuration.
    models : models that the workflows' own Python functions call, which no YAML file tells.
    log_groups : days of retention by name, without `/aws/agentflow/`; the first is what the dashboard reads.
    alert_emails : who gets the alarms; each address is asked to confirm.
    """

    region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    account: str | None = Field(default=None, pattern=r"^\d{12}$", coerce_numbers_to_str=True)
    workflows: tuple[Path, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    log_groups: Mapping[GroupName, RetentionDays] = Field(default={"production": 30}, min_length=1)
    alert_emails: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = ()
    permissions: Permissions = Permissions()
    alarms: Thresholds = Thresholds()

    @property
    def partition(self) -> str:
        """The first part of all ARNs."""
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def account_number(self) -> str:
        """The account.

        Raises
        ------
        DefinitionError
            It is not said.
        """
        if self.account is None:
            raise DefinitionError(
                "The deployment's `account` is not said, and this part names the account.",
                fix="Set account: '123456789012' to yours (`aws sts get-caller-identity`), or deploy the template.",
            )
        return self.account

    @property
    def log_group_names(self) -> tuple[str, ...]:
        """The full names of the log groups."""
        return tuple(f"/aws/agentflow/{name}" for name in self.log_groups)


def read_deployment(path: Path) -> DeploymentConfig:
    """Return the configuration of a file, with the paths of its workflows as seen from here.

    Raises
    ------
    DefinitionError
        The file cannot be read, or a setting is unknown or wrong; `problems` has a sentence for each.
    """
    try:
        data, _ = load_source(path)
        config = DeploymentConfig.model_validate(data)
    except DefinitionError as error:
        raise _wrong(path, error.problems) from error
    except ValidationError as error:
        raise _wrong(path, [_sentence(problem) for problem in error.errors()]) from error
    return config.model_copy(update={"workflows": tuple(path.parent / workflow for workflow in config.workflows)})


def _wrong(path: Path, problems: list[str] | tuple[str, ...]) -> DefinitionError:
    return DefinitionError(f"{path} cannot be used: {' '.join(problems)}", problems=problems)


def _sentence(problem: ErrorDetails) -> str:
    """Turn one of pydantic's problems into a sentence that names the setting."""
    *within, name = map(str, problem["loc"] or ("it",))
    setting = ".".join((*within, name))
    if problem["type"] == "extra_forbidden":
        parts: Mapping[str, type[BaseModel]] = {"permissions": Permissions, "alarms": Thresholds}
        known = parts[within[0]].model_fields if within else DeploymentConfig.model_fields
        return f"There is no setting {setting!r}{nearest(name, known)}; there are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"{setting!r} is missing."
    return f"{setting}={problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}."
