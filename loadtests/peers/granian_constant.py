"""An application of Granian's own interface, RSGI, sending the bytes of the file BODY: its HTTP is in Rust."""

import os
from pathlib import Path
from typing import Any

BODY = Path(os.environ["BODY"]).read_bytes()
HEADERS = [("content-type", "application/json")]


async def app(scope: Any, protocol: Any) -> None:
    protocol.response_bytes(200, HEADERS, BODY)
