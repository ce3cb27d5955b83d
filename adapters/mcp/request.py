"""Reading one HTTP request: headers, body, message. Which era it is of is decided here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope

from adapters import jsonrpc
from adapters.mcp import errors, wire
from adapters.mcp.errors import McpError, invalid
from schemas.strict_json import InvalidJson, parse_json

FACE: Final = "mcp"
_ROUTING: Final = (wire.HEADER_VERSION, wire.HEADER_METHOD, wire.HEADER_NAME, wire.HEADER_SESSION)


class ClientGone(Exception):
    """The client hung up before its request was read."""


class Refused(Exception):
    """A message that cannot be answered as a call, with the id and the era that its answer carries."""

    def __init__(self, error: McpError, id: jsonrpc.Id = None, *, modern: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = id
        self.modern = modern


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message, and the headers that matter. `request` is None for an answer to something we asked."""

    request: jsonrpc.Request | None
    headers: Mapping[bytes, str]
    modern: bool
    answer: Mapping[str, Any] = field(default_factory=dict)
    """The answer to something that was asked, where the message is none but that."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters, which MCP names."""
        assert self.request is not None
        return self.request.params or {}


def headers_of(scope: Scope) -> dict[bytes, str]:
    """The headers by lower-case name, trimmed (RFC 9110 §5.5; not every parser does it).

    Raises:
        McpError: one that routes is there twice: readers could disagree about which counts.
    """
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in found and name in _ROUTING:
            raise McpError(
                errors.HEADER_MISMATCH, f"{name.decode('latin-1')} is given more than once.", http=400
            )
        found.setdefault(name, value.decode("latin-1").strip(" \t"))
    return found


def check_accept(headers: Mapping[bytes, str], *kinds: str) -> None:
    """Pass only a client that takes all these kinds of answers.

    Raises:
        McpError: it does not.
    """
    taken = {part.partition(";")[0].strip().lower() for part in headers.get(b"accept", "").split(",")}
    for kind in kinds:
        if not taken & {kind, kind.partition("/")[0] + "/*", "*/*"}:
            raise McpError(errors.NOT_ACCEPTABLE, f"Accept must include {' and '.join(kinds)}.")


def check_json(headers: Mapping[bytes, str]) -> None:
    """Pass only a plain body of JSON.

    Raises:
        McpError: it is declared as something else.
    """
    if headers.get(b"content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise McpError(errors.MEDIA_TYPE, "Content-Type must be application/json.")
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise McpError(errors.MEDIA_TYPE, "Compressed bodies are not read.")


async def body_of(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        McpError: it is larger than `limit`.
        ClientGone: the client hung up before its end.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise McpError(errors.TOO_LARGE, f"The body is larger than {limit} bytes.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def read(body: bytes, headers: Mapping[bytes, str]) -> Incoming:
    """The message in a body.

    Raises:
        Refused: it is none, or not one that MCP allows.
    """
    said = headers.get(wire.HEADER_VERSION)
    modern = said is not None and said not in wire.HANDSHAKE
    try:
        value = parse_json(body)
    except InvalidJson as error:
        told = McpError(jsonrpc.PARSE_ERROR, f"The body cannot be read: {error}", http=400)
        raise Refused(told, modern=modern) from None
    if type(value) is dict and "method" not in value and ("result" in value or "error" in value):
        return Incoming(None, headers, modern, value)
    try:
        request = jsonrpc.request_of(value)
    except jsonrpc.BadEnvelope as bad:
        raise Refused(McpError(bad.code, bad.message, http=400), bad.id, modern=modern) from None
    if not request.notification and request.id is None:
        raise Refused(McpError(jsonrpc.INVALID_REQUEST, "id must not be null.", http=400), modern=modern)
    if type(request.params) is list:
        raise Refused(invalid("params must be an object."), request.id, modern=modern)
    # Only requests of the modern era carry their revision with them, whatever their headers say.
    meta = (request.params or {}).get("_meta")
    modern = modern or (type(meta) is dict and wire.PROTOCOL_VERSION in meta)
    return Incoming(request, headers, modern)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a modern request says about its client."""

    version: str
    capabilities: Mapping[str, Any]


def envelope_of(incoming: Incoming) -> Envelope:
    """The envelope of a modern request, once its headers repeat what its body says.

    Raises:
        McpError: InvalidParams, HeaderMismatch or UnsupportedProtocolVersion, in this order.
    """
    assert incoming.request is not None
    request, params, headers = incoming.request, incoming.params, incoming.headers
    meta = params.get("_meta")
    if type(meta) is not dict:
        raise invalid(f"params._meta must carry {wire.PROTOCOL_VERSION} and {wire.CLIENT_CAPABILITIES}.")
    missing = [key for key in (wire.PROTOCOL_VERSION, wire.CLIENT_CAPABILITIES) if key not in meta]
    if missing:
        raise invalid(f"params._meta lacks {' and '.join(missing)}.")
    version, capabilities = meta[wire.PROTOCOL_VERSION], meta[wire.CLIENT_CAPABILITIES]
    if headers.get(wire.HEADER_VERSION) != version:
        raise _mismatch("MCP-Protocol-Version", "the revision in _meta")
    if headers.get(wire.HEADER_METHOD) != request.method:
        raise _mismatch("Mcp-Method", "the method")
    named = wire.NAMED_BY.get(request.method)
    if named is not None:
        sent = headers.get(wire.HEADER_NAME)
        if sent is None or wire.header_text(sent) != params.get(named):
            raise _mismatch("Mcp-Name", f"the parameter {named}")
    check_version(version)
    if type(capabilities) is not dict:
        raise invalid(f"{wire.CLIENT_CAPABILITIES} must be an object.")
    return Envelope(version, capabilities)


def check_version(version: str) -> None:
    """Pass only a revision of the modern era.

    Raises:
        McpError: UnsupportedProtocolVersion.
    """
    if version not in wire.MODERN:
        supported = {"supported": [*wire.MODERN], "requested": version}
        raise McpError(errors.UNSUPPORTED_VERSION, "Unsupported protocol version", supported)


def _mismatch(header: str, what: str) -> McpError:
    return McpError(errors.HEADER_MISMATCH, f"{header} must repeat {what}.")
