"""`/openapi.json`, and `/docs`: a page to read and try the API, which loads nothing from elsewhere."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from hub.answers import send_answer
from hub.api.call import header_of

PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Crossdock API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without a validator of our own choosing the page would send our document to the one of its makers.
START: Final = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHARED: Final[Mapping[str, bytes]] = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}


PATHS: Final = frozenset({"/openapi.json", "/docs", "/docs/start.js", *(f"/docs/{name}" for name in _SHARED)})
"""All of it is public: it says nothing that the source does not."""


class Document:
    """A fixed document. It is sent once to a client that keeps it."""

    def __init__(self, body: bytes, media_type: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._body = body
        self._tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
        self._headers = [
            (b"content-type", media_type),
            (b"etag", self._tag),
            (b"cache-control", b"no-cache"),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or that it has not changed."""
        known = header_of(scope, b"if-none-match")
        if known is not None and self._tag.decode() in known:
            await send({"type": "http.response.start", "status": 304, "headers": self._headers[1:]})
            await send({"type": "http.response.body", "body": b""})
            return
        await send_answer(send, 200, list(self._headers), self._body)


class Asset:
    """A file that the page loads, from the package that brings it; read when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._document: Document | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if self._document is None:
            content = files("swagger_ui").joinpath("static", self._name).read_bytes()
            self._document = Document(content, _SHARED[self._name])
        await self._document(scope, receive, send)


def openapi() -> bytes:
    """The committed description of the API."""
    return files("schemas.v1").joinpath("openapi.json").read_bytes()


def routes() -> Sequence[BaseRoute]:
    """The document, the page and what it loads."""
    page = Document(PAGE, b"text/html; charset=utf-8", [(b"content-security-policy", POLICY)])
    return [
        Route("/openapi.json", Document(openapi(), b"application/json"), methods=["GET"]),
        Route("/docs", page, methods=["GET"]),
        Route("/docs/start.js", Document(START, b"text/javascript; charset=utf-8"), methods=["GET"]),
        *(Route(f"/docs/{name}", Asset(name), methods=["GET"]) for name in _SHARED),
    ]
