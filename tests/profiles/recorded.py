"""A recording written by hand, of the run in `tests.loadtests.recorded`: its figures can be checked in one's head.

30 samples, 100 a second: Python ran for 0.3 s of the 2 s. The server used 0.6 s of processor time
meanwhile, and answered 4 requests with success.
"""

import json
from pathlib import Path

from tests.loadtests import recorded

RAW = """\
main (server/app.py:60);Store.newest (server/store.py:50);Cursor._refresh (pymongo/synchronous/cursor.py:1044) 15
main (server/app.py:60);Store.newest (server/store.py:50) 5
main (server/app.py:60);encode (server/api/wire.py:12);dumps (json/__init__.py:238) 10
"""
US_PER_REQUEST = {"driver": 50_000, "JSON": 25_000, "system calls": 75_000, "waiting": 350_000}
SHARE = {"driver": 0.10, "JSON": 0.05, "system calls": 0.15, "waiting": 0.70}


def write(folder: Path, *, behind: bool = False) -> Path:
    """Write the run and its recording into the new `folder`; `behind` if py-spy did not keep up."""
    recorded.write(folder)
    recording = {"began": recorded.BEGAN, "seconds": recorded.SECONDS, "rate": 100, "behind": behind}
    (folder / "profile.raw").write_text(RAW)
    (folder / "profile.json").write_text(json.dumps(recording))
    return folder
