"""FastAPI sending the bytes of the file BODY to every GET of /messages: what the framework costs by itself."""

import os
from pathlib import Path

from fastapi import FastAPI, Response

BODY = Path(os.environ["BODY"]).read_bytes()

app = FastAPI()


@app.get("/messages")
async def list_messages() -> Response:
    return Response(BODY, media_type="application/json")
