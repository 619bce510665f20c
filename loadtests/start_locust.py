"""Start and end Locust sooner: `python -m loadtests.start_locust` in place of `python -m locust`.

For each of the modules that gevent replaces, it reads about every installed package whether it wants to be told. None
of the lab's does, and with all that JupyterLab needs that is a third of the time in which Locust starts. When Locust
has ended, Python takes apart what it has loaded, which takes another 0.2 s; here the process ends without that. A
master looks once a second whether its workers are there; here it looks again after WAIT_SECONDS.
"""

import atexit
import os
import sys
import time
from types import SimpleNamespace

from gevent import events

events.notify_and_call_entry_points = events.notify

from locust import main as locust_main  # noqa: E402  importing Locust is what replaces the modules

WAIT_SECONDS = 0.05
locust_main.time = SimpleNamespace(  # of Locust's main module alone
    **(vars(time) | {"sleep": lambda seconds: time.sleep(min(seconds, WAIT_SECONDS))})
)

try:
    locust_main.main()
except SystemExit as ended:
    atexit._run_exitfuncs()  # Locust's own ends its workers
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(ended.code, int):
        os._exit(ended.code)
    raise
