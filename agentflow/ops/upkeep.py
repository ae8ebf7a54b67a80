"""The regular tasks of the operation runbook that a program can do, each as a verdict with its figure.

What cannot be found out, for want of credentials or of a network, is `not checked` with the reason, never an exception.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import AgentFlowError, message_of
from agentflow.ops.backup import back_up, restore
from agentflow.ops.cloudwatch import aws_client
from agentflow.ops.deployment.config import Thresholds
from agentflow.ops.usage import ENDED, success_percent
from agentflow.utils.env import setting
from agentflow.views.format import plural
from agentflow.views.verdicts import Verdict

if TYPE_CHECKING:
    import pandas as pd

KEY_DAYS = 90  # AWS Security Hub, control IAM.3: access keys are rotated every 90 days or less
_PEAK_SHARE = 0.8  # of what may be in flight at once


class _Unknown(Exception):  # noqa: N818 - a reason, and no failure
    """Why something cannot be found out."""


def success(runs: pd.DataFrame) -> Verdict:
    """Return whether as many workflows succeed as the runbook's alarm asks for."""
    limit = Thresholds().workflow_success_percent
    name, limits = "Workflow success rate", f"{limit:g}% or more"
    percent = success_percent(runs)
    if math.isnan(percent):
        return Verdict(name, "not checked", "no run has ended", limits=limits)
    fix = "" if percent >= limit else "agentflow diagnose --since 24h"
    ended = int(runs["status"].isin(ENDED).sum())
    figure = f"{percent:.1f}% of {plural(ended, 'run')} that have ended"
    return Verdict(name, "poor" if fix else "ok", figure, fix, limits)


def alarms() -> Verdict:
    """Return which alarms of AgentFlow's go off. Blocks."""
    name = "Alarms"
    try:
        with _asking_aws():
            pages = aws_client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix="agentflow-")
            found = [alarm for page in pages for alarm in page["MetricAlarms"]]
    except _Unknown as reason:
        return Verdict(name, "not checked", str(reason))
    if not found:
        return Verdict(name, "poor", "there are none", "agentflow deploy template")
    on = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    fix = f"agentflow diagnose --since 30m --alarm {on[0]}" if on else ""
    figure = f"{plural(len(found), 'alarm')}, {', '.join(on)} on" if on else f"{plural(len(found), 'alarm')}, none on"
    return Verdict(name, "poor" if on else "ok", figure, fix)


def key_age() -> Verdict:
    """Return how old the access keys of the IAM user are. Blocks."""
    name, limits = "Age of access keys", f"at most {KEY_DAYS} days"
    try:
        with _asking_aws():
            who = aws_client("sts").get_caller_identity()["Arn"]
            if ":user/" not in who:
                return Verdict(name, "ok", "none: temporary credentials of a role", limits=limits)
            keys = aws_client("iam").list_access_keys(UserName=who.rpartition("/")[2])["AccessKeyMetadata"]
    except _Unknown as reason:
        return Verdict(name, "not checked", str(reason), limits=limits)
    oldest = max(((datetime.now(UTC) - key["CreateDate"]).days for key in keys), default=0)
    fix = "Make a new key, use it, then delete the old one: aws iam create-access-key" if oldest > KEY_DAYS else ""
    return Verdict(name, "poor" if fix else "ok", f"{plural(oldest, 'day')} ({plural(len(keys), 'key')})", fix, limits)


def outdated(seconds: float) -> Verdict:
    """Return for which packages there are newer versions, as `pip list --outdated` says. Blocks.

    Parameters
    ----------
    seconds : the longest to wait: pip asks the index about each package, which can take a minute. 0 does not ask.
    """
    name, command = "Dependencies", "pip list --outdated"
    if seconds <= 0:
        return Verdict(name, "not checked", "not asked", f"Ask: {command}")
    arguments = [sys.executable, "-m", "pip", "--disable-pip-version-check", *command.split()[1:], "--format=json"]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds, check=True)  # noqa: S603
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Verdict(name, "not checked", f"no answer of the package index in {seconds:g} s", f"Ask: {command}")
    except (subprocess.CalledProcessError, OSError, ValueError):
        return Verdict(name, "not checked", "pip cannot tell", f"Ask: {command}")
    newer = [f"{each['name']} {each['version']} → {each['latest_version']}" for each in found]
    if not newer:
        return Verdict(name, "ok", "all are the newest")
    fix = "make lock, then make test: requirements.txt is a lock, so that a rollback restores versions"
    return Verdict(name, "acceptable", f"{plural(len(newer), 'package')}: {', '.join(newer)}", fix)


def retention(runs: pd.DataFrame, days: float) -> Verdict:
    """Return how many runs are older than anyone needs them.

    Parameters
    ----------
    runs : all of the store.
    days : how long they are needed.
    """
    old = int(((datetime.now(UTC) - runs["started_at"]).dt.total_seconds() > days * 86_400).sum())
    kept = setting("AGENTFLOW_RETENTION_DAYS").value
    figure = f"{plural(old, 'run')} to prune; runs are kept {f'for {kept} days' if kept else 'for ever'}"
    fix = f"Set AGENTFLOW_RETENTION_DAYS={days:g}, or agentflow.prune_runs(older_than_days={days:g})" if old else ""
    return Verdict("Retention of runs", "acceptable" if old else "ok", figure, fix, f"none older than {days:g} days")


def capacity(peak: int, connections: int) -> Verdict:
    """Return whether as many requests are in flight at once as may be.

    Parameters
    ----------
    peak : the most that there were.
    connections : `BEDROCK_MAX_CONNECTIONS`.
    """
    is_near = peak > _PEAK_SHARE * connections
    fix = "Raise BEDROCK_MAX_CONNECTIONS; `client.quota()` says what the quota has room for." if is_near else ""
    figure = f"{peak:,} of {connections:,} connections"
    limits = f"at most {_PEAK_SHARE:.0%}"
    return Verdict("Peak of calls at once", "acceptable" if is_near else "ok", figure, fix, limits)


def restore_test(config: Path) -> Verdict:
    """Save configuration and workflows into a temporary folder, restore them into another, and compare each file."""
    name = "Backup and restore"
    try:
        with tempfile.TemporaryDirectory() as folder:
            backup = back_up(f"{folder}/agentflow-config.tar.gz", config)
            restored = restore(backup.place, Path(folder, "restored"))
    except AgentFlowError as error:
        return Verdict(name, "poor", message_of(error), error.fix)
    figure = f"{plural(len(restored.new), 'file')} came back as they were saved (SHA-256 {backup.sha256[:12]}…)"
    return Verdict(name, "ok", figure, "Save them where the machine is not: agentflow backup s3://your-backup-bucket/")


@contextmanager
def _asking_aws() -> Iterator[None]:
    """Turn what AWS or the network says into the reason why something is not known."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise _Unknown("no AWS credentials here") from None
    except ClientError as error:
        details: Any = error.response.get("Error", {})
        raise _Unknown(f"AWS refused: {details.get('Code', 'no reason given')}") from error
    except BotoCoreError as error:
        raise _Unknown(f"AWS cannot be asked: {error}") from error
