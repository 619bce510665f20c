"""Signal handling of commands: Ctrl-C (SIGINT) and SIGTERM both raise `KeyboardInterrupt`, once and reliably."""

import atexit
import os
import signal
import sys
from types import FrameType, TracebackType

AGAIN_SECONDS = 0.1
SOON_SECONDS = 0.005
# Functions of `threading` in which a lock is held that no `with` block would release.
TAKES_A_LOCK = {"__enter__", "__exit__", "_acquire_restore", "_release_save"}
ABORTED = "\nAborted!"  # as click says it
STOPPING = b"\nstopping what this command has started: that takes a minute at most\n"


def handle() -> None:
    """Install handlers for SIGINT and SIGTERM that raise `KeyboardInterrupt` in the main thread.

    SIGALRM is used to send a signal again, so it is not free for others.

    Python raises the exception at whatever point the main thread has reached. If that point is between the taking of a
    lock and the block that gives it back, nobody would ever give it back, and who cleans up would wait for it for ever:
    then the signal is sent again a moment later. If the point is in a `__del__` method, Python reports the exception as
    unraisable and goes on; the signal is then sent again, too. Other unraisable exceptions, of objects whose
    construction was interrupted, are not printed.

    While the exception is being handled, that is, while things are stopped and deleted, further signals only say so:
    half of a clean-up would leave processes behind. To be called before the imports that take long, so that a signal
    during these prints no traceback either.
    """
    sys.excepthook = _say_aborted
    atexit.register(_ignore)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as shells set SIGINT for background jobs
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)  # by which a deferred signal comes again


def _interrupt(number: int, frame: FrameType | None) -> None:
    if frame is not None and _may_hold_a_lock(frame):
        _send_again(SOON_SECONDS)
        return
    if _is_stopping():
        os.write(2, STOPPING)  # print is not reentrant
        return
    sys.unraisablehook = _repeat_if_lost
    raise KeyboardInterrupt


def _is_stopping() -> bool:
    """Whether an interrupt is being handled here: by a `finally`, an `except` or the end of a `with` block."""
    handled = sys.exception()
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    return handled is not None


def _may_hold_a_lock(frame: FrameType) -> bool:
    """Whether a lock may be held here that an exception would leave locked: in PyMongo too, except where it reads."""
    module = str(frame.f_globals.get("__name__"))
    if module == "threading":
        return frame.f_code.co_name in TAKES_A_LOCK
    # A second signal may come while the first is being handled.
    return module in ("contextlib", __name__) or (module.startswith("pymongo.") and module != "pymongo.network_layer")


def _send_again(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)  # not a thread: to start one waits, and the signal could come then


def _ignore() -> None:
    """Nothing is left to be stopped, and Python would end by the signal, as if something was."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _say_aborted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(ABORTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _repeat_if_lost(unraisable: "sys.UnraisableHookArgs") -> None:
    if unraisable.exc_type is KeyboardInterrupt:
        _send_again(AGAIN_SECONDS)
