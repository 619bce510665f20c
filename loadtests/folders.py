"""Where results go that are not told a folder: `.lab/runs`, a new folder for each."""

import secrets
import time
from pathlib import Path

RUNS = Path(__file__).parents[1] / ".lab" / "runs"


def new_folder(name: str) -> Path:
    """A folder for results that does not exist yet, named after the time and `name`."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{secrets.token_hex(4)}"
