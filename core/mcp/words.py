"""The words of the registry, each said once."""

from enum import StrEnum


class ServerKind(StrEnum):
    """What a server is."""

    MCP = "mcp"
    """It speaks MCP over HTTP."""
    OPENAPI = "openapi"
    """An HTTP API, whose OpenAPI document makes its operations tools."""
    HOSTED = "hosted"
    """A program that a worker runs, reached through that worker."""


class TransportPreference(StrEnum):
    """Which transport to speak. `auto` finds out."""

    AUTO = "auto"
    STREAMABLE_HTTP = "streamable_http"
    HTTP_SSE_COMPAT = "http_sse_compat"


class VerifiedTransport(StrEnum):
    """How a server was reached when it was verified."""

    STREAMABLE_HTTP = "streamable_http"
    HTTP_SSE_COMPAT = "http_sse_compat"
    STDIO = "stdio"
    OPENAPI = "openapi"


class Era(StrEnum):
    """Which of the two ways of MCP a server speaks."""

    MODERN = "modern"
    """2026-07-28: every request says everything."""
    LEGACY = "legacy"
    """Up to 2025-11-25: a session begins with `initialize`."""


class AuthMode(StrEnum):
    """How the hub proves itself."""

    NONE = "none"
    PARAMETERIZED = "parameterized"
    """By its parameters."""
    OAUTH = "oauth"


class ValueKind(StrEnum):
    """Whether the value of a parameter may be read back."""

    STATIC = "static"
    SECRET = "secret"


class Placement(StrEnum):
    """Where the value of a parameter goes."""

    PATH = "path"
    """Into the endpoint's URL, in place of `{key}`."""
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    INITIALIZE_PARAM = "initialize_param"
    """Into the parameters of `initialize`."""
    ENVIRONMENT = "environment"
    """Into the environment of a hosted program."""
    AUTHORIZE_REQUEST_QUERY = "authorize_request_query"
    DEVICE_REQUEST_QUERY = "device_request_query"
    DEVICE_REQUEST_HEADER = "device_request_header"
    DEVICE_REQUEST_BODY_FORM = "device_request_body_form"
    DEVICE_REQUEST_BODY_JSON = "device_request_body_json"
    TOKEN_REQUEST_QUERY = "token_request_query"
    TOKEN_REQUEST_HEADER = "token_request_header"
    TOKEN_REQUEST_BODY_FORM = "token_request_body_form"
    TOKEN_REQUEST_BODY_JSON = "token_request_body_json"


class ItemKind(StrEnum):
    """What a server can offer."""

    TOOL = "tool"
    RESOURCE = "resource"
    TEMPLATE = "template"
    PROMPT = "prompt"
    INSTRUCTIONS = "instructions"
    """What it tells models about itself; one at most."""

    @property
    def pinned(self) -> bool:
        """Whether a model reads its definition, so that a change waits for approval."""
        return self is not ItemKind.RESOURCE


class ItemState(StrEnum):
    """Where an offered thing stands."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    """It is new or was changed since somebody approved it; neither listed nor called until approved again."""
    GONE = "gone"
    """The server lists it no longer."""


class Pinning(StrEnum):
    """What becomes of definitions that differ from those that were approved."""

    STRICT = "strict"
    """New and changed ones wait for approval."""
    CHANGES = "changes"
    """Changed ones wait for approval; new ones are taken."""
    OFF = "off"
    """Everything is taken as the server says it."""
