"""Follow the README on a fresh clone, as a new user does, and time it: `python -m tests.first_hour`.

In a folder whose path has a space, with an empty HOME and, once the packages are there, a proxy that is not: as this
user and, if that is root, as one without rights. The first command that fails ends it, and is shown with all it said.
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from harness import interrupts, processes
from tests.pages import README, ROOT

WITHOUT_RIGHTS = "nobody"
# What of the environment tells where programs and packages come from, and not whose machine this is.
KEPT = ("PATH", "LANG", "PIP_", "SSL_CERT_")
# Nobody listens there: whatever is to reach this machine must not ask it.
PROXY = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
SERVES_SECONDS, STOP_SECONDS, POLL_SECONDS = 180.0, 60.0, 0.1
# A server that was begun just now does not pass yet.
MAY_FAIL = "python -m practice check"


class Reader:
    """Somebody who reads the README in `folder`, where there is nothing yet, and does what it says."""

    def __init__(self, user: str, folder: Path) -> None:
        self.user = user
        self.times: list[tuple[str, float]] = []
        self._clone, self._home = folder / "backend lab", folder / "home"
        self._home.mkdir()
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        programs = [each for each in os.environ["PATH"].split(":") if each != str(Path(sys.executable).parent)]
        self._environment = kept | {"HOME": str(self._home), "PATH": ":".join(programs)}
        subprocess.run(
            ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", str(ROOT), str(self._clone)], check=True
        )
        if user == WITHOUT_RIGHTS:
            subprocess.run(["chown", "--recursive", user, str(folder)], check=True)

    def follow(self, lines: Sequence[str], example: str) -> None:
        """Run the lines, with `make serve` running below those that need it, and the example in Python."""
        with ExitStack() as serving:
            self.does("make setup")
            self._environment |= PROXY
            for line in lines:
                if line == "make jupyter":
                    with self.running(line):
                        pass
                elif line == "make serve":
                    serving.enter_context(self.running(line))
                elif not line.startswith("source "):
                    self.does(line)
            self.does(f"python -c {shlex.quote(example)}")

    def does(self, line: str) -> None:
        """Run one line, and note how long it took. Raises `ClickException` if it fails."""
        began = self._begins(line)
        ended = subprocess.run(
            self._command(line),
            check=False,
            cwd=self._clone,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.times.append((line, time.monotonic() - began))
        if ended.returncode != 0 and not (line.startswith(MAY_FAIL) and ended.returncode == 1):
            raise click.ClickException(f"{self.user}: {line}\n{ended.stdout}\nexit code {ended.returncode}")

    @contextmanager
    def running(self, line: str) -> Iterator[None]:
        """Run a line that serves until Ctrl-C, while the block runs; its time is that until it says where."""
        began, log = self._begins(line), self._home / "said"
        log.unlink(missing_ok=True)
        started = processes.start(self._command(line), log, cwd=self._clone)
        try:
            while "http://" not in log.read_text():
                if not started.is_running or time.monotonic() - began > SERVES_SECONDS:
                    raise click.ClickException(f"{self.user}: {line} does not serve\n{log.read_text()}")
                time.sleep(POLL_SECONDS)
            self.times.append((line, time.monotonic() - began))
            yield
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does
            try:
                started.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise click.ClickException(f"{self.user}: {line} does not end at Ctrl-C\n{log.read_text()}") from None
            if "Traceback" in (said := log.read_text()):
                raise click.ClickException(f"{self.user}: {line}, after Ctrl-C\n{said}")
        finally:
            processes.stop(started, STOP_SECONDS)

    def _begins(self, line: str) -> float:
        click.echo(f"{self.user}: {line.splitlines()[0]}", err=True)
        return time.monotonic()

    def _command(self, line: str) -> list[str]:
        as_user = ["setpriv", f"--reuid={WITHOUT_RIGHTS}", "--regid=nogroup", "--clear-groups"]
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        shell = ["bash", "-c", f"[ ! -e .venv/bin/activate ] || source .venv/bin/activate; {line}"]
        return [*(as_user if self.user == WITHOUT_RIGHTS else []), "env", "--ignore-environment", *variables, *shell]


@click.command()
@click.option("--quick", is_flag=True, help="Measure little: make lab QUICK=1.")
@click.option("--test", is_flag=True, help="Run make test, too.")
def command(quick: bool, test: bool) -> None:
    """Follow the README on a fresh clone of what is committed here, and print how long each command takes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, all would ignore Ctrl-C
    interrupts.handle()
    lines = [line for block in README.blocks("sh") for line in map(_without_comment, block.splitlines()) if line]
    lines = [line for line in lines if test or line != "make test"]
    lines = [line.replace("make lab", "make lab QUICK=1") if quick else line for line in lines]
    (example,) = README.blocks("python")
    me = pwd.getpwuid(os.geteuid()).pw_name
    for user in [me, WITHOUT_RIGHTS] if os.geteuid() == 0 and shutil.which("setpriv") else [me]:
        with tempfile.TemporaryDirectory(prefix="first hour ") as folder:
            Path(folder).chmod(0o755)
            reader = Reader(user, Path(folder))
            try:
                reader.follow(lines, example)
            finally:
                for line, seconds in reader.times:
                    click.echo(f"{user}  {seconds:7.1f} s  {line.splitlines()[0]}")


def _without_comment(line: str) -> str:
    return line.partition("  #")[0].strip()


if __name__ == "__main__":
    sys.exit(command(prog_name="python -m tests.first_hour"))
