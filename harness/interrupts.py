"""How a command is stopped: Ctrl-C and SIGTERM both end it, after it has cleaned up."""

import signal
import sys
import threading
from types import FrameType

AGAIN_SECONDS = 0.1


def handle() -> None:
    """Raise `KeyboardInterrupt` at SIGTERM too, and see to it that it arrives, and that nothing else is said of it.

    Python raises it in the middle of whatever the main thread does. An object that was being made is left half
    made, and may complain when it is deleted. And in `__del__`, which nobody calls, Python prints the exception and
    goes on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has its background jobs do with Ctrl-C
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
