"""Small disks for mongods, and what happens to them when they are full."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
from pymongo.errors import PyMongoError

from harness.members import Member

DISK = "1g"
NEEDED = 6 << 30  # free memory, for three of them and what runs beside
FILLER = "filler"


@contextlib.contextmanager
def small_disks(folders: list[Path]) -> Iterator[bool]:
    """Give each of `folders` a disk of its own in memory while the block runs; gives whether that is allowed here."""
    allowed = os.geteuid() == 0 and psutil.virtual_memory().available > NEEDED and shutil.which("mount") is not None
    with contextlib.ExitStack() as stack:
        for folder in folders:
            folder.mkdir(parents=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "faults", folder]
            allowed = allowed and subprocess.run(command, check=False, capture_output=True).returncode == 0
            if allowed:
                stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
        yield allowed


@contextlib.contextmanager
def full(member: Member) -> Iterator[None]:
    """Leave the member no room while the block runs: its disk, if it has one, else the size of its files, is used up.

    A checkpoint then fails, and with it the mongod.
    """
    with _disk_full(member.files) if member.files.is_mount() else _no_large_files(member.process):
        with contextlib.suppress(PyMongoError):
            member.command("fsync")
        yield


@contextlib.contextmanager
def _disk_full(disk: Path) -> Iterator[None]:
    filler = disk / FILLER
    with filler.open("wb") as file, contextlib.suppress(OSError):
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _no_large_files(process: psutil.Process) -> Iterator[None]:
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
