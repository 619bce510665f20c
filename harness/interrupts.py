"""Signal handling of commands: Ctrl-C (SIGINT) and SIGTERM both raise `KeyboardInterrupt`, once and reliably."""

import signal
import sys
import threading
from types import FrameType

AGAIN_SECONDS = 0.1


def handle() -> None:
    """Install handlers for SIGINT and SIGTERM that raise `KeyboardInterrupt` in the main thread.

    Python raises the exception at whatever point the main thread has reached. If that point is in a `__del__` method,
    Python reports the exception as unraisable and goes on; the signal is then sent again. Other unraisable exceptions,
    of objects whose construction was interrupted, are not printed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as shells set SIGINT for background jobs
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    sys.unraisablehook = _repeat_if_lost
    raise KeyboardInterrupt


def _repeat_if_lost(unraisable: "sys.UnraisableHookArgs") -> None:
    if unraisable.exc_type is KeyboardInterrupt:
        arguments = (threading.main_thread().ident, signal.SIGTERM)
        again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, arguments)
        again.daemon = True
        again.start()
