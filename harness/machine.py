"""The machine a run was made on: what it is, which code it ran, and how busy it was."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("tornado", "motor", "pymongo", "locust", "py-spy", "pandas")


def describe() -> dict[str, Any]:
    """What a reader needs to judge numbers by: processor, memory, system and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """The commit of the code that is measured, with `-dirty` if it was changed since; None outside git."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or None


def busy_seconds() -> float:
    """The seconds that the cores of this machine have worked, for whomever, summed over the cores."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
