"""Directories and files that other users of the machine can neither read nor write."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

OWNER_ONLY_DIRECTORY = 0o700
OWNER_ONLY_FILE = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_directory(path: Path) -> None:
    """Create a directory for its owner only. One that exists keeps its rights: it may have been made for more."""
    path.mkdir(mode=OWNER_ONLY_DIRECTORY, parents=True, exist_ok=True)


def close_to_others(paths: Iterable[Path]) -> None:
    """Take all rights from the group and from others, on those of `paths` that exist."""
    for path in paths:
        if path.exists() and path.stat().st_mode & OTHERS:
            path.chmod(path.stat().st_mode & ~OTHERS)


def open_to_append(path: Path) -> IO[bytes]:
    """Open a file to append to it; if it is new, only its owner can read it."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, OWNER_ONLY_FILE))


def write(path: Path, text: str) -> None:
    """Write `text` to a file that only its owner can read, also if it was there before with other rights."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, OWNER_ONLY_FILE)) as file:
        os.fchmod(file.fileno(), OWNER_ONLY_FILE)
        file.write(text)
