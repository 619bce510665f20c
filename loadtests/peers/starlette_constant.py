"""Starlette sending the bytes of the file BODY to every GET of /messages: what the framework costs by itself."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BODY = Path(os.environ["BODY"]).read_bytes()


async def list_messages(request: Request) -> Response:
    return Response(BODY, media_type="application/json")


app = Starlette(routes=[Route("/messages", list_messages)])
