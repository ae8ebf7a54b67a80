"""Which file systems are shared by machines: SQLite's write-ahead log needs memory that all its users share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

# Networks, cluster and cloud file systems, and folders that a virtual machine shares with its host.
_SHARED = frozenset(
    """
    9p afpfs afs beegfs ceph ceph-fuse cephfs cifs davfs davfs2 gcsfuse gfs gfs2 glusterfs gpfs grpcfuse juicefs lustre
    mfs moosefs mount-s3 mountpoint-s3 ncpfs nfs nfs3 nfs4 ocfs2 orangefs osxfs panfs prl_fs pvfs2 quobyte rclone s3fs
    smb smb2 smb3 smbfs sshfs vboxsf virtiofs vmhgfs vmhgfs-fuse webdav wekafs
    """.split()  # noqa: SIM905 - a list of so many would take a line each
)


class Partition(Protocol):
    """What psutil says of a mounted file system."""

    @property
    def mountpoint(self) -> str:
        """The folder that it is mounted at."""

    @property
    def fstype(self) -> str:
        """Such as ``ext4`` or ``fuse.sshfs``."""

    @property
    def opts(self) -> str:
        """Its options, joined by commas; Windows has ``remote`` among them for network drives."""


def is_shared(path: Path, partitions: Iterable[Partition]) -> bool:
    """Return whether a file lies on a file system that other machines use too.

    Parameters
    ----------
    path : absolute, symbolic links resolved; it need not be there.
    partitions : all that are mounted, in the order of mounting: the later of two at one place hides the earlier.
    """
    if str(path).startswith("\\\\"):  # a share on Windows that has no drive letter
        return True
    holding = [part for part in partitions if path.is_relative_to(part.mountpoint)]
    if not holding:
        return False
    nearest = max(reversed(holding), key=lambda part: len(Path(part.mountpoint).parts))
    kind = nearest.fstype.lower().removeprefix("fuse.").removeprefix("fuse_")
    return kind in _SHARED or "remote" in nearest.opts.split(",")


def is_on_shared(path: Path) -> bool:
    """Return whether a file lies on a file system of this machine that others use too."""
    import psutil

    return is_shared(path, psutil.disk_partitions(all=True))
