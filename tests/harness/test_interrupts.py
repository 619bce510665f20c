"""Stopping a command, wherever it is."""

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
    """The exit code of a command that gets the signal `number` in `where`, and what it said."""
    script = COMMAND.replace("{where}", where).replace("{before}", before).replace("{number}", str(int(number)))
    command = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    return command.returncode, command.stdout, command.stderr


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("where", ["signal.raise_signal({number})", "HalfMade()"])
def test_it_cleans_up_and_says_only_that_it_was_stopped(number: signal.Signals, where: str) -> None:
    assert ended(number, where) == (1, "cleaned up\n", "\nAborted!\n")


@pytest.mark.parametrize("number", NUMBERS)
def test_it_is_not_lost_where_nobody_can_catch_it(number: signal.Signals) -> None:
    assert ended(number, "Deleted()") == (1, "cleaned up\n", "\nAborted!\n")


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    ignoring = "signal.signal({number}, signal.SIG_IGN)"
    assert ended(signal.SIGINT, "signal.raise_signal({number}); return", ignoring) == (0, "cleaned up\n", "")
