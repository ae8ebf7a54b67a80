"""Several regions in one process, each at a URL of its own with accounts of its own; faults from a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.endpoint import SERVE, Endpoint, running, text_of

SCRIPT = """
quotas:
  "us.*": {requests_per_minute: 2}
faults:
  - {fault: unavailable, region: us-west-2, first: 1}
  - {fault: region_down, region: eu-west-1}
"""


def test_each_region_has_a_url_and_accounts_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text(SCRIPT)
    regions = ["us-east-1", "us-west-2", "eu-west-1"]
    arguments = ["--port", "0", "--model", "scripted", "--regions", ",".join(regions), "--faults", str(script)]
    with running(*arguments) as first:
        assert first.process.stdout is not None
        lines = [first.first_line, first.process.stdout.readline(), first.process.stdout.readline()]
        assert [line.split(":")[0].split()[-1] for line in lines] == regions
        east, west, europe = (Endpoint(line) for line in lines)
        assert f"BEDROCK_ENDPOINT_URL={east.url}" in first.process.stdout.readline()
        with pytest.raises(ClientError, match="ServiceUnavailableException"):
            west.say("a")
        for region in (east, west):
            region.say("a")
            region.say("a")
            with pytest.raises(ClientError, match="Too many requests"):
                region.say("a")
        with pytest.raises(ConnectionClosedError):
            europe.say("a")
        assert [(region.stats()["region"], region.stats()["answers"]) for region in (east, west, europe)] == [
            ("us-east-1", 2), ("us-west-2", 2), ("eu-west-1", 0)
        ]  # fmt: skip


def test_each_region_follows_its_own_script() -> None:
    with running("--port", "0", "--model", "scripted", "--regions", "us-east-1,us-west-2") as east:
        assert east.process.stdout is not None
        west = Endpoint(east.process.stdout.readline())
        east.script(replies=["a", "b"])
        assert [text_of(region.say("echo")) for region in (east, west, east)] == ["a", "echo", "b"]


@pytest.mark.parametrize(
    ("arguments", "code", "wording"),
    [
        (["--regions", "us-east-1,us-east-1"], 2, "is no list of regions: give such as us-east-1,us-west-2"),
        (["--regions", "us-east-1,"], 2, "is no list of regions"),
        (["--faults", "no.yaml"], 1, "agentflow: The fault script no.yaml cannot be read: "),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(arguments: list[str], code: int, wording: str) -> None:
    command = [*SERVE, "--model", "scripted", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (code, "")
    assert wording in done.stderr.splitlines()[-1]
