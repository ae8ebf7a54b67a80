"""Whose run it is."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from agentflow.store.owner import Owner, resident_bytes, this_process


def test_this_process_is_alive_and_one_of_its_number_from_before_is_not() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    here = this_process()
    assert here.pid == os.getpid()
    assert here.is_alive(long_ago)
    assert not dataclasses.replace(here, process_started=here.process_started - 60).is_alive(datetime.now(UTC))


def test_a_process_that_ended_is_gone_though_its_heartbeat_is_young() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = dataclasses.replace(this_process(), pid=ended.pid)
    ended.kill()
    assert not owner.is_alive(datetime.now(UTC))  # a zombie, which nobody has waited for
    ended.communicate()
    assert not owner.is_alive(datetime.now(UTC))


def test_another_machine_is_judged_by_its_heartbeat() -> None:
    elsewhere = Owner(1, 0.0, "another-host.example")
    assert elsewhere.is_alive(datetime.now(UTC) - timedelta(seconds=20))
    assert not elsewhere.is_alive(datetime.now(UTC) - timedelta(seconds=40))


def test_memory_is_in_bytes() -> None:
    assert 10_000_000 < resident_bytes() < 100_000_000_000
