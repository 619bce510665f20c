"""Signals stop a command at any point of its execution."""

import signal
import subprocess
import sys

import pytest

COMMAND = """
import signal, time, click
from harness import interrupts

class HalfMade:
    def __init__(self):
        signal.raise_signal({number})
        self.made = True

    def __del__(self):
        self.made

class Deleted:
    def __del__(self):
        signal.raise_signal({number})

@click.command()
def command():
    try:
        {where}
        time.sleep(60)
    finally:
        print("cleaned up")

{before}
interrupts.handle()
command()
"""
NUMBERS = [signal.SIGINT, signal.SIGTERM]


def ended(number: signal.Signals, where: str, before: str = "") -> tuple[int, str, str]:
    """The exit code and output of a command that receives the signal `number` in `where`."""
    script = COMMAND.replace("{where}", where).replace("{before}", before).replace("{number}", str(int(number)))
    command = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    return command.returncode, command.stdout, command.stderr


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("where", ["signal.raise_signal({number})", "HalfMade()"])
def test_a_signal_lets_the_command_clean_up_and_prints_only_aborted(number: signal.Signals, where: str) -> None:
    assert ended(number, where) == (1, "cleaned up\n", "\nAborted!\n")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_within_del_is_not_lost(number: signal.Signals) -> None:
    assert ended(number, "Deleted()") == (1, "cleaned up\n", "\nAborted!\n")


TWICE = """
import signal, click
from contextlib import suppress
from harness import interrupts

@click.command()
def command():
    try:
        signal.raise_signal({number})
    finally:
        with suppress(ValueError):  # as in any clean-up
            try:
                raise ValueError
            finally:
                signal.raise_signal({number})
                print("cleaned up")

interrupts.handle()
command()
"""


@pytest.mark.parametrize("number", NUMBERS)
def test_a_second_signal_does_not_end_the_clean_up(number: signal.Signals) -> None:
    script = TWICE.replace("{number}", str(int(number)))
    command = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    assert (command.returncode, command.stdout) == (1, "cleaned up\n")
    assert command.stderr == "\nstopping what this command has started: that takes a minute at most\n\nAborted!\n"


COMMANDS = ("loadtests", "migrations", "notebooks", "practice", "profiles")
# Sent while the command's last module is imported: by an import hook, because from outside nobody can see that.
IMPORTING = """
import importlib.abc, runpy, signal, sys

class Interrupts(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "click":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
runpy.run_module("{name}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_while_a_command_is_imported_prints_no_traceback(name: str) -> None:
    script = IMPORTING.replace("{name}", name)
    command = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (command.returncode, command.stderr) == (-signal.SIGINT, "\nAborted!\n")


def test_an_ignored_sigint_stays_ignored() -> None:
    ignoring = "signal.signal({number}, signal.SIG_IGN)"
    assert ended(signal.SIGINT, "signal.raise_signal({number}); return", ignoring) == (0, "cleaned up\n", "")


LOCKED = """
import signal, sys, threading
from harness import interrupts

interrupts.handle()
main = threading.main_thread().ident
for number in range(100):
    condition = threading.Condition(threading.Lock())
    timer = threading.Timer(0.002, signal.pthread_kill, (main, signal.SIGTERM))
    try:
        timer.start()
        while True:
            with condition:
                pass
    except KeyboardInterrupt:
        timer.join()
    if not condition.acquire(blocking=False):
        sys.exit(f"after signal {number} nobody gives the lock back")
"""


def test_a_signal_leaves_no_lock_behind() -> None:
    command = subprocess.run([sys.executable, "-c", LOCKED], check=False, capture_output=True, text=True, timeout=60)
    assert (command.returncode, command.stderr) == (0, "")
