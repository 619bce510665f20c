"""Describes this machine and the code: processor, versions, commit, processor time."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("tornado", "motor", "pymongo", "locust", "py-spy", "pandas")


def describe() -> dict[str, Any]:
    """Describe the machine: processor, number of cores, memory in GiB, operating system, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """The checked-out commit (40 hex digits), with `-dirty` if files were changed; None outside git."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or None


def busy_seconds() -> float:
    """Processor time in use since boot, in seconds, summed over the cores.

    By all processes (user, system and nice), or by other machines to which the hypervisor gave it (steal).
    """
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + getattr(times, "steal", 0.0))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
