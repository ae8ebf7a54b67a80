"""Input and output on S3, which is moto's server: a machine with no disk goes on where another one stopped."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pandas as pd
import pytest
from botocore.exceptions import ClientError

from agentflow.core.errors import InputError
from agentflow.models.s3 import place_on_s3
from tests.batch.command import CALLS_A_ROW, WORKFLOW, tickets
from tests.endpoint import Endpoint
from tests.ops.moto_server import running_moto


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="jobs")
    yield client
    for entry in client.list_objects_v2(Bucket="jobs").get("Contents", ()):
        client.delete_object(Bucket="jobs", Key=entry["Key"])


def read(s3: Any, prefix: str) -> pd.DataFrame:
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="jobs", Prefix=f"{prefix}/part-")["Contents"]]
    bodies = [s3.get_object(Bucket="jobs", Key=key)["Body"].read() for key in sorted(keys)]
    return pd.concat([pd.read_parquet(io.BytesIO(body)) for body in bodies])


def work(endpoint: Endpoint, home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command on a machine of its own."""
    from agentflow.cli import main

    monkeypatch.setenv("AGENTFLOW_HOME", str(home))
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", endpoint.url)
    (home.parent / "workflow.yaml").write_text(WORKFLOW)
    monkeypatch.chdir(home.parent)
    return main(["batch", "s3://jobs/in.csv", "--workflow", "workflow.yaml", "--out", "s3://jobs/out/{date}"])


def test_another_machine_goes_on(scripted: Endpoint, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="jobs", Key="in.csv", Body=tickets(40).to_csv(index=False).encode())
    scripted.follow(text="fine")
    scripted.faults({"fault": "iam_denied", "prompt": "ticket 33"})
    assert work(scripted, tmp_path / "first", monkeypatch) == 5
    answered = scripted.stats()["answers"]
    assert answered > 20
    scripted.faults()
    assert work(scripted, tmp_path / "second", monkeypatch) == 0
    [prefix] = {
        entry["Key"].rpartition("/")[0] for entry in s3.list_objects_v2(Bucket="jobs", Prefix="out/")["Contents"]
    }
    frame = read(s3, prefix)
    assert list(frame["weight"]) == list(range(40))
    assert set(frame["status"]) == {"ok"}
    # Rows that had ended are not asked again; those that had only begun are lost with the first machine's disk.
    assert scripted.stats()["answers"] <= 40 * CALLS_A_ROW + 20
    requests = scripted.stats()["requests"]
    assert work(scripted, tmp_path / "third", monkeypatch) == 0
    assert scripted.stats()["requests"] == requests


def test_two_machines_do_not_work_at_the_same_job(
    scripted: Endpoint, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.put_object(Bucket="jobs", Key="in.csv", Body=tickets(4).to_csv(index=False).encode())
    scripted.follow(text="fine")
    lock = f"out/{date.today().isoformat()}/_lock"  # noqa: DTZ011 - as the command, by the local day
    for host, code in (("elsewhere", 1), (socket.gethostname(), 0)):  # there nobody can look; here the process is gone
        other = {"pid": 2**22 + 1, "process_started": 1.0, "host": host}
        s3.put_object(Bucket="jobs", Key=lock, Body=json.dumps(other).encode())
        assert work(scripted, tmp_path / "home", monkeypatch) == code
    assert "Process 4194305 on elsewhere works at this job already." in capsys.readouterr().err
    assert scripted.stats()["answers"] == 4 * CALLS_A_ROW
    assert "_lock" not in str(s3.list_objects_v2(Bucket="jobs", Prefix="out/"))


def test_an_output_that_cannot_be_written_any_more_stops_the_job(
    scripted: Endpoint, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.put_object(Bucket="jobs", Key="in.csv", Body=tickets(4).to_csv(index=False).encode())
    scripted.follow(text="fine")
    forbidden = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
    with monkeypatch.context() as broken:  # moto has no rights that end in mid-run
        broken.setattr("boto3.s3.inject.upload_file", Mock(side_effect=forbidden))
        assert work(scripted, tmp_path / "home", monkeypatch) == 5
    assert "The output cannot be written: s3://jobs/out/" in capsys.readouterr().out
    assert work(scripted, tmp_path / "home", monkeypatch) == 0
    assert scripted.stats()["answers"] == 4 * CALLS_A_ROW


@pytest.mark.parametrize("key", ["a#1", "a?b", "a b/c"])
def test_a_key_may_have_any_character(key: str) -> None:
    assert place_on_s3(f"s3://jobs/{key}/") == ("jobs", key)


def test_what_is_not_there_is_told(
    scripted: Endpoint, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert work(scripted, tmp_path / "home", monkeypatch) == 1
    assert "s3://jobs/in.csv cannot be used" in capsys.readouterr().err


def test_a_place_without_a_key_is_told() -> None:
    from agentflow.batch.remote import local_copy

    with pytest.raises(InputError, match="s3://BUCKET/KEY"), local_copy("s3://jobs"):
        pass
