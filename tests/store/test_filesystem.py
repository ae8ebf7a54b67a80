"""Which file systems other machines use too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from agentflow.store.filesystem import is_on_shared, is_shared


class Part(NamedTuple):
    mountpoint: str
    fstype: str
    opts: str = "rw"


PARTS = [
    Part("/", "ext4"),
    Part("/home", "nfs4"),
    Part("/home/local", "xfs"),
    Part("/mnt/c", "9p"),
    Part("/data", "fuse.sshfs"),
    Part("/fsx", "lustre"),
    Part("/ntfs", "fuseblk"),
    Part("/over", "ext4"),
    Part("/over", "cifs"),
]


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/tmp/x", False),
        ("/home/ada/x", True),
        ("/home", True),
        ("/homes/x", False),
        ("/home/local/x", False),
        ("/mnt/c/Users/x", True),
        ("/data/x", True),
        ("/fsx/x", True),
        ("/ntfs/x", False),
        ("/over/x", True),
        (r"\\server\share\x", True),
    ],
)
def test_the_nearest_mount_decides(path: str, shared: bool) -> None:
    assert is_shared(Path(path), PARTS) is shared


def test_a_network_drive_of_windows_says_remote() -> None:
    assert is_shared(Path("/z/x"), [Part("/z", "NTFS", "rw,remote")])


def test_nothing_mounted_is_nothing_shared() -> None:
    assert not is_shared(Path("/x"), [])


def test_this_machine_is_asked(tmp_path: Path) -> None:
    assert is_on_shared(tmp_path) in (True, False)
