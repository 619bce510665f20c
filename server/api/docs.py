"""`GET /docs`: the API as a page that a person can read and try, and the files that this page loads.

The page is Swagger UI, whose files come with the package flask-swagger-ui; nothing is loaded from another host. None of
this is part of the OpenAPI description, which is for programs.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from server.api import parsing
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.route import Route

HERE = Path(__file__).parent
# The page and its scripts come from this service, and may talk to it only. Swagger UI sets styles and pictures inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Served:
    """A file, and how it is served."""

    path: Path
    content_type: str

    @functools.cached_property
    def content(self) -> bytes:
        """The file's bytes: read by the first request, and kept."""
        return self.path.read_bytes()

    @functools.cached_property
    def etag(self) -> str:
        """A digest of the content."""
        return f'"{hashlib.blake2b(self.content, digest_size=16).hexdigest()}"'


class DocsFile(Handler):
    """Sends one file; 304 if the caller has it already."""

    public = True

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.file: Served = collaborators["file"]

    async def get(self) -> None:
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")  # kept, and asked for again: an upgrade shows at once
        self.set_header("ETag", self.file.etag)
        if parsing.is_known(self.file.etag, self.request.headers.get("If-None-Match")):
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
        else:
            self.set_header("Content-Type", self.file.content_type)
            self.finish(self.file.content)


def routes() -> list[Route]:
    """The routes of the page and its files."""
    return [Route(path, DocsFile, collaborators={"file": file}) for path, file in _files().items()]


def _files() -> Mapping[str, Served]:
    ui = _swagger_ui()
    script, style = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
    return {
        "/docs": Served(HERE / "docs.html", "text/html; charset=utf-8"),
        "/docs/start.js": Served(HERE / "docs.js", script),
        "/docs/swagger-ui-bundle.js": Served(ui / "swagger-ui-bundle.js", script),
        "/docs/swagger-ui.css": Served(ui / "swagger-ui.css", style),
    }


def _swagger_ui() -> Path:
    """The folder of Swagger UI's files. The package is not imported, as it would import Flask."""
    package = find_spec("flask_swagger_ui")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "dist"
