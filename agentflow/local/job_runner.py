"""The work of a model invocation job: read its records, answer them, write what came of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentflow.local import anthropic, converse
from agentflow.local.answers import Timing, answer, collect
from agentflow.local.billing import Bill, Call
from agentflow.local.chat import LocalModel
from agentflow.local.errors import Refusal, invalid
from agentflow.local.facts import ServedModels, bare_name
from agentflow.local.job_files import JobFiles, Record, WrongInputError
from agentflow.local.quotas import Reservation
from agentflow.local.refusals import DAMAGE
from agentflow.local.region import Region

if TYPE_CHECKING:
    from agentflow.local.jobs import Job

JOBS_AT_ONCE = 2  # the others wait as `Scheduled`
RECORDS_AT_ONCE = 8  # of one job
LEAST_RECORDS = 100  # of most models (Service Quotas, as public code quotes them)

_OPERATION = "CreateModelInvocationJob"
_MANIFEST = "manifest.json.out"


class JobRunner:
    """Runs the jobs of one region with its model and its accounts; its quotas and its faults are for calls alone."""

    def __init__(self, model: LocalModel, served: ServedModels, region: Region, files: JobFiles) -> None:
        self.region = region
        self._model = model
        self._served = served
        self._files = files
        self._turns = asyncio.Semaphore(JOBS_AT_ONCE)

    async def run(self, job: Job) -> None:
        """Take a job from `Submitted` to its end; what goes wrong is told by its status and message."""
        try:
            await self._run(job)
        except Exception as error:  # noqa: BLE001 - S3's own errors too: nobody waits for this task
            job.become("Failed", str(error))

    async def _run(self, job: Job) -> None:
        if job.status == "Submitted":
            job.become("Validating")
        uri = job.asked["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        records = await asyncio.to_thread(self._files.read, uri, job.region)
        if len(records) < LEAST_RECORDS:
            raise WrongInputError(f"The job has {len(records)} records: its model takes {LEAST_RECORDS} or more.")
        job.counts["totalRecordCount"] = len(records)
        if job.status == "Validating":
            job.become("Scheduled")
        async with self._turns:
            if self._is_over(job):
                job.become("Expired", "The job was not started before its time was over.")
                return
            if job.status == "Scheduled":
                job.become("InProgress")
            lines = await self._answer_all(job, records)
        await self._write(job, lines)
        if job.status == "Stopping":
            job.become("Stopped")
        elif len(lines) < len(records):
            job.become("PartiallyCompleted", "The time of the job was over before all records were answered.")
        else:
            job.become("Completed")

    def _is_over(self, job: Job) -> bool:
        return self.region.clock.now() >= job.ends

    async def _answer_all(self, job: Job, records: Sequence[Record]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return the file and the output of every record that was answered, in the order of the ends."""
        lines: list[tuple[str, Mapping[str, Any]]] = []
        waiting = iter(records)

        async def work() -> None:
            for record in waiting:
                if job.status == "Stopping" or self._is_over(job):
                    return
                lines.append((record.file, await self._line(job, record)))

        async with asyncio.TaskGroup() as group:
            for _ in range(RECORDS_AT_ONCE):
                group.create_task(work())
        return lines

    async def _line(self, job: Job, record: Record) -> Mapping[str, Any]:
        """Answer one record, and count it."""
        line: dict[str, Any] = {"recordId": record.record_id, "modelInput": record.model_input}
        try:
            line["modelOutput"] = await self._answer(job, record)
            job.counts["successRecordCount"] += 1
        except Exception as error:  # noqa: BLE001 - whatever breaks one record, the others are answered
            status, message = (error.status, error.message) if isinstance(error, Refusal) else (500, DAMAGE)
            line["error"] = {"errorCode": status, "errorMessage": message}
            job.counts["errorRecordCount"] += 1
        job.counts["processedRecordCount"] += 1
        return line

    async def _answer(self, job: Job, record: Record) -> Mapping[str, Any]:
        arrived = time.monotonic()
        name = job.asked["modelId"]
        model = self._served.named(name)
        wire = converse if job.asked.get("modelInvocationType") == "Converse" else anthropic
        chat = replace(wire.parse(record.model_input, model), blocks=())  # a job has no prompt cache
        model.check_max_tokens(chat.max_tokens)
        if chat.tools:
            raise invalid("Batch inference does not support tool use. Remove the tools and try again.")
        call = Call(_OPERATION, bare_name(name), model, chat, f"{job.arn} {record.record_id}".encode())
        with Bill(call, self.region.stats, self.region.cache, Reservation(0)) as bill:
            whole = await collect(bill.watch(answer(self._model, chat)))
            bill.answered()
        latency_ms = round((time.monotonic() - arrived) * 1000)
        output: Mapping[str, Any] = wire.response(whole, Timing(latency_ms, latency_ms), model)
        return output

    async def _write(self, job: Job, lines: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write a file of results for each file of records, and the manifest, into a folder named by the job's id."""
        folder = f"{job.asked['outputDataConfig']['s3OutputDataConfig']['s3Uri'].rstrip('/')}/{job.job_id}"
        for file in dict.fromkeys(file for file, _ in lines):
            of_file = [line for name, line in lines if name == file]
            await asyncio.to_thread(self._files.write, folder, f"{file}.out", of_file, job.region)
        manifest = {**job.counts, **_tokens([line for _, line in lines])}
        await asyncio.to_thread(self._files.write, folder, _MANIFEST, [manifest], job.region)


def _tokens(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    usages = [line["modelOutput"]["usage"] for line in lines if "modelOutput" in line]
    return {
        "inputTokenCount": sum(usage.get("inputTokens", usage.get("input_tokens", 0)) for usage in usages),
        "outputTokenCount": sum(usage.get("outputTokens", usage.get("output_tokens", 0)) for usage in usages),
    }
