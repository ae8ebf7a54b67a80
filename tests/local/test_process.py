"""The endpoint as a process: its port, how it stops, and that it ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import HTTPClientError

from tests.endpoint import SERVE, Endpoint, running, text_of

START = """
import os, sys, time
from agentflow.local.launch import local_endpoint_url
print(local_endpoint_url(), flush=True)
"""


def is_served(url: str) -> bool:
    try:
        Endpoint(url).stats()
    except OSError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process that has no endpoint yet and wants the scripted model."""
    return {**os.environ, "AGENTFLOW_LOCAL_URL": "", "AGENTFLOW_LOCAL_MODEL": "scripted", **changes}


def python(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=environment(**changes),
        start_new_session=True,
    )


def complaint(endpoint: Endpoint) -> str:
    assert endpoint.process.stderr is not None
    return endpoint.process.stderr.read()


def test_a_taken_port_gives_way_to_the_next_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running("--port", str(port), "--model", "scripted") as endpoint:
            assert port < endpoint.port <= port + 100
            assert endpoint.process.stdout is not None
            assert f"Port {port} is taken" in endpoint.process.stdout.readline()


def test_only_this_machine_can_connect(scripted: Endpoint) -> None:
    with socket.socket() as outside, pytest.raises(OSError, match="refused"):
        outside.connect(("127.0.0.2", scripted.port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    with running("--port", "0", "--model", "scripted", stderr=subprocess.PIPE) as endpoint:
        endpoint.process.send_signal(number)
        assert endpoint.process.wait(5) == 0
        assert complaint(endpoint) == ""
        assert not is_served(endpoint.url)


@pytest.mark.parametrize(
    ("number", "prompt"), [(signal.SIGINT, "Write a very long story."), (signal.SIGTERM, "word " * 4000)]
)
def test_a_signal_stops_the_small_model_in_the_middle_of_its_work(number: signal.Signals, prompt: str) -> None:
    with running("--port", "0", stderr=subprocess.PIPE) as endpoint, ThreadPoolExecutor(1) as pool:
        call = pool.submit(endpoint.say, prompt, inferenceConfig={"maxTokens": 1000})
        assert eventually(lambda: endpoint.stats()["in_flight"] == 1)
        time.sleep(0.3)
        endpoint.process.send_signal(number)
        assert endpoint.process.wait(4) == 0
        assert "Traceback" not in complaint(endpoint)
        with pytest.raises(HTTPClientError):
            call.result(5)


def test_it_leaves_no_file_behind(tmp_path: Path) -> None:
    with running("--port", "0", TMPDIR=str(tmp_path)) as endpoint:
        [folder] = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert text_of(endpoint.say("Hi", inferenceConfig={"maxTokens": 2}))
        # The model library's own server is a socket in that folder, not a port.
        assert [path.name for path in folder.iterdir()] == ["llama.sock"]
        endpoint.process.terminate()
        endpoint.process.wait(5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        (["--model", "big.gguf"], "There is no model `big.gguf`: use smollm2, scripted or the path of a .gguf file."),
        (["--model", __file__], "is not a GGUF file"),
        (["--script", "x.json"], "add --model scripted"),
        (["--model", "scripted", "--script", "no.json"], "The script no.json cannot be used"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(arguments: list[str], wording: str) -> None:
    done = subprocess.run([*SERVE, "--port", "0", *arguments], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert done.stdout == ""
    assert wording in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_broken_model_file_is_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    done = subprocess.run([*SERVE, "--model", str(broken)], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "cannot load" in done.stderr.splitlines()[-1]


def test_it_ends_when_its_parent_is_killed() -> None:
    code = [sys.executable, "-c", START + "time.sleep(60)"]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=environment()) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert is_served(url)
        parent.kill()
    assert eventually(lambda: not is_served(url))


def test_it_ends_with_its_parent_and_is_started_once_a_process() -> None:
    code = START + (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "print(len({*ThreadPoolExecutor(8).map(lambda _: local_endpoint_url(), range(16))}))\n"
    )
    url, count = python(code).stdout.split()
    assert count == "1"
    assert not is_served(url)


def test_a_child_process_uses_its_parents_endpoint(scripted: Endpoint) -> None:
    assert python(START, AGENTFLOW_LOCAL_URL=scripted.url).stdout.strip() == scripted.url
    assert is_served(scripted.url)


def test_a_url_of_another_machine_is_not_used() -> None:
    elsewhere = "http://bedrock.example:80"
    assert python(START, AGENTFLOW_LOCAL_URL=elsewhere).stdout.strip() not in ("", elsewhere)


def test_a_url_that_does_not_answer_is_not_used() -> None:
    dead = "http://127.0.0.1:9"
    assert python(START, AGENTFLOW_LOCAL_URL=dead).stdout.strip() not in ("", dead)


def test_an_endpoint_that_died_is_started_again() -> None:
    code = START + ("from agentflow.local import launch\nlaunch._process.stop()\nprint(local_endpoint_url())\n")
    first, second = python(code).stdout.split()
    assert first != second


def test_a_forked_child_neither_ends_nor_keeps_it() -> None:
    code = START + (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(local_endpoint_url(), flush=True)\n"
        "    sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print(local_endpoint_url())\n"
    )
    assert len(set(python(code).stdout.split())) == 1


def test_the_reason_of_a_failed_start_arrives() -> None:
    process = python(START, AGENTFLOW_LOCAL_MODEL="big.gguf")
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("agentflow.local.errors.LocalEndpointError: The local endpoint did not start: There is no")


def test_ctrl_c_in_the_parent_does_not_reach_it() -> None:
    code = START + (
        "import signal\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "os.killpg(0, signal.SIGINT)\n"
        "time.sleep(0.3)\n"
        "before = os.environ['AGENTFLOW_LOCAL_URL']\n"
        "print(local_endpoint_url() == before)\n"
    )
    assert python(code).stdout.split()[-1] == "True"


def test_importing_the_launcher_loads_neither_server_nor_model() -> None:
    code = "import sys, agentflow.local.launch; print({'aiohttp', 'xllamacpp', 'botocore'} & set(sys.modules))"
    assert python(code).stdout.strip() == "set()"
