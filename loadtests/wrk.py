"""Run wrk, which loads an address as fast as it answers, and read what it prints.

wrk keeps a number of connections busy (a closed system) and costs a fraction of what the servers here do,
so it is the meter for ratios of speed. For a given rate there is `loadtests.open_loop`.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A message of an ordinary length, as a request's body.
MESSAGE = (
    b'{"text":"Shall we have lunch at the usual place at a quarter past twelve, or try the new one by the river?",'
    b'"author":"bench"}'
)
# What wrk sends. `read` needs no script: its requests are equal to the last byte. The others are Lua beside this file;
# those that write send MESSAGE.
SCRIPTS = {
    "read": None,
    "read with differing heads": Path(__file__).with_name("differing.lua"),
    "read with the client's heads": Path(__file__).with_name("client.lua"),
    "post with keys": Path(__file__).with_name("keyed.lua"),
    "post": Path(__file__).with_name("post.lua"),
    "mixed": Path(__file__).with_name("mixed.lua"),
}
GRACE_SECONDS = 30.0
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


class WrkError(Exception):
    """wrk did not measure. The text is one line that says why, and what to do if there is something."""


@dataclass(frozen=True)
class Result:
    """The result of one run of wrk. Latencies are in ms; `refused` counts answers other than 2xx and 3xx."""

    requests: int
    seconds: float
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    refused: int
    socket_errors: int

    @property
    def void(self) -> str:
        """Why this is not to be counted as speed; empty if it is."""
        if self.socket_errors:
            return f"{self.socket_errors} socket errors or timeouts"
        if self.refused:
            return f"{self.refused} of {self.requests} answers were not 2xx"
        return "" if self.requests else "nothing was answered"


def program() -> str:
    """The wrk of this machine. Raises `WrkError`."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkError("wrk is not installed, and nothing is measured without it: apt-get install wrk")
    return found


def run(url: str, seconds: float, connections: int = 64, sends: str = "read") -> Result:
    """Load `url` for `seconds` (whole ones, at least 1) with one of SCRIPTS. Raises `WrkError`."""
    whole = max(1, round(seconds))
    command = [program(), "--threads", "1", "--connections", str(connections), "--duration", f"{whole}s", "--latency"]
    if script := SCRIPTS[sends]:
        command += ["--script", str(script), url, "--", MESSAGE.decode()]
    else:
        command += [url]
    try:
        ended = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=whole + GRACE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WrkError(f"wrk did not end within {GRACE_SECONDS:g} s of its time") from error
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise WrkError(f"wrk ended with exit code {ended.returncode}: {said[0] if said else 'it said nothing'}")
    return parse(ended.stdout)


def parse(text: str) -> Result:
    """What wrk has printed with `--latency`, as numbers. Raises `WrkError` for anything else."""
    total = re.search(r"^ *(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec: +([\d.]+)$", text, re.MULTILINE)
    # wrk makes units of one letter as wide as those of two.
    latencies = {
        percent: float(value) * MILLISECONDS[unit]
        for percent, value, unit in re.findall(r"^ +(\d+)% +([\d.]+)(us|ms|s|m|h) *$", text, re.MULTILINE)
    }
    if total is None or rate is None or not {"50", "90", "99"} <= set(latencies):
        raise WrkError(f"this is not what wrk prints: {text.strip()[-200:]!r}")
    refused = re.search(r"^ *Non-2xx or 3xx responses: (\d+)$", text, re.MULTILINE)
    errors = re.search(r"^ *Socket errors: (.*)$", text, re.MULTILINE)
    return Result(
        requests=int(total[1]),
        seconds=float(total[2]) * MILLISECONDS[total[3]] / 1000,
        requests_per_s=float(rate[1]),
        p50_ms=latencies["50"],
        p90_ms=latencies["90"],
        p99_ms=latencies["99"],
        refused=int(refused[1]) if refused else 0,
        socket_errors=sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0,
    )
