"""A program that wants a core for itself: `python -m profiles.diagnosis.burner CORES` works until stdin closes.

CORES are the numbers of the cores that it may use, separated by commas; any if it is left out. Prints a line when it
begins.
"""

import os
import sys
import threading


def main(cores: str) -> None:
    """Work until stdin closes."""
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    print("burning", flush=True)
    while not ended.is_set():
        pass


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
