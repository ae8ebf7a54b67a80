"""Model invocation jobs, which answer the records of a file in the background: create, get, list, stop.

States, files and limits are those of the Amazon Bedrock User Guide, batch-inference. A job is `Submitted`,
`Validating` while its input is read, `Scheduled` until its turn comes, `InProgress`, and ends as `Completed` (also
where records have failed), `Failed` (its input cannot be used), `Stopped`, `PartiallyCompleted` (its time was over) or
`Expired` (before its turn came). Its time is that of the region's clock, which tests can move.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from agentflow.local.errors import Refusal
from agentflow.local.facts import ServedModels
from agentflow.local.incoming import ACCOUNT, page
from agentflow.local.job_runner import JobRunner
from agentflow.local.shapes import check, parameters

ENDED = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}

_PAGE = 100
_SERVICE = "bedrock"
_DEFAULT_HOURS = 24
_ID_LETTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 12
_COUNTS = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")


@dataclass(slots=True)
class Job:
    """One job: what was asked for, and how far it is."""

    arn: str
    asked: Mapping[str, Any]  # the body of the request that created it
    region: str  # of the client
    ends: float  # by the region's clock
    submitted: datetime
    status: str = "Submitted"
    message: str | None = None
    modified: datetime | None = None
    ended: datetime | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))

    @property
    def job_id(self) -> str:
        """The id at the end of the ARN."""
        return self.arn.rpartition("/")[2]

    def become(self, status: str, message: str | None = None) -> None:
        """Go on to another state."""
        self.status, self.message, self.modified = status, message, datetime.now(UTC)
        if status in ENDED:
            self.ended = self.modified

    def shown(self) -> Mapping[str, Any]:
        """Return the job as GetModelInvocationJob and the lists show it."""
        hours = self.asked.get("timeoutDurationInHours") or _DEFAULT_HOURS
        members = {
            **{name: value for name, value in self.asked.items() if name != "tags"},
            "modelInvocationType": self.asked.get("modelInvocationType") or "InvokeModel",
            "jobArn": self.arn,
            "status": self.status,
            "message": self.message,
            "submitTime": _moment(self.submitted),
            "lastModifiedTime": _moment(self.modified or self.submitted),
            "endTime": _moment(self.ended) if self.ended else None,
            "timeoutDurationInHours": hours,
            "jobExpirationTime": _moment(self.submitted + timedelta(hours=hours)),
            **self.counts,
        }
        return {name: value for name, value in members.items() if value is not None}


class Jobs:
    """The jobs of one region, oldest first."""

    def __init__(self, runner: JobRunner, served: ServedModels) -> None:
        self._runner = runner
        self._served = served
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def create(self, body: object, region: str) -> Mapping[str, Any]:
        """Begin a job; the same ``clientRequestToken`` gives the same job again.

        Raises
        ------
        Refusal
            Bedrock would not accept the body, or there is no such model.
        """
        check(body, "CreateModelInvocationJob", _SERVICE)
        asked = {name: value for name, value in cast("Mapping[str, Any]", body).items() if value is not None}
        self._served.named(asked["modelId"])
        token = asked.get("clientRequestToken")
        for job in self._jobs.values():
            if token and job.asked.get("clientRequestToken") == token:
                if job.asked != asked:
                    raise Refusal("ConflictException", f"The client request token {token} belongs to another job.")
                return {"jobArn": job.arn}
        job_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        arn = f"arn:aws:bedrock:{region}:{ACCOUNT}:model-invocation-job/{job_id}"
        hours = asked.get("timeoutDurationInHours") or _DEFAULT_HOURS
        ends = self._runner.region.clock.now() + timedelta(hours=hours).total_seconds()
        self._jobs[job_id] = job = Job(arn, asked, region, ends, datetime.now(UTC))
        task = asyncio.create_task(self._runner.run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"jobArn": arn}

    def get(self, path: Mapping[str, str]) -> Mapping[str, Any]:
        """Return a job by its id or ARN."""
        return self._find(path, "GetModelInvocationJob").shown()

    def list(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Return a page of the jobs that the filters leave, newest first unless asked otherwise."""
        wanted = parameters(query, "ListModelInvocationJobs", _SERVICE)
        jobs = [job for job in self._jobs.values() if _fits(job, wanted)]
        if wanted.get("sortOrder") != "Ascending":
            jobs.reverse()
        shown, token = page(jobs, wanted.get("maxResults", _PAGE), wanted.get("nextToken"))
        return {"invocationJobSummaries": [job.shown() for job in shown], **({"nextToken": token} if token else {})}

    def stop(self, path: Mapping[str, str]) -> Mapping[str, Any]:
        """Stop a job; what it has answered is written.

        Raises
        ------
        Refusal
            ``ConflictException``: it has ended already.
        """
        job = self._find(path, "StopModelInvocationJob")
        if job.status in ENDED:
            raise Refusal("ConflictException", f"The job {job.arn} has ended: its status is {job.status}.")
        job.become("Stopping")
        return {}

    def forget(self) -> None:
        """Break all jobs off, and know of none."""
        for task in self._tasks:
            task.cancel()
        self._jobs = {}

    def _find(self, path: Mapping[str, str], operation: str) -> Job:
        name = parameters(path, operation, _SERVICE)["jobIdentifier"]
        job = self._jobs.get(name.rpartition("/")[2])
        if job is None:
            raise Refusal("ResourceNotFoundException", f"Could not find the model invocation job {name}.")
        return job


def _fits(job: Job, wanted: Mapping[str, Any]) -> bool:
    after, before = wanted.get("submitTimeAfter"), wanted.get("submitTimeBefore")
    return (
        wanted.get("statusEquals") in (None, job.status)
        and wanted.get("nameContains", "") in job.asked["jobName"]
        and (after is None or job.submitted > after)
        and (before is None or job.submitted < before)
    )


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
